"""Which tensor of a GGUF file gets which type: the mixtures that llama.cpp's quantizer makes.

Source: the rules of llama.cpp's `llama-quantize`, without an importance matrix.
"""

from dataclasses import dataclass

from gradus.models.checkpoint.gguf.types import TYPE_BY_NAME, TensorType
from gradus.models.config import ModelConfig


@dataclass(frozen=True, slots=True)
class FileType:
    """A file's `--type`.

    Attributes:
        id: its number in the metadata.
        matrices: the type of most matrices.
        head: that of the output layer, which may be the embedding too.
        sensitive: that of values and of down projections in some layers.
    """

    id: int
    matrices: str
    head: str
    sensitive: str = ""


FILE_TYPES = {
    "f32": FileType(0, "F32", "F32"),
    "f16": FileType(1, "F16", "F16"),
    "bf16": FileType(32, "BF16", "BF16"),
    "q8_0": FileType(7, "Q8_0", "Q8_0"),
    "q6_k": FileType(18, "Q6_K", "Q6_K"),
    "q5_1": FileType(9, "Q5_1", "Q6_K"),
    "q5_0": FileType(8, "Q5_0", "Q6_K"),
    "q4_k_m": FileType(15, "Q4_K", "Q6_K", sensitive="Q6_K"),
    "q4_1": FileType(3, "Q4_1", "Q6_K"),
    "q4_0": FileType(2, "Q4_0", "Q6_K"),
}

# Where rows are no whole number of blocks, the next best type.
_FALLBACKS = {"Q4_K": "Q5_0", "Q6_K": "Q8_0"}


def tensor_type_of(name: str, shape: tuple[int, ...], config: ModelConfig, file_type: FileType) -> TensorType:
    """Vectors are f32; a matrix, by Hugging Face's name, has a type whose blocks fill its rows."""
    if len(shape) == 1:
        return TYPE_BY_NAME["F32"]
    chosen = _wanted(name, config, file_type)
    while shape[1] % TYPE_BY_NAME[chosen].block_size:
        chosen = _FALLBACKS.get(chosen, "F16")
    return TYPE_BY_NAME[chosen]


def _wanted(name: str, config: ModelConfig, file_type: FileType) -> str:
    if name == ("model.embed_tokens.weight" if config.tie_word_embeddings else "lm_head.weight"):
        return file_type.head
    is_sensitive = name.endswith((".v_proj.weight", ".down_proj.weight"))
    if file_type.sensitive and is_sensitive and _is_important(int(name.split(".")[2]), config.num_layers):
        return file_type.sensitive
    return file_type.matrices


def _is_important(layer: int, num_layers: int) -> bool:
    """The first and the last eighth of the layers, and every third between."""
    eighth = num_layers // 8
    return layer < eighth or layer >= 7 * num_layers // 8 or (layer - eighth) % 3 == 2
