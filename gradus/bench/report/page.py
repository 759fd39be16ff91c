"""A folder of evidence as the parts of a page, in an order that a reader can follow.

Knows neither HTML nor Markdown.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gradus.bench.report.document import Document, pointer
from gradus.bench.report.folder import Folder, Misfit
from gradus.bench.report.parts import Cell, Content, Table, text_cell
from gradus.bench.report.sections.common import figures_table
from gradus.bench.report.sections.registry import content_of, together
from gradus.bench.report.units import GIB, PERCENT, words


@dataclass(frozen=True, slots=True)
class Section:
    """One document.

    Attributes:
        flags: what did not hold or repeat.
        checks: what was checked.
        setting: model, parameters and software, for whoever wants to repeat it.
    """

    document: Document
    title: str
    content: Content
    flags: Table | None
    checks: Sequence[Table]
    setting: Sequence[Table]


@dataclass(frozen=True, slots=True)
class Group:
    """All documents of one bench, `purpose` in words, and what they say together."""

    name: str
    purpose: str
    content: Content
    sections: Sequence[Section]


@dataclass(frozen=True, slots=True)
class Page:
    title: str
    flags: Table | None
    overview: Table
    machines: Table
    groups: Sequence[Group]
    misfits: Sequence[Misfit]


def make_page(title: str, folder: Folder, purposes: Mapping[str, str]) -> Page:
    """`purposes` says what each bench is for, in the order in which they are shown; others come last."""
    by_bench: dict[str, list[Document]] = {name: [] for name in purposes}
    for document in folder.documents:
        by_bench.setdefault(document.test_name, []).append(document)
    groups = [
        Group(name, _sentence(purposes.get(name, "")), together(name, found), list(map(_section, found)))
        for name, found in by_bench.items()
        if found
    ]
    sections = [section for group in groups for section in group.sections]
    return Page(
        title,
        _worst_flags(sections),
        _overview(sections),
        _machines([section.document for section in sections]),
        groups,
        folder.misfits,
    )


def _section(document: Document) -> Section:
    flags = [*_failed(document), *_beyond(document)]
    return Section(
        document,
        title_of(document),
        content_of(document),
        Table("What did not hold or repeat", ("what", "by how much"), flags) if flags else None,
        _checks(document),
        [
            *figures_table(document, "model", title="Model"),
            *figures_table(document, "parameters", title="Parameters"),
            *figures_table(document, "software", title="Software"),
        ],
    )


def title_of(document: Document) -> str:
    """The bench, and what tells this document from others of the bench."""
    switch, workload = document.find("parameters", "switch"), document.find("parameters", "workload", "name")
    weights = document.find("parameters", "quantization")
    parts = [switch, document.model, None if weights == "none" else weights, None if switch else workload]
    at_once = document.find("parameters", "workload", "concurrency")
    if document.test_name in ("throughput", "serve") and at_once is not None:
        parts.append(f"{at_once} at a time")
    return f"{document.test_name}: {', '.join(str(part) for part in parts if part)}".removesuffix(": ")


def _worst_flags(sections: Sequence[Section]) -> Table | None:
    """All checks that failed, and of every document the figure that repeated least."""
    rows = [
        [Cell(section.title, anchor=section.document.name), *row]
        for section in sections
        for row in (*_failed(section.document), *_beyond(section.document)[:1])
    ]
    header = ("measurement", "what", "by how much")
    return Table("What did not hold, and what repeated least", header, rows) if rows else None


def _failed(document: Document) -> list[list[Cell]]:
    """Checks that did not hold."""
    return [
        [
            Cell(f"not so: {words(name)}", document.path, pointer("verification", name), "", True),
            text_cell(""),
        ]
        for name, holds in document.data["verification"].items()
        if holds is False
    ]


def _beyond(document: Document) -> list[list[Cell]]:
    """Figures that did not repeat, the worst first."""
    keys = ("verification", "repeats")
    if document.find(*keys, "within") is not False:
        return []
    deviations = document.find(*keys, "beyond") or {}
    rows = [
        [
            Cell(f"not repeatable: {words(name)} differs between runs", is_flagged=True),
            document.number(*keys, "beyond", name, unit=PERCENT),
        ]
        for name in sorted(deviations, key=lambda name: -deviations[name])
    ]
    return rows or [
        [Cell("not repeatable", document.path, pointer(*keys, "within"), "", True), text_cell("")]
    ]


def _checks(document: Document) -> list[Table]:
    keys = ("verification", "repeats")
    rows = [
        [
            text_cell(words(name)),
            Cell("yes" if holds else "NO", document.path, pointer("verification", name), "", not holds),
        ]
        for name, holds in document.data["verification"].items()
        if isinstance(holds, bool)
    ]
    within = document.find(*keys, "within")
    if within is not None:
        tolerance = PERCENT.write(document.find(*keys, "tolerance"))
        answer = Cell("yes" if within else "NO", document.path, pointer(*keys, "within"), "", not within)
        rows.append([text_cell(f"repeats stayed within {tolerance} of their median"), answer])
    return [Table("What was checked", ("check", "holds"), rows)] if rows else []


def _sentence(purpose: str) -> str:
    return f"{purpose[:1].upper()}{purpose[1:]}." if purpose else ""


def _overview(sections: Sequence[Section]) -> Table:
    rows = []
    for section in sections:
        document = section.document
        within = document.find("verification", "repeats", "within")
        checks = [value for value in document.data["verification"].values() if isinstance(value, bool)]
        rows.append(
            [
                Cell(section.title, anchor=document.name),
                Cell(document.data["test_date"][:10], document.path, pointer("test_date")),
                _commit(document),
                text_cell(f"{sum(checks)} of {len(checks)}")
                if all(checks)
                else Cell("NOT ALL", is_flagged=True),
                text_cell("–") if within is None else Cell("yes" if within else "NO", is_flagged=not within),
                Cell(document.path.name, document.path),
            ]
        )
    header = ("measurement", "date", "commit", "checks that hold", "repeats within tolerance", "evidence")
    return Table("What was measured", header, rows)


def _commit(document: Document) -> Cell:
    if "commit" not in document.data:
        return text_cell("–")
    head, plus, changes = document.data["commit"].partition("+")
    return Cell(head[:10] + plus + changes, document.path, pointer("commit"))


def _machines(documents: Sequence[Document]) -> Table:
    """A row per machine, numbers from the first document of it."""
    by_machine: dict[str, list[Document]] = defaultdict(list)
    for document in documents:
        by_machine[json.dumps(document.data["hardware"], sort_keys=True)].append(document)
    rows = []
    for found in by_machine.values():
        first, keys = found[0], "hardware"
        gpus = first.find(keys, "gpus") or []
        rows.append(
            [
                first.text(keys, "cpu"),
                *(
                    first.number(keys, name)
                    for name in ("num_cores", "num_logical_cpus", "cpus_used_at_most")
                ),
                first.number(keys, "memory_bytes", unit=GIB),
                first.text(keys, "virtualization"),
                text_cell(", ".join(str(gpu.get("name", "")) for gpu in gpus) or "none"),
                text_cell(", ".join(sorted({document.test_name for document in found}))),
            ]
        )
    header = (
        "processor",
        "cores",
        "logical CPUs",
        "used at most",
        "memory, GiB",
        "virtualization",
        "GPUs",
        "benches",
    )
    return Table("The machines", header, rows)
