"""A document of evidence: what it says, and each of its numbers with the place that it came from."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradus.bench.report.parts import Cell, text_cell
from gradus.bench.report.units import PLAIN, Unit

Key = str | int


@dataclass(frozen=True, slots=True)
class Document:
    """One file of evidence that holds to the schema. Places in it are sequences of keys.

    Attributes:
        name: of letters, digits and hyphens; no other document of the folder has it.
    """

    path: Path
    name: str
    data: Mapping[str, Any]

    @property
    def test_name(self) -> str:
        return str(self.data["test_name"])

    @property
    def model(self) -> str:
        return str(self.data["model"].get("name", ""))

    def find(self, *keys: Key) -> Any:
        """What is at a place; None if there is nothing."""
        value: Any = self.data
        for key in keys:
            try:
                value = value[key]
            except (KeyError, IndexError, TypeError):
                return None
        return value

    def names(self, *keys: Key) -> list[str]:
        """The names in the object at a place; none if there is no object."""
        value = self.find(*keys)
        return list(value) if isinstance(value, Mapping) else []

    def indices(self, *keys: Key) -> range:
        """Those of the list at a place; none if there is no list."""
        value = self.find(*keys)
        return range(len(value)) if isinstance(value, list) else range(0)

    def number(self, *keys: Key, unit: Unit = PLAIN) -> Cell:
        """The number at a place, with a link to it; a dash if it was not measured."""
        value = self.find(*keys)
        if not is_number(value):
            return text_cell("–")
        return Cell(unit.write(value), self.path, pointer(*keys))

    def median(self, *keys: Key, unit: Unit = PLAIN) -> Cell:
        """Of the summary or the ratio at a place; or the number that is there."""
        return self.number(*keys, "median", unit=unit) if self.names(*keys) else self.number(*keys, unit=unit)

    def extent(self, *keys: Key, unit: Unit = PLAIN) -> Cell:
        """Least to greatest of the summary at a place."""
        found = self.find(*keys)
        if not isinstance(found, Mapping) or not {"min", "max"} <= set(found):
            return text_cell("–")
        return self._from_to(keys, found["min"], found["max"], unit)

    def interval(self, *keys: Key, unit: Unit = PLAIN, name: str = "interval_95") -> Cell:
        """Of the ratio at a place."""
        found = self.find(*keys, name)
        if not isinstance(found, list) or len(found) != 2 or not all(map(is_number, found)):
            return text_cell("–")
        return self._from_to((*keys, name), found[0], found[1], unit)

    def text(self, *keys: Key) -> Cell:
        """The words at a place; a dash if there are none."""
        value = self.find(*keys)
        return text_cell("–" if value is None else str(value))

    def _from_to(self, keys: tuple[Key, ...], low: float, high: float, unit: Unit) -> Cell:
        return Cell(f"{unit.write(low)} to {unit.write(high)}", self.path, pointer(*keys))


def pointer(*keys: Key) -> str:
    """A place as a JSON pointer (RFC 6901)."""
    return "".join("/" + str(key).replace("~", "~0").replace("/", "~1") for key in keys)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def leaves(value: Any, keys: tuple[Key, ...] = ()) -> Iterator[tuple[Key, ...]]:
    """The places of all numbers, words and truth values, summaries and ratios taken as one."""
    if isinstance(value, Mapping) and "median" not in value:
        for name, item in value.items():
            yield from leaves(item, (*keys, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from leaves(item, (*keys, index))
    else:
        yield keys
