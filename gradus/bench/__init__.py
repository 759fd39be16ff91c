"""Measurements: what a machine can do, what a model should do on it, and what it does."""
