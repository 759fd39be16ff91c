"""Which weights, KV caches and activations are compared, and how much worse each may be.

A bound is on the perplexity of the answers and of all text: at most so many times that of another kind.
"""

from dataclasses import dataclass
from pathlib import Path

from gradus.config import EngineConfig
from gradus.errors import ConfigError
from gradus.export.gguf import export_gguf
from gradus.export.gguf_recipe import FILE_TYPES
from gradus.models.sources import resolve_model


@dataclass(frozen=True, slots=True)
class Kind:
    """One configuration.

    Attributes:
        weights: f32, bf16 or f16; int8, int4 or int4-all, quantized while loading; or a GGUF file type, which
            the model is written in first, and which goes before the former.
        kv_cache: f32 or f16.
        activations: f32, or int8 with quantized weights.
        attention: blocked; bf16; or auto, which on a CPU that can multiplies queries and keys in 8 bits.
        against: the kind that its perplexity is compared with.
        at_most: how many times that.
    """

    name: str
    weights: str
    kv_cache: str = "f32"
    activations: str = "f32"
    attention: str = "blocked"
    against: str = "f32"
    at_most: float = 1.0

    @property
    def is_file(self) -> bool:
        return self.weights not in _TYPES and self.weights in FILE_TYPES

    def config(self, model: str, num_threads: int | None, folder: Path) -> EngineConfig:
        """The configuration that loads it; a GGUF file is written into `folder` first."""
        if self.is_file:
            model = str(self._written(model, folder))
        quantization = self.weights if self.weights in _QUANTIZATIONS else "none"
        return EngineConfig(
            model=model,
            num_threads=num_threads,
            dtype=self.weights if self.weights in _TYPES else "f32",
            quantization=quantization,  # type: ignore[arg-type]  # one of them
            kv_cache_dtype=self.kv_cache,  # type: ignore[arg-type]
            activations=self.activations if self.is_file or quantization != "none" else "auto",  # type: ignore[arg-type]
            attention=self.attention,  # type: ignore[arg-type]
            packed_cache=False,
        )

    def _written(self, model: str, folder: Path) -> Path:
        path = folder / f"{self.weights}.gguf"
        if not path.exists():
            export_gguf(resolve_model(model), path, self.weights)
        return path


_TYPES = ("f32", "bf16", "f16")
_QUANTIZATIONS = ("int8", "int4", "int4-all")

ROUNDED = 1.001  # other floats: what their rounding may cost
EIGHT_BITS = 1.005
FOUR_BITS = 1.01  # Q4_0's of f32's, and ours of Q4_0's

EXACT = Kind("f32", "f32")
KINDS = {
    kind.name: kind
    for kind in (
        EXACT,
        Kind("bf16", "bf16", at_most=ROUNDED),
        Kind("f16", "f16", at_most=ROUNDED),
        Kind("kv-f16", "f32", kv_cache="f16", at_most=ROUNDED),
        Kind("int8-f32", "int8", at_most=EIGHT_BITS),
        Kind("int8", "int8", activations="int8", at_most=EIGHT_BITS),
        Kind("q8_0", "q8_0", activations="int8", at_most=EIGHT_BITS),
        Kind("q4_0", "q4_0", activations="int8", at_most=FOUR_BITS),
        Kind("q4_k_m", "q4_k_m", activations="int8", at_most=FOUR_BITS),
        Kind("int4-f32", "int4", against="q4_0", at_most=FOUR_BITS),
        Kind("int4", "int4", activations="int8", against="q4_0", at_most=FOUR_BITS),
        Kind("int4-kv-f16", "int4", "f16", "int8", against="q4_0", at_most=FOUR_BITS),
        Kind("int4-all", "int4-all", activations="int8", against="q4_0", at_most=FOUR_BITS),
        Kind("int4-all-kv-f16", "int4-all", "f16", "int8", at_most=FOUR_BITS),
        Kind("int4-all-bf16", "int4-all", "f16", "int8", "bf16", "int4-all-kv-f16", ROUNDED),
        Kind("int4-all-auto", "int4-all", "f16", "int8", "auto", "int4-all-kv-f16", ROUNDED),
    )
}


def find_kinds(names: str | None) -> list[Kind]:
    """Kinds by a comma-separated list of names, and those that they are compared with; all without one.

    Raises:
        ConfigError: names those that exist.
    """
    wanted = set(KINDS) if names is None else {name.strip() for name in names.split(",")}
    for name in sorted(wanted):
        if name not in KINDS:
            raise ConfigError(f"there is no kind {name!r}; there are {', '.join(KINDS)}")
    wanted |= {EXACT.name} | {KINDS[name].against for name in wanted}
    return [kind for name, kind in KINDS.items() if name in wanted]
