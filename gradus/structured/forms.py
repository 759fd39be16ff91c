"""`StructuredOutputsParams` written as llguidance's grammars, and the limits under which those are built.

Formats: llguidance's `docs/syntax.md` (Lark) and `docs/json_schema.md`.
"""

import json
from typing import TYPE_CHECKING, Any

from gradus.structured.formats import with_patterns
from gradus.structured_outputs import StructuredOutputsParams

if TYPE_CHECKING:
    from llguidance import LLParserLimits

# As people write JSON in one line, and `json.dumps` does: small models would fill a text with other space.
USUAL_SPACE = {"whitespace_flexible": False, "item_separator": ", ?", "key_separator": ": ?"}
NO_SPACE = {"whitespace_flexible": False}


def grammar_text(params: StructuredOutputsParams) -> str:
    """The grammar as llguidance reads it.

    Raises:
        ValueError: it cannot be written as one.
    """
    from llguidance import LLMatcher, regex_to_lark

    match params.kind:
        case "json":
            schema = with_patterns(json.loads(str(params.json)))
            if schema is False:
                raise ValueError("no text is of this form")
            # The options go into the schema, which must be an object for that.
            text = json.dumps({} if schema is True else schema)
            return LLMatcher.grammar_from_json_schema(text, overrides=_json_options(params))
        case "json_object":
            return LLMatcher.grammar_from_json_schema('{"type":"object"}', overrides=_json_options(params))
        case "regex":
            return LLMatcher.grammar_from_lark(f"start: /{regex_to_lark(str(params.regex), 'd')}/")
        case "choice":
            # Lark's strings have the escapes of JSON's.
            return LLMatcher.grammar_from_lark("start: " + " | ".join(map(json.dumps, params.choice or ())))
    text = str(params.grammar)
    if "::=" in text:
        raise ValueError('it is written with "::=", as GBNF is; write it in Lark, "rule: ..."')
    return LLMatcher.grammar_from_lark(text)


def _json_options(params: StructuredOutputsParams) -> Any:
    """Unknown keywords are refused, whatever the schema's own `x-guidance` says."""
    space: dict[str, Any] = NO_SPACE if params.disable_any_whitespace else USUAL_SPACE
    if params.whitespace_pattern is not None:
        space = {"whitespace_flexible": True, "whitespace_pattern": params.whitespace_pattern}
    return {"lenient": False, **space}


def limits() -> "LLParserLimits":
    """Bounds on what building a grammar, and one step through it, may cost."""
    from llguidance import LLParserLimits

    return LLParserLimits(
        initial_lexer_fuel=1_000_000,
        step_lexer_fuel=100_000,
        step_max_items=20_000,
        max_items_in_row=1_000,
        max_lexer_states=20_000,
        max_grammar_size=100_000,
        verbose_errors=False,
    )
