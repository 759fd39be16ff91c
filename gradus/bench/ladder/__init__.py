"""The stage ladder: one workload on every layer of the product, from the kernels to the network.

A rung is a layer together with all layers below it, driven as the layer above would; `rungs.py` lists them.
"""
