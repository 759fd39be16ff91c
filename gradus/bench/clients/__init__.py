"""Clients of a server, over HTTP and gRPC, and the server process that they can be clients of.

They know protocols and clocks. What is asked, and what follows from the answers, is the benches' business.
"""
