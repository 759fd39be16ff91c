"""What front ends do with an embedding before they hand it out."""

import math


def normalized(vector: list[float]) -> list[float]:
    """The vector at Euclidean length 1; one of length 0 stays as it is."""
    length = math.hypot(*vector)
    return [value / length for value in vector] if length else vector
