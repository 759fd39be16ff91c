"""Names of people and cities: well-known ones, and made-up ones so that copying is learned rather than a
list.
"""

from __future__ import annotations

import random

from .base import listed

PEOPLE = listed(
    "Ana Ben Carla David Emma Felix Grace Hugo Iris Jonas Kira Leo Mia Noah Olga Paul Rosa Sam Tina "
    "Uma Victor Wendy Yara Zoe Alice Bob Clara Daniel Elena Frank Hannah Ivan Julia Karim Laura Max "
    "Nina Oscar Petra Simon"
)

CITIES = listed(
    "Paris London Berlin Madrid Rome Vienna Oslo Tokyo Beijing Shanghai Cairo Lima Dublin Prague "
    "Warsaw Athens Lisbon Geneva Zurich Milan Sydney Toronto Boston Chicago Seoul Delhi Mumbai "
    "Nairobi Lagos Havana Quito Bogota Helsinki Stockholm Brussels Lyon Munich Hamburg Kyoto "
    "Singapore"
)

_ONSETS = ["b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z", "br", "dr", "tr", "ch", "sh"]
_VOWELS = ["a", "e", "i", "o", "u"]


def invented(rng: random.Random) -> str:
    """A pronounceable name of two or three syllables, such as `Tavomi`."""
    syllables = [rng.choice(_ONSETS) + rng.choice(_VOWELS) for _ in range(rng.choice((2, 2, 3)))]
    return "".join(syllables).capitalize()


def person(rng: random.Random) -> str:
    return rng.choice(PEOPLE) if rng.random() < 0.6 else invented(rng)


def city(rng: random.Random) -> str:
    return rng.choice(CITIES) if rng.random() < 0.6 else invented(rng)
