"""JSON Schemas of many kinds, each under a name: what people ask models for, and each keyword's corners."""

from typing import Any

Schema = dict[str, Any]


def obj(required: list[str] | None = None, **properties: Any) -> Schema:
    """An object of just these properties; all are required unless said otherwise."""
    names = list(properties) if required is None else required
    return {
        "type": "object",
        "properties": properties,
        "required": names,
        "additionalProperties": False,
    }


def array(items: Any, **bounds: int) -> Schema:
    return {"type": "array", "items": items, **bounds}


TEXT: Schema = {"type": "string"}
INT: Schema = {"type": "integer"}
NUM: Schema = {"type": "number"}
BOOL: Schema = {"type": "boolean"}
NULL: Schema = {"type": "null"}
SHORT: Schema = {"type": "string", "maxLength": 20}


def enum(*values: Any) -> Schema:
    return {"enum": list(values)}


def pattern(expression: str) -> Schema:
    return {"type": "string", "pattern": expression}


def formatted(name: str) -> Schema:
    return {"type": "string", "format": name}


SCALARS: dict[str, Schema] = {
    "string": TEXT,
    "integer": INT,
    "number": NUM,
    "boolean": BOOL,
    "null": NULL,
    "string-bounded": {"type": "string", "minLength": 3, "maxLength": 12},
    "string-min": {"type": "string", "minLength": 5},
    "string-max": {"type": "string", "maxLength": 40},
    "string-exact": {"type": "string", "minLength": 4, "maxLength": 4},
    "integer-range": {"type": "integer", "minimum": 1, "maximum": 6},
    "integer-negative": {"type": "integer", "minimum": -40, "maximum": -3},
    "integer-around-zero": {"type": "integer", "minimum": -12, "maximum": 12},
    "integer-min-only": {"type": "integer", "minimum": 18},
    "integer-max-only": {"type": "integer", "maximum": 99},
    "integer-exclusive": {"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 10},
    "integer-multiple": {"type": "integer", "multipleOf": 5, "minimum": 0, "maximum": 100},
    "number-range": {"type": "number", "minimum": 0, "maximum": 1},
    "number-negative": {"type": "number", "minimum": -1.5, "maximum": -0.25},
    "number-exclusive": {"type": "number", "exclusiveMinimum": 0, "maximum": 1000},
    "types-list": {"type": ["string", "null"]},
    "types-many": {"type": ["integer", "boolean", "null"]},
    "const-string": {"const": "fixed"},
    "const-number": {"const": 42},
    "const-object": {"const": {"a": [1, None, True]}},
    "enum-strings": enum("red", "green", "blue"),
    "enum-mixed": enum("one", 2, None, True),
    "enum-prefixes": enum("a", "ab", "abc", "abcd"),
    "enum-quotes": enum('say "hi"', "back\\slash", "tab\there"),
    "enum-unicode": enum("größe", "北京", "🙂"),
    "enum-typed": {"type": "string", "enum": ["small", "medium", "large"]},
}

STRINGS: dict[str, Schema] = {
    "pattern-phone": pattern(r"^\d{3}-\d{4}$"),
    "pattern-code": pattern(r"^[A-Z]{2}[0-9]{4}$"),
    "pattern-hex-colour": pattern(r"^#[0-9a-f]{6}$"),
    "pattern-alternatives": pattern(r"^(cat|dog|bird)s?$"),
    "pattern-version": pattern(r"^v?\d{1,2}\.\d{1,2}\.\d{1,2}$"),
    "pattern-slug": pattern(r"^[a-z]{2,8}(-[a-z]{2,8}){0,2}$"),
    "pattern-plate": pattern(r"^[A-Z]{1,3}-[A-Z]{1,2} [1-9][0-9]{0,3}$"),
    "pattern-bounded": {"type": "string", "pattern": "^[ab]+$", "maxLength": 6},
    "pattern-unicode": pattern("^[äöü]{1,4}$"),
    "format-date": formatted("date"),
    "format-time": formatted("time"),
    "format-date-time": formatted("date-time"),
    "format-uuid": formatted("uuid"),
    "format-ipv4": formatted("ipv4"),
    "format-ipv6": formatted("ipv6"),
    "format-email": formatted("email"),
    "format-hostname": formatted("hostname"),
    "format-duration": formatted("duration"),
    "format-uri": formatted("uri"),
    "format-unknown-to-us": obj(when=formatted("date"), who=formatted("uuid")),
}

ARRAYS: dict[str, Schema] = {
    "array-any-length": array(INT),
    "array-of-enum": array(enum("x", "y", "z"), minItems=1, maxItems=5),
    "array-exact": array(BOOL, minItems=3, maxItems=3),
    "array-min": array(enum(1, 2, 3), minItems=2),
    "array-max": array(TEXT, maxItems=3),
    "array-empty": array(TEXT, maxItems=0),
    "array-of-arrays": array(array({"type": "integer", "minimum": 0, "maximum": 9}, maxItems=3), maxItems=3),
    "array-of-objects": array(obj(name=SHORT, n={"type": "integer", "maximum": 9}), minItems=1, maxItems=3),
    "array-of-nullable": array({"type": ["integer", "null"], "maximum": 9}, minItems=2, maxItems=4),
    "array-tuple": {"type": "array", "prefixItems": [enum("p"), INT, BOOL], "items": False, "minItems": 3},
    "array-tuple-open": {"type": "array", "prefixItems": [BOOL, BOOL], "items": enum(0, 1), "maxItems": 5},
    "array-of-anyof": array({"anyOf": [BOOL, enum("n/a")]}, minItems=1, maxItems=4),
    "matrix": array(array(enum(0, 1), minItems=2, maxItems=2), minItems=2, maxItems=2),
    "array-of-dates": array(formatted("date"), minItems=1, maxItems=2),
    "array-in-object": obj(tags=array(SHORT, maxItems=4), scores=array(enum(1, 2, 3), maxItems=4)),
}

OBJECTS: dict[str, Schema] = {
    "person": obj(name=TEXT, age={"type": "integer", "minimum": 0, "maximum": 120}),
    "person-optional": obj(["name"], name=TEXT, age=INT, email=formatted("email")),
    "nothing-required": obj([], a=enum(1), b=enum(2), c=enum(3)),
    "empty-object": obj(),
    "additional-integers": {"type": "object", "additionalProperties": {"type": "integer", "maximum": 99}},
    "additional-with-known": {
        "type": "object",
        "properties": {"id": INT},
        "required": ["id"],
        "additionalProperties": BOOL,
    },
    "additional-any": {"type": "object", "properties": {"kind": enum("a", "b")}, "required": ["kind"]},
    "any-object": {"type": "object"},
    "pattern-properties": {
        "type": "object",
        "patternProperties": {"^x_[a-z]{1,3}$": {"type": "integer", "maximum": 9}},
        "additionalProperties": False,
    },
    "unicode-keys": obj(größe=INT, 名前=SHORT, prénom=SHORT),
    "emoji-key": obj(**{"🙂": BOOL}),
    "keys-with-quotes": obj(**{'say "x"': BOOL, "back\\slash": BOOL, "with space": BOOL}),
    "key-prefixes": obj(a=enum(1), ab=enum(2), abc=enum(3)),
    "long-key": obj(a_rather_long_property_name_that_goes_on_for_a_while=BOOL),
    "many-properties": obj(**{f"field_{i}": {"type": "integer", "maximum": 9} for i in range(20)}),
    "many-optional": obj(["f0"], **{f"f{i}": BOOL for i in range(12)}),
    "nested-2": obj(user=obj(name=SHORT, address=obj(city=SHORT, zip=pattern(r"^\d{5}$")))),
    "nested-5": obj(a=obj(b=obj(c=obj(d=obj(e=BOOL))))),
    "nullable-object": {"anyOf": [obj(id=INT), NULL]},
    "required-undeclared": {
        "type": "object",
        "properties": {"a": BOOL},
        "required": ["a", "b"],
        "additionalProperties": {"type": "integer", "maximum": 9},
    },
}

COMBINED: dict[str, Schema] = {
    "anyof-scalars": {"anyOf": [{"type": "integer", "maximum": 9}, BOOL]},
    "anyof-objects": {"anyOf": [obj(cat=BOOL), obj(dog=enum(1, 2))]},
    "oneof-types": {"oneOf": [{"type": "boolean"}, {"type": "null"}]},
    "oneof-tagged": {
        "oneOf": [
            obj(kind={"const": "circle"}, radius={"type": "number", "minimum": 0, "maximum": 10}),
            obj(kind={"const": "square"}, side={"type": "number", "minimum": 0, "maximum": 10}),
        ]
    },
    "allof-merged": {
        "allOf": [
            {"type": "object", "properties": {"a": BOOL}, "required": ["a"]},
            {"type": "object", "properties": {"b": BOOL}, "required": ["b"]},
        ]
    },
    "allof-bounds": {"allOf": [{"type": "integer", "minimum": 3}, {"maximum": 8}]},
    "ref-defs": {
        "$defs": {"point": obj(x=enum(0, 1), y=enum(0, 1))},
        **obj(start={"$ref": "#/$defs/point"}, end={"$ref": "#/$defs/point"}),
    },
    "ref-definitions": {
        "definitions": {"level": enum("low", "high")},
        **obj(level={"$ref": "#/definitions/level"}),
    },
    "ref-chain": {
        "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/c"}, "c": BOOL},
        **obj(v={"$ref": "#/$defs/a"}),
    },
    "recursive-tree": {
        "$defs": {
            "node": obj(value=enum(0, 1), children=array({"$ref": "#/$defs/node"}, maxItems=2)),
        },
        "$ref": "#/$defs/node",
    },
    "recursive-list": {
        "$defs": {"cell": obj(head=BOOL, tail={"anyOf": [NULL, {"$ref": "#/$defs/cell"}]})},
        "$ref": "#/$defs/cell",
    },
    "recursive-root": obj(["name"], name=SHORT, parent={"$ref": "#"}),
    "anyof-in-array": array({"anyOf": [obj(a=BOOL), obj(b=BOOL)]}, minItems=1, maxItems=3),
    "pydantic-optional": obj(
        name={"title": "Name", "type": "string"},
        nick={"anyOf": [{"type": "string"}, {"type": "null"}], "default": None, "title": "Nick"},
    ),
    "draft-2020": {"$schema": "https://json-schema.org/draft/2020-12/schema", **obj(ok=BOOL)},
    "draft-07": {"$schema": "http://json-schema.org/draft-07/schema#", **obj(ok=BOOL)},
    "annotations": {"title": "T", "description": "d", "examples": [{}], **obj(ok={**BOOL, "default": True})},
    "enum-and-type": {"type": ["string", "integer"], "enum": ["a", 1]},
}

