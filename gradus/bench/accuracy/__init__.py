"""What lossy weights, caches and activations cost in quality, on the demo model's held-out questions."""
