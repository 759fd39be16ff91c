"""Which function makes a page's section of which bench's evidence; its module is imported when needed."""

from collections.abc import Callable, Sequence
from importlib import import_module

from gradus.bench.report.document import Document
from gradus.bench.report.parts import Content

SECTIONS = {
    "throughput": "engine:throughput",
    "latency": "engine:latency",
    "decode": "engine:decode",
    "serve": "served:serve",
    "grpc": "served:grpc",
    "soak": "soak:soak",
    "ladder": "ladder:ladder",
    "milestones": "milestones:milestones",
    "pair": "pair:pair",
    "memory": "memory:memory",
    "scaling": "scaling:scaling",
    "startup": "startup:startup",
    "roofline": "roofline:roofline",
    "peers": "peers:peers",
    "accuracy": "accuracy:accuracy",
    "compare": "compare:compare",
    "code": "code:code",
}

TOGETHER = {
    "throughput": "concurrency:concurrency",
    "serve": "concurrency:concurrency",
    "pair": "pairs:pairs",
}
"""What is said of all documents of a bench together."""

Render = Callable[[Document], Content]
_STRANGE_FORM = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)


def content_of(document: Document) -> Content:
    """What a page says of a document; all its figures in a plain table where its form is not known.

    A document may hold to the schema, which leaves the results open, and yet not be as its bench writes it.
    """
    name = SECTIONS.get(document.test_name)
    if name is None:
        return plain(document, f"There is no section of its own for the bench {document.test_name!r}.")
    render: Render = _function(name)
    try:
        return render(document)
    except _STRANGE_FORM:
        return plain(document, "These results are not in the form that this version's bench writes.")


def together(test_name: str, documents: Sequence[Document]) -> Content:
    """What a page says of all documents of a bench; nothing where there is nothing."""
    name = TOGETHER.get(test_name)
    if name is None:
        return Content()
    try:
        return _function(name)(documents)
    except _STRANGE_FORM:
        return Content(notes=["Some of these results are not in the form that this version's bench writes."])


def _function(name: str) -> Callable[..., Content]:
    module, function = name.split(":")
    return getattr(import_module(f"gradus.bench.report.sections.{module}"), function)


def plain(document: Document, note: str) -> Content:
    """All figures, whatever they are called."""
    from gradus.bench.report.sections.common import figures_table

    return Content(tables=figures_table(document), notes=[note])
