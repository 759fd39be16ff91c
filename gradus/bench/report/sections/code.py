"""The section of `code`: how large and how tangled the sources are."""

from gradus.bench.report.document import Document
from gradus.bench.report.parts import Content, Table, text_cell
from gradus.bench.report.sections.common import spread_table

_SIZES = (
    "files",
    "lines",
    "source_lines",
    "cpp_lines",
    "functions",
    "classes",
    "lines_per_file",
    "complexity",
)


def code(document: Document) -> Content:
    """Sizes, the most complex functions, and which part imports which."""
    complex_keys, graph_keys = ("results", "most_complex"), ("results", "import_graph")
    most_complex = [
        [document.text(*complex_keys, index, "function"), document.number(*complex_keys, index, "complexity")]
        for index in document.indices(*complex_keys)
    ]
    imports = [
        [text_cell(part), text_cell(", ".join(sorted(document.names(*graph_keys, part))) or "nothing")]
        for part in document.names(*graph_keys)
    ]
    return Content(
        tables=[
            *spread_table(document, "Sizes", _SIZES, "results"),
            Table(
                "The functions with the most paths through them",
                ("function", "cyclomatic complexity"),
                most_complex,
            ),
            Table("Which part imports which", ("part", "imports"), imports),
        ]
    )
