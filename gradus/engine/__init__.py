"""The engine: scheduler, block pool and step loop. Speaks token ids; plain Python that a test drives without a model."""
