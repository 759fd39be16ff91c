"""The engine: scheduler, block pool, step loop. Speaks token ids; a test drives it without a model."""
