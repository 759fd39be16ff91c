"""Things that are costly to make from a model's files, kept on disk for the next start."""
