"""The engine's switches, one side against another: what differs, on which workload, and what bounds the gain."""
