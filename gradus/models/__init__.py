"""Models as functions over `Ops`, and the readers of their checkpoints."""
