"""Tables that sections of several benches have."""

from collections.abc import Iterable, Sequence
from itertools import islice

from gradus.bench.report.document import Document, Key, is_number, leaves, pointer
from gradus.bench.report.parts import Cell, Table, text_cell
from gradus.bench.report.units import Unit, figure_words, unit_of, words

MOST_ROWS = 100


def figures_table(document: Document, *keys: Key, title: str = "All figures") -> list[Table]:
    """Every figure at a place, with its unit as its name says; no table if there is none."""
    places = [(*keys, *rest) for rest in leaves(document.find(*keys or ("results",)))]
    if not keys:
        places = [("results", *place) for place in places]
    rows = [_figure_row(document, place, len(keys) or 1) for place in islice(places, MOST_ROWS)]
    if len(places) > MOST_ROWS:
        title += f" (the first {MOST_ROWS} of {len(places):,}; the others are in the file)"
    return [Table(title, ("figure", "unit", "value", "from – to"), rows)] if rows else []


def _figure_row(document: Document, place: Sequence[Key], skip: int) -> list[Cell]:
    value = document.find(*place)
    name = text_cell(", ".join(words(str(key)) for key in place[skip:]))
    unit = unit_of(next((key for key in reversed(place) if isinstance(key, str)), ""), _sizes(value))
    if isinstance(value, dict):
        sure = (
            document.interval(*place, unit=unit)
            if "interval_95" in value
            else document.extent(*place, unit=unit)
        )
        return [name, text_cell(unit.name), document.median(*place, unit=unit), sure]
    if is_number(value):
        return [name, text_cell(unit.name), document.number(*place, unit=unit), text_cell("–")]
    return [name, text_cell(""), Cell(_said(value), document.path, pointer(*place)), text_cell("–")]


def _said(value: object) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def _sizes(value: object) -> list[float]:
    found = value.get("median") if isinstance(value, dict) else value
    return [float(found)] if is_number(found) else []  # type: ignore[arg-type]


def spread_table(document: Document, title: str, figures: Iterable[str], *keys: Key) -> list[Table]:
    """Summaries at a place: median, least to greatest, standard deviation; no table if there is none."""
    rows = []
    for name in figures:
        value = document.find(*keys, name)
        if value is None:
            continue
        unit = unit_of(name, _sizes(value))
        rows.append(
            [
                text_cell(unit.heading(figure_words(name))),
                document.median(*keys, name, unit=unit),
                document.extent(*keys, name, unit=unit),
                document.number(*keys, name, "stdev", unit=unit),
            ]
        )
    return [Table(title, ("figure", "median", "from – to", "standard deviation"), rows)] if rows else []


def grid(
    document: Document,
    title: str,
    corner: str,
    names: Iterable[str],
    columns: Iterable[str],
    *keys: Key,
    unit: Unit | None = None,
) -> list[Table]:
    """Objects at a place as rows, their figures' medians as columns, without columns that no row has.

    unit: of all columns; None: each as its name says.
    """
    rows_of = list(names)
    units = {
        column: unit
        or unit_of(column, [s for name in rows_of for s in _sizes(document.find(*keys, name, column))])
        for column in columns
        if any(document.find(*keys, name, column) is not None for name in rows_of)
    }
    rows = [
        [text_cell(figure_words(name)), *(document.median(*keys, name, c, unit=u) for c, u in units.items())]
        for name in rows_of
    ]
    header = (corner, *(figure_words(c) if unit else u.heading(figure_words(c)) for c, u in units.items()))
    return [Table(title, header, rows)] if rows and units else []


def percentiles_table(document: Document, title: str, *keys: Key) -> list[Table]:
    """Latencies at a place as rows, percentiles as columns; all in one unit."""
    latencies = document.names(*keys)
    columns = dict.fromkeys(column for one in latencies for column in document.names(*keys, one))
    unit = unit_of("_seconds", [document.find(*keys, one, c) or 0 for one in latencies for c in columns])
    return grid(document, unit.heading(title), "latency", latencies, columns, *keys, unit=unit)


def pick(document: Document, names: Iterable[str], *keys: Key) -> list[str]:
    """Those names that there are at a place."""
    return [name for name in names if document.find(*keys, name) is not None]
