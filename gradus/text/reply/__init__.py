"""What a model's reply consists of: its reasoning, its answer, its tool calls."""
