"""Workloads as data: which requests, how many at a time or when. Knows nothing of who runs them."""
