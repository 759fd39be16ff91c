"""Reading a `StreamPredictRequest`: what it means to the engine, and what only the log wants to know.

Ranges of sampling parameters, lengths and token ids are checked where every front end's are.
"""

from collections.abc import Mapping
from typing import Any

import grpc

from gradus.errors import InvalidRequestError
from gradus.messages import EngineRequest
from gradus.sampling_params import SamplingParams
from gradus.server.grpc.call import MAX_LABEL_CHARS
from gradus.server.grpc.proto import Message
from gradus.server.grpc.statuses import RpcError
from gradus.server.http.caps import check_caps
from gradus.server.service import Service
from gradus.server.settings import ServerSettings
from gradus.structured_outputs import StructuredOutputsParams
from gradus.text.input_processor import InputProcessor

MAX_EXTRA_ENTRIES = 32

_LABELS = ("tenant", "player_id", "locale")
_NOT_ZERO = ("top_p", "repetition_penalty")  # zero is the default
_OPTIONAL = (
    "top_k",
    "min_p",
    "seed",
    "min_tokens",
    "ignore_eos",
    "presence_penalty",
    "frequency_penalty",
    "include_stop_str_in_output",
    "skip_special_tokens",
    "thinking_token_budget",
)
_LISTS = ("stop", "stop_token_ids", "bad_words")
_GENERATION_FIELDS = {
    "max_tokens",
    "temperature",
    *_NOT_ZERO,
    *_OPTIONAL,
    *_LISTS,
    "logit_bias",
    "structured_outputs",
}


def check_readable(message: Message | None) -> None:
    """Raises RpcError: what came is no message of the method's kind."""
    if message is None:
        raise RpcError(
            grpc.StatusCode.INVALID_ARGUMENT,
            "the request is no message of the kind that this method takes; the .proto says which it is",
            reason="invalid_message",
        )


def check_labels(message: Message) -> None:
    """What goes into logs must be short.

    Raises:
        InvalidRequestError: names the field.
    """
    metadata = message.metadata
    labels = [(f"metadata.{name}", getattr(metadata, name)) for name in ("trace_id", *_LABELS)]
    labels += [("metadata.extra", text) for entry in metadata.extra.items() for text in entry]
    for name, label in [*labels, ("worker_hint", message.worker_hint)]:
        if len(label) > MAX_LABEL_CHARS:
            raise InvalidRequestError(
                f"{name} has {len(label):,} characters; at most {MAX_LABEL_CHARS} work", name
            )
    if len(metadata.extra) > MAX_EXTRA_ENTRIES:
        raise InvalidRequestError(
            f"metadata.extra has {len(metadata.extra):,} entries; at most {MAX_EXTRA_ENTRIES} work",
            "metadata.extra",
        )


def labels_for_log(message: Message) -> dict[str, str]:
    """What is carried through to the log, as far as it was sent."""
    labels = {name: getattr(message.metadata, name) for name in _LABELS} | {
        "worker_hint": message.worker_hint
    }
    labels |= {f"extra.{key}": value for key, value in message.metadata.extra.items()}
    return {name: label for name, label in labels.items() if label}


def check_model(service: Service, message: Message) -> None:
    """Raises RpcError: another model or an adapter is asked for."""
    refusal = service.refusal_of_model(message.model_id) if message.model_id else None
    if refusal is not None:
        raise RpcError(grpc.StatusCode.NOT_FOUND, refusal, reason="model_not_found", param="model_id")
    if message.adapter:
        raise RpcError(
            grpc.StatusCode.INVALID_ARGUMENT,
            f"adapter is {message.adapter[:200]!r}; this server has no adapters, so leave it empty",
            reason="unsupported_value",
            param="adapter",
        )


def check_lists(settings: ServerSettings, message: Message) -> None:
    """Raises InvalidRequestError: there are more entries than the server's caps allow."""
    generation = message.generation
    fields = {
        "stop": list(generation.stop),
        "logit_bias": dict(generation.logit_bias),
        "structured_outputs": _fields_of(generation.structured_outputs),
    }
    try:
        check_caps(fields, settings)
    except InvalidRequestError as error:
        raise _renamed(error) from None


async def engine_request(service: Service, message: Message, request_id: str) -> EngineRequest:
    """The request as the engine takes it.

    Raises:
        InvalidRequestError: names the field as the .proto does.
    """
    try:
        params = sampling_params(message.generation, service.inputs.sampling_defaults)
        await service.compile_grammar(params)
        return await service.compute(
            message.ByteSize(), lambda: _processed(service.inputs, message, params, request_id)
        )
    except InvalidRequestError as error:
        raise _renamed(error) from None


def _processed(
    inputs: InputProcessor, message: Message, params: SamplingParams, request_id: str
) -> EngineRequest:
    return inputs.process(
        request_id,
        message.prompt,
        params,
        priority=message.priority,
        cache_salt=message.metadata.tenant,
        add_special_tokens=not message.HasField("add_special_tokens") or message.add_special_tokens,
    )


def sampling_params(generation: Message, defaults: Mapping[str, Any]) -> SamplingParams:
    """Of the fields that were sent, and of `defaults`, the model's own, for those that were not.

    Raises:
        InvalidRequestError: a value is out of range.
    """
    given: dict[str, Any] = {
        "max_tokens": generation.max_new_tokens or None,
        "temperature": generation.temperature,
    }
    given |= {name: getattr(generation, name) for name in _NOT_ZERO if getattr(generation, name) != 0}
    given |= {name: getattr(generation, name) for name in _OPTIONAL if generation.HasField(name)}
    given |= {name: list(getattr(generation, name)) for name in _LISTS if getattr(generation, name)}
    if generation.logit_bias:
        given["logit_bias"] = dict(generation.logit_bias)
    if generation.HasField("structured_outputs"):
        given["structured_outputs"] = _form(generation.structured_outputs)
    return SamplingParams(**{**defaults, **given})


def _form(message: Message) -> StructuredOutputsParams:
    """Raises InvalidRequestError: there is none, more than one, or one that cannot be."""
    return StructuredOutputsParams(**_fields_of(message))


def _fields_of(message: Message) -> dict[str, Any]:
    """What is set, by name; lists of texts as such."""
    set_fields = {field.name: value for field, value in message.ListFields()}
    return {n: v if isinstance(v, (str, bool)) else list(v) for n, v in set_fields.items()}


def _renamed(error: InvalidRequestError) -> InvalidRequestError:
    """The same error in the .proto's names."""
    if (error.param or "").split(".")[0] not in _GENERATION_FIELDS:
        return error
    name = "max_new_tokens" if error.param == "max_tokens" else error.param
    text = str(error).replace("max_tokens", "max_new_tokens")
    return type(error)(text, f"generation.{name}")
