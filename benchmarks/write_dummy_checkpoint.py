"""Writes `dummy:NAME` as a Hugging Face directory, so that other engines run the very same weights.

The tokenizer is the embedded model's; `--full-vocabulary` makes one with as many entries as the model has
rows, of random merges, which is what reading and starting a tokenizer of a published model costs. The weights
stay in bf16. Qwen and Llama shapes without experts.
"""

import argparse
import json
import random
import shutil
import struct
from pathlib import Path
from typing import Any

from gradus.models.checkpoint.base import Checkpoint
from gradus.models.config import ModelConfig
from gradus.models.rope import Llama3Scaling, Rope
from gradus.models.sources import DEMO_DIRECTORY, resolve_model

MODEL_TYPES = {"Qwen3ForCausalLM": "qwen3", "Qwen2ForCausalLM": "qwen2", "LlamaForCausalLM": "llama"}
LONGEST_TOKEN = 16  # bytes


def config_fields(config: ModelConfig) -> dict[str, Any]:
    return {
        "architectures": [config.architecture],
        "model_type": MODEL_TYPES[config.architecture],
        "torch_dtype": "bfloat16",
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": config.max_position_embeddings,
        "rms_norm_eps": config.rms_norm_eps,
        "rope_theta": config.rope.theta,
        "rope_scaling": rope_scaling(config.rope),
        "tie_word_embeddings": config.tie_word_embeddings,
        "attention_bias": False,  # Qwen2 has its biases without being asked
        "use_cache": True,
    }


def rope_scaling(rope: Rope) -> dict[str, Any] | None:
    if not isinstance(rope.scaling, Llama3Scaling):
        return None
    scaling = rope.scaling
    return {
        "rope_type": "llama3",
        "factor": scaling.factor,
        "low_freq_factor": scaling.low_freq_factor,
        "high_freq_factor": scaling.high_freq_factor,
        "original_max_position_embeddings": scaling.original_max_position_embeddings,
    }


def write_weights(checkpoint: Checkpoint, path: Path) -> None:
    """A safetensors file: the header's length, the header, the tensors one after another.

    Source: the safetensors format's description.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name in checkpoint.names():
        shape = checkpoint.shape(name)
        size = 2
        for extent in shape:
            size *= extent
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in checkpoint.names():
            file.write(checkpoint.read(name).array.tobytes())


def fill_vocabulary(tokenizer: dict[str, Any], vocab_size: int, seed: int) -> None:
    """Add random merges until every row of the embedding has its token, and move added tokens to the end."""
    model, added = tokenizer["model"], tokenizer["added_tokens"]
    special = {token["content"] for token in added}
    vocab: dict[str, int] = {token: i for token, i in model["vocab"].items() if token not in special}
    tokens = list(vocab)
    draw = random.Random(seed)
    while len(tokens) < vocab_size - len(added):
        # Of two draws the earlier token: frequent ones are merged most, as in a trained vocabulary.
        left, right = (tokens[min(draw.randrange(len(tokens)), draw.randrange(len(tokens)))] for _ in "ab")
        if len(left + right) > LONGEST_TOKEN or left + right in vocab:
            continue
        vocab[left + right] = len(tokens)
        tokens.append(left + right)
        model["merges"].append([left, right] if isinstance(model["merges"][0], list) else f"{left} {right}")
    model["vocab"] = vocab
    for index, token in enumerate(added):
        token["id"] = vocab_size - len(added) + index


def write_tokenizer(directory: Path, vocab_size: int | None, seed: int) -> None:
    """The embedded model's tokenizer; with `vocab_size`, filled up to so many tokens."""
    shutil.copy(DEMO_DIRECTORY / "tokenizer_config.json", directory)
    tokenizer = json.loads((DEMO_DIRECTORY / "tokenizer.json").read_text())
    if vocab_size is not None:
        fill_vocabulary(tokenizer, vocab_size, seed)
    (directory / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False))
    ids = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    generation = {"do_sample": False, "eos_token_id": ids["<|im_end|>"], "pad_token_id": ids["<|endoftext|>"]}
    (directory / "generation_config.json").write_text(json.dumps(generation))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="dummy:NAME or dummy:NAME?layers=N")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--full-vocabulary", action="store_true", help="a token for every embedding")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    source = resolve_model(args.model, seed=args.seed)
    if source.kind != "dummy" or source.config.architecture not in MODEL_TYPES:
        parser.error(f"{args.model} is not a dummy model of {', '.join(MODEL_TYPES)}")
    args.directory.mkdir(parents=True, exist_ok=True)
    (args.directory / "config.json").write_text(json.dumps(config_fields(source.config), indent=2))
    write_tokenizer(args.directory, source.config.vocab_size if args.full_vocabulary else None, args.seed)
    write_weights(source.checkpoint, args.directory / "model.safetensors")


if __name__ == "__main__":
    main()
