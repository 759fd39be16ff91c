"""Batch files in OpenAI's format, through the engine and without a server."""
