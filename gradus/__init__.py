"""Gradus: an LLM inference engine and server. Names load on first use, so that importing it is cheap."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from gradus.beam_search import BeamSearchParams
    from gradus.llm import LLM
    from gradus.outputs import CompletionOutput, RequestOutput
    from gradus.sampling_params import SamplingParams
    from gradus.structured_outputs import StructuredOutputsParams

__all__ = [
    "LLM",
    "BeamSearchParams",
    "CompletionOutput",
    "RequestOutput",
    "SamplingParams",
    "StructuredOutputsParams",
    "__version__",
]

_HOMES = {
    "BeamSearchParams": "gradus.beam_search",
    "LLM": "gradus.llm",
    "CompletionOutput": "gradus.outputs",
    "RequestOutput": "gradus.outputs",
    "SamplingParams": "gradus.sampling_params",
    "StructuredOutputsParams": "gradus.structured_outputs",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'gradus' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
