"""Weights of fewer bits: which tensors get how many, and how they are rounded."""
