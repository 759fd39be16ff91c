"""Groups of 4-bit codes with a scale and a minimum -> Gradus's scale and centre, both in f16.

GGUF's scales and minima may need more bits than f16 has: Q4_K's are products of an f16 and a 6-bit integer.
Rounding the value in the middle of a group and the scale costs least, since no weight is further than half of
the group's codes from there. Source of the bound: both are rounded by at most 2^-11 of themselves, and half
of the codes' span and the middle together are the group's largest weight.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Float16 = NDArray[np.float16]
Float32 = NDArray[np.float32]
Codes = NDArray[np.uint8]


def centred(codes: Codes, scales: Float32, minima: Float32) -> tuple[Codes, Float16, Float16]:
    """Codes, scales and centres with scale * (code - 8) + centre nearest to scale * code + minimum.

    codes: [groups, 32] in 0 .. 15; scales, minima: [groups], finite and in f16's range. An error is at most
    about 2^-11 of the group's largest weight, where the scale is at least 2^-14; where nothing has to be
    rounded with code 8 as the centre, codes stay as they are.
    """
    lowest, highest = codes.min(axis=1).astype(np.int16), codes.max(axis=1).astype(np.int16)
    below = (lowest + highest) // 2
    candidates = [_about(np.full_like(below, 8), lowest, highest, scales, minima)]
    candidates += [
        _about(middle, lowest, highest, scales, minima) for middle in (below, lowest + highest - below)
    ]
    middles, halves, centres, errors = (np.stack(parts) for parts in zip(*candidates, strict=True))
    best = errors.argmin(axis=0)  # the first of equals: code 8 where it is exact
    each = np.arange(len(best))
    distance = codes.astype(np.int16) - middles[best, each][:, None]
    scale = halves[best, each]
    # A span of all sixteen codes with its longer arm above: the codes count down from there.
    is_reversed = distance.max(axis=1) > 7
    distance[is_reversed] *= -1
    scale[is_reversed] *= -1
    return (distance + 8).astype(np.uint8), scale, centres[best, each]


def _about(
    middle: NDArray[np.int16],
    lowest: NDArray[np.int16],
    highest: NDArray[np.int16],
    scales: Float32,
    minima: Float32,
) -> tuple[Any, Float16, Float16, NDArray[np.float64]]:
    """With `middle` as the code that becomes the centre: it, scale, centre, and the group's largest error."""
    scale, minimum = scales.astype(np.float64), minima.astype(np.float64)
    half = scales.astype(np.float16)
    lost = scale - half  # what rounding loses grows to both sides; it is shared between them
    centre = minimum + scale * middle + lost * ((lowest + highest) / 2 - middle)
    stored = centre.astype(np.float16)
    errors = [
        np.abs(minimum + scale * code - (half.astype(np.float64) * (code - middle) + stored))
        for code in (lowest, highest)
    ]
    can_hold = (middle - lowest <= 8) & (highest - middle <= 8) & (highest - lowest < 16)
    return middle, half, stored, np.where(can_hold, np.maximum(*errors), np.inf)
