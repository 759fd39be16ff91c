"""Contents of messages in all dialects: a string, or a list of parts of which this server takes texts."""

from collections.abc import Collection, Mapping
from typing import Any

from gradus.errors import InvalidRequestError
from gradus.parameter_checks import show

Kinds = Mapping[str, Collection[str]]
"""The types of parts that hold a text; for each, fields besides `text` that say nothing to the model."""


def read_text(content: Any, where: str, param: str, kinds: Kinds) -> str:
    """A text, or the texts of its parts, one per line.

    Raises:
        InvalidRequestError: names the place, and `param` as its field.
    """
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise InvalidRequestError(
            f"{where} is {show(content)}; it must be a string or a list of text parts", param
        )
    return "\n".join([read_part(part, f"{where}[{i}]", param, kinds) for i, part in enumerate(content)])


def read_part(part: Any, where: str, param: str, kinds: Kinds) -> str:
    """One part's text. Raises InvalidRequestError."""
    names = " or ".join(f'"{kind}"' for kind in kinds)
    if not isinstance(part, dict) or not isinstance(part.get("type"), str):
        raise InvalidRequestError(
            f'{where} is {show(part)}; it must be an object with the type {names} and "text"', param
        )
    kind = part["type"]
    if kind not in kinds:
        raise InvalidRequestError(f"{where}.type is {show(kind)}; this model takes only {names}", param)
    refuse_others(part, {"type", "text", *kinds[kind]}, where, param, "a text part")
    if not isinstance(part.get("text"), str):
        raise InvalidRequestError(f"{where}.text is {show(part.get('text'))}; it must be a string", param)
    return part["text"]


def refuse_others(
    value: Mapping[str, Any], known: Collection[str], where: str, param: str, what: str = "it"
) -> None:
    """Refuse fields that are not known, unless they are null. Raises InvalidRequestError."""
    for name, given in value.items():
        if name not in known and given is not None:
            raise InvalidRequestError(f"{where} has {show(name)}, which is no field of {what}", param)


def required_text(value: Mapping[str, Any], name: str, where: str, param: str) -> str:
    """A field that must be a string. Raises InvalidRequestError."""
    given = value.get(name)
    if not isinstance(given, str):
        raise InvalidRequestError(f"{where}.{name} is {show(given)}; it must be a string", param)
    return given


def refuse_unless(
    value: Mapping[str, Any], name: str, neutral: tuple[Any, ...], where: str, param: str
) -> None:
    """Refuse a field that has no effect here at any but its neutral values. Raises InvalidRequestError."""
    given = value.get(name)
    if given is not None and not any(given is works or given == works for works in neutral):
        works = " or ".join(show(each) for each in neutral) or "null"
        raise InvalidRequestError(f"{where}.{name} is {show(given)}; only {works} works here", param)
