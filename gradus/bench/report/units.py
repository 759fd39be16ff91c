"""How a figure is written: its unit and its digits, by the figure's name, which ends with its unit."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import floor, isfinite, log10


@dataclass(frozen=True, slots=True)
class Unit:
    """`scale`: what a value is multiplied by to be in this unit."""

    name: str = ""
    scale: float = 1.0

    def write(self, value: float) -> str:
        """Three significant digits or more; without the unit, but per cent."""
        text = write_number(value * self.scale)
        return f"{text} %" if self is PERCENT else text

    def heading(self, text: str) -> str:
        """A column's heading, which says the unit unless the numbers or the words do."""
        is_said = self is PERCENT or text.endswith("per second")
        return f"{text}, {self.name}" if self.name and not is_said else text


PLAIN = Unit()
SECONDS = Unit("s")
MILLISECONDS = Unit("ms", 1e3)
MIB = Unit("MiB", 1 / (1 << 20))
GIB = Unit("GiB", 1 / (1 << 30))
PERCENT = Unit("%", 1e2)
RATIO = Unit("×")
TOKENS_PER_SECOND = Unit("tok/s")
REQUESTS_PER_SECOND = Unit("requests/s")

_BY_ENDING = (
    ("requests_per_second", REQUESTS_PER_SECOND),
    ("tokens_per_second", TOKENS_PER_SECOND),
    ("bytes_per_second", Unit("GB/s", 1e-9)),
    ("macs_per_second", Unit("GMAC/s", 1e-9)),
    ("_per_second", Unit("/s")),
    ("_seconds", SECONDS),
    ("seconds_per_step", MILLISECONDS),
    ("_ms", Unit("ms")),
    ("_bytes", MIB),
    ("kv_bytes_per_resident", MIB),
    ("hit_rate", PERCENT),
    ("_share", PERCENT),
    ("accuracy", PERCENT),
    ("efficiency", PERCENT),
)


def unit_of(figure: str, values: Iterable[float] = ()) -> Unit:
    """By the figure's name; seconds of which all are below one are given in milliseconds."""
    unit = next((unit for ending, unit in _BY_ENDING if f"_{figure}".endswith(ending)), PLAIN)
    known = list(values)
    if unit is SECONDS and known and max(map(abs, known)) < 1:
        return MILLISECONDS
    return unit


def write_number(value: float) -> str:
    """Whole numbers as they are, others with three significant digits or more."""
    if not isfinite(value):
        return str(value)
    size = abs(value)
    if float(value).is_integer() and size < 1e15:
        return f"{value:,.0f}"
    if size >= 1e15 or size < 1e-3:
        return f"{value:.3g}"
    digits = 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 1 else 2 - floor(log10(size))
    return f"{value:,.{digits}f}"


def words(name: str) -> str:
    """A name of the evidence as a reader would say it."""
    return name.replace("_", " ")


def figure_words(name: str) -> str:
    """A figure's name without its unit, which stands elsewhere."""
    known = {
        "ttft": "TTFT",
        "tpot": "TPOT",
        "itl": "ITL",
        "e2e": "E2E",
        "kv": "KV",
        "p99": "P99",
        "cpu": "CPU",
    }
    base = name.removesuffix("_seconds").removesuffix("_bytes").removesuffix("_ms")
    return " ".join(known.get(word, word) for word in base.split("_"))
