"""Rounding to bfloat16 from its definition: the nearer of the two neighbours, ties to the even one."""

import numpy as np


def to_bf16(values: np.ndarray) -> np.ndarray:
    """Finite f32 values rounded to bfloat16, as f32."""
    bits = values.astype(np.float32).view(np.uint32)
    below = bits & np.uint32(0xFFFF0000)  # towards zero
    above = below + np.uint32(0x10000)
    low, high = below.view(np.float32).astype(np.float64), above.view(np.float32).astype(np.float64)
    high = np.where(np.isinf(high), np.sign(high) * 2.0**128, high)  # what comes after the largest is 2^128
    exact = values.astype(np.float64)
    is_even = (below >> np.uint32(16)) % 2 == 0
    distance_low, distance_high = np.abs(exact - low), np.abs(high - exact)
    take_low = (distance_low < distance_high) | ((distance_low == distance_high) & is_even)
    return np.where(take_low, below, above).astype(np.uint32).view(np.float32)
