"""The text that the demo model is trained on and tested with, all of it generated here, from seeds.

One category per module; `base.py` holds the split into training and held-out content, `stream.py` the
mixture.
"""

from .base import Sample, is_held_out
from .stream import CATEGORIES, held_out_row, held_out_samples, training_stream

__all__ = ["CATEGORIES", "Sample", "held_out_row", "held_out_samples", "is_held_out", "training_stream"]
