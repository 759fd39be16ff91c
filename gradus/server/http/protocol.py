"""What all request bodies have in common: declared fields, fields that are fine at one value, and no others.

A body is checked in three steps: nulls count as absent; a field that is published but has no effect here is
accepted at the values that say so; everything else must be declared by the route's model, of the right type.
Ranges are `SamplingParams`' business. Every refusal names the field, its value, and what works.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema

from gradus.errors import InvalidRequestError
from gradus.parameter_checks import show
from gradus.sampling_params import MAX_LOGPROBS, MAX_N, SamplingParams
from gradus.server.http.errors import ApiError
from gradus.server.http.response_format import (
    RESPONSE_FORMAT_SCHEMA,
    STRUCTURED_OUTPUTS_SCHEMA,
    read_form,
)

Stop = Annotated[
    Any,
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]


# Nothing is converted, nothing unknown is let in, and a model is built when its route is first used.
STRICT = ConfigDict(strict=True, extra="forbid", defer_build=True, protected_namespaces=())


class StreamOptions(BaseModel):
    """Options of a stream."""

    model_config = STRICT

    include_usage: bool = Field(False, description="end the stream with a chunk of token counts")
    continuous_usage_stats: bool = Field(
        False,
        description="with include_usage: every chunk has the counts so far, of all choices together, and "
        "tokens without text have a chunk, too",
    )
    include_obfuscation: bool = Field(False, description="only false: chunks are not padded")


class SamplingRequest(BaseModel):
    """Fields of every endpoint that generates, in whichever dialect."""

    model_config = STRICT

    model: str | None = Field(None, description="the served model's name; may be left out")
    temperature: float = Field(1.0, description="0 is greedy; the model's files may recommend a default")
    top_p: float = Field(1.0, description="in (0, 1]; default as for temperature")
    top_k: int = Field(0, description="0 or -1: off; default as for temperature")
    min_p: float = Field(0.0, description="share of the likeliest token's probability; default likewise")
    seed: int | None = Field(None, description="makes sampling reproducible")
    min_tokens: int = Field(0, description="nothing ends the text before so many tokens")
    stop_token_ids: list[int] = Field([], description="token ids that end the text")
    ignore_eos: bool = Field(False, description="go on after an end-of-sequence token")
    include_stop_str_in_output: bool = Field(False, description="the text ends with what ended it")
    presence_penalty: float = Field(0.0, description="for tokens generated already, -2 to 2")
    frequency_penalty: float = Field(0.0, description="for each time a token was generated, -2 to 2")
    repetition_penalty: float = Field(1.0, description="for tokens of prompt or text; default likewise")
    logit_bias: dict[str, Any] = Field({}, description="token id -> what is added to its logit, -100 to 100")
    allowed_token_ids: list[int] | None = Field(None, description="no others are generated")
    bad_words: list[str] = Field([], description="texts that are not generated")
    skip_special_tokens: bool = Field(True, description="leave special tokens out of the text")
    spaces_between_special_tokens: bool = Field(True, description="byte-level text has none in either case")
    structured_outputs: Annotated[Any, WithJsonSchema(STRUCTURED_OUTPUTS_SCHEMA)] = Field(
        None, description="vLLM's way to say what the text must be: exactly one of its first five fields"
    )
    thinking_token_budget: int | None = Field(None, description="reasoning is ended after so many tokens")
    priority: int = Field(0, description="lower runs earlier under the priority policy")
    cache_salt: str = Field("", description="only requests with the same one share cached prompts")
    timeout: float | None = Field(
        None, description="seconds until the request ends with an error", gt=0, allow_inf_nan=False
    )
    stream: bool = False
    stream_chunk_size: int | None = Field(
        None, description="tokens per event, 1 to 4096; default: the server's"
    )
    timings: bool = Field(False, description="also answer where the time went")

    def sampling_params(self, defaults: Mapping[str, Any], **own: Any) -> SamplingParams:
        """Of the fields that were sent, and of `defaults`, the model's own, for those that were not.

        `own` are those whose names or defaults are the endpoint's.

        Raises:
            InvalidRequestError: a value is out of range.
        """
        given = {name: getattr(self, name) for name in self.model_fields_set if name in _SAMPLING_FIELDS}
        return SamplingParams(**{**defaults, **given, **own})

    def check_chunk_size(self) -> None:
        """Raises InvalidRequestError."""
        if self.stream_chunk_size is not None and not self.stream:
            raise InvalidRequestError(
                f"stream_chunk_size is {self.stream_chunk_size}; it needs stream to be true",
                "stream_chunk_size",
            )


class GenerationRequest(SamplingRequest):
    """Fields of both completion endpoints."""

    n: int = Field(1, description=f"choices per prompt, 1 to {MAX_N}")
    max_tokens: int | None = None
    stop: Stop = Field((), description="strings that end the text; not part of it")
    prompt_logprobs: int | None = Field(None, description="likeliest tokens per position of the prompt")
    response_format: Annotated[Any, WithJsonSchema(RESPONSE_FORMAT_SCHEMA)] = Field(
        None, description="text, any JSON object, or JSON of a schema"
    )
    stream_options: StreamOptions | None = None

    def sampling_params(self, defaults: Mapping[str, Any], **own: Any) -> SamplingParams:
        form = read_form(self.response_format, self.structured_outputs)
        return super().sampling_params(defaults, structured_outputs=form, **own)

    @property
    def include_usage(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage

    @property
    def counts_continuously(self) -> bool:
        return self.stream_options is not None and self.stream_options.continuous_usage_stats

    def check_stream_options(self) -> None:
        if self.stream and self.prompt_logprobs is not None:
            raise InvalidRequestError(
                f"prompt_logprobs is {self.prompt_logprobs} and stream is true; they come with a whole "
                "answer only, so leave one of them out",
                "prompt_logprobs",
            )
        self.check_chunk_size()
        if self.stream_options is None:
            return
        if not self.stream:
            raise InvalidRequestError("stream_options needs stream to be true", "stream_options")
        if self.counts_continuously and not self.include_usage:
            raise InvalidRequestError(
                "stream_options.continuous_usage_stats is true; it needs include_usage to be true, too",
                "stream_options",
            )
        if self.stream_options.include_obfuscation:
            raise InvalidRequestError(
                "stream_options.include_obfuscation is true; only false works here", "stream_options"
            )


# Fields that mean the same everywhere; the others have names or defaults of each endpoint's own.
_SAMPLING_FIELDS = {field.name for field in fields(SamplingParams)} - {
    "max_tokens",
    "logprobs",
    "structured_outputs",
}

LogprobsCount = Annotated[
    int | None, Field(description=f"likeliest tokens per position, 0 to {MAX_LOGPROBS}")
]


@dataclass(frozen=True, slots=True)
class Neutral:
    """A published field without effect here: which values say so, in code and in words."""

    accepts: Callable[[Any], bool]
    works: str

    @classmethod
    def values(cls, *values: Any) -> "Neutral":
        words = " or ".join(json.dumps(value) for value in values)
        return cls(lambda given: any(_same(given, value) for value in values), f"only {words} works here")

    @classmethod
    def anything(cls, kind: type, name: str) -> "Neutral":
        return cls(lambda given: isinstance(given, kind), f"it must be {name}")


UNSUPPORTED = Neutral(lambda _: False, "this server does not support it; leave it out")


def _replaced_by(works: str) -> Neutral:
    return Neutral(lambda _: False, f"that is an older name; send {works}")


# Published by OpenAI for both endpoints, or by vLLM. Values that would change the result are refused.
COMMON_NEUTRAL: Mapping[str, Neutral] = {
    "length_penalty": Neutral.values(1),
    "user": Neutral.anything(str, "a string"),
    "use_beam_search": Neutral.values(False),
    "truncate_prompt_tokens": UNSUPPORTED,
    "guided_json": _replaced_by('structured_outputs with "json"'),
    "guided_regex": _replaced_by('structured_outputs with "regex"'),
    "guided_choice": _replaced_by('structured_outputs with "choice"'),
    "guided_grammar": _replaced_by('structured_outputs with "grammar"'),
}

M = TypeVar("M", bound=BaseModel)


def parse(model: type[M], body: Mapping[str, Any], neutral: Mapping[str, Neutral]) -> M:
    """The body as the route's model.

    Raises:
        ApiError: names the field, its value, and what works.
    """
    values: dict[str, Any] = {}
    for name, value in body.items():
        if value is None:
            continue
        if name in model.model_fields:
            values[name] = value
        elif name not in neutral:
            raise ApiError(
                f"{show(name)} is no field of this endpoint; /docs lists those that are",
                param=name[:100],
                code="unknown_parameter",
            )
        elif not neutral[name].accepts(value):
            raise ApiError(
                f"{name} is {show(value)}; {neutral[name].works}", param=name, code="unsupported_value"
            )
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise _first_of(error) from None


_REQUIREMENTS = {
    "int_type": "it must be an integer",
    "int_from_float": "it must be an integer",
    "float_type": "it must be a number",
    "string_type": "it must be a string",
    "bool_type": "it must be true or false",
    "list_type": "it must be a list",
    "dict_type": "it must be an object",
    "model_type": "it must be an object",
    "model_attributes_type": "it must be an object",
    "extra_forbidden": "there is no such field",
}


def _first_of(error: ValidationError) -> ApiError:
    first = error.errors(include_url=False, include_context=False)[0]
    where = ""
    for part in first["loc"]:
        where += f"[{part}]" if isinstance(part, int) else f".{part}" if where else str(part)
    if first["type"] == "missing":
        return ApiError(f"{where} is missing", param=where, code="missing_required_parameter")
    requirement = _REQUIREMENTS.get(first["type"]) or first["msg"].replace("Input should be", "it must be")
    is_unknown = first["type"] == "extra_forbidden"
    return ApiError(
        f"{where[:100]} is {show(first['input'])}; {requirement}",
        param=where[:100],
        code="unknown_parameter" if is_unknown else "invalid_type",
    )


def renamed(error: InvalidRequestError, names: Mapping[str, str]) -> InvalidRequestError:
    """The same error in an endpoint's own field names; `names` maps the common ones to them."""
    new = names.get(error.param or "")
    if new is None:
        return error
    message = str(error).replace(f"{error.param} is", f"{new} is")
    if error.param == "max_tokens":
        message = message.replace("Lower max_tokens", f"Lower {new}")
    return type(error)(message, new)


def _same(given: Any, value: Any) -> bool:
    """Equal as JSON: true is not 1, but 0 is 0.0."""
    if isinstance(given, bool) or isinstance(value, bool):
        return given is value
    return bool(given == value)