TASKS: dict[str, Schema] = {
    "weather-call": obj(
        name={"const": "get_weather"},
        arguments=obj(["city"], city=SHORT, unit=enum("celsius", "fahrenheit")),
    ),
    "calculator-call": obj(op=enum("add", "sub", "mul"), a=INT, b=INT),
    "sentiment": obj(sentiment=enum("positive", "neutral", "negative"), confidence=SCALARS["number-range"]),
    "classification": obj(labels=array(enum("news", "sport", "art", "science"), minItems=1, maxItems=2)),
    "entities": obj(
        entities=array(obj(text=SHORT, type=enum("person", "place", "date")), minItems=1, maxItems=3)
    ),
    "recipe": obj(
        title=SHORT,
        minutes={"type": "integer", "minimum": 1, "maximum": 240},
        ingredients=array(SHORT, minItems=2, maxItems=5),
        steps=array({"type": "string", "maxLength": 60}, minItems=1, maxItems=4),
    ),
    "invoice": obj(
        number=pattern(r"^INV-\d{4}$"),
        date=formatted("date"),
        lines=array(
            obj(item=SHORT, quantity=SCALARS["integer-range"], price=SCALARS["number-exclusive"]),
            minItems=1,
            maxItems=3,
        ),
        paid=BOOL,
    ),
    "event": obj(title=TEXT, start=formatted("date-time"), attendees=array(SHORT, maxItems=3)),
    "quiz": obj(question=TEXT, options=array(TEXT, minItems=4, maxItems=4), answer=enum("A", "B", "C", "D")),
    "step-by-step": obj(
        steps=array(obj(explanation=TEXT, output=TEXT), minItems=1, maxItems=3), final_answer=TEXT
    ),
    "translation": obj(source=enum("en", "de", "fr"), target=enum("en", "de", "fr"), text=TEXT),
    "colour": obj(**{c: {"type": "integer", "minimum": 0, "maximum": 255} for c in "rgb"}),
    "geo-point": obj(
        type={"const": "Point"},
        coordinates=array({"type": "number", "minimum": -180, "maximum": 180}, minItems=2, maxItems=2),
    ),
    "user-profile": obj(
        ["id", "name"],
        id=formatted("uuid"),
        name=TEXT,
        email=formatted("email"),
        roles=array(enum("admin", "editor", "viewer"), maxItems=3),
        settings=obj([], theme=enum("light", "dark"), notifications=BOOL),
    ),
    "two-sentences": array(TEXT, minItems=2, maxItems=2),
    "yes-no": obj(answer=enum("yes", "no"), reason=TEXT),
    "file-tree": {
        "$defs": {
            "entry": {
                "anyOf": [
                    obj(file=SHORT, bytes={"type": "integer", "minimum": 0, "maximum": 9999}),
                    obj(folder=SHORT, entries=array({"$ref": "#/$defs/entry"}, maxItems=2)),
                ]
            }
        },
        "$ref": "#/$defs/entry",
    },
    "sql-filter": obj(
        column=enum("id", "name", "age"),
        operator=enum("=", "<", ">", "<>"),
        value={"type": ["string", "integer"]},
    ),
    "chess-move": obj(
        piece=enum("K", "Q", "R", "B", "N", "P"), from_=pattern("^[a-h][1-8]$"), to=pattern("^[a-h][1-8]$")
    ),
    "survey": obj(**{f"q{i}": enum(1, 2, 3, 4, 5) for i in range(1, 11)}, comment=TEXT),
}

CORPUS: dict[str, Schema] = {**SCALARS, **STRINGS, **ARRAYS, **OBJECTS, **COMBINED, **TASKS}
