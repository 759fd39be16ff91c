"""The engine's switches: what their sides differ in, on which workload, and what bounds the gain."""
