"""`ModelConfig`: what `config.json` says about a model, in Gradus's terms.

Knows the shapes and constants that decoders share. Which fields of which architecture are honoured or refused
is told beside the architecture's function, and so are constants that only it has, in a subclass.
"""

from dataclasses import dataclass

from gradus.models.rope import Rope


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """A decoder's shape; sizes in elements, `max_position_embeddings` in tokens."""

    architecture: str  # a name in gradus.models.registry
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    rms_norm_eps: float
    rope: Rope
    max_position_embeddings: int
    tie_word_embeddings: bool
    attention_bias: bool
    dtype: str  # the checkpoint's: f32, bf16 or f16
    mlp_bias: bool = False
    windows: tuple[int | None, ...] = ()  # per layer, tokens that a token sees; empty: all see everything

    def window(self, layer: int) -> int | None:
        """How many tokens a token sees in a layer, itself included; None is all before it."""
        return self.windows[layer] if self.windows else None
