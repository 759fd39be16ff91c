"""Writing the demo model as Hugging Face libraries and Gradus read it: bf16 weights, configs, held-out
questions.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from demo_corpus import held_out_row, held_out_samples
from demo_net import DemoNet, NetConfig
from demo_tokenizer import END_OF_TEXT, TURN_END, save_tokenizer
from safetensors.torch import save_file
from tokenizers import Tokenizer


def model_config(cfg: NetConfig, tokenizer: Tokenizer) -> dict[str, Any]:
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "dtype": "bfloat16",
        "torch_dtype": "bfloat16",
        "vocab_size": cfg.vocab_size,
        "hidden_size": cfg.hidden_size,
        "intermediate_size": cfg.intermediate_size,
        "num_hidden_layers": cfg.num_layers,
        "num_attention_heads": cfg.num_heads,
        "num_key_value_heads": cfg.num_kv_heads,
        "head_dim": cfg.head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": cfg.max_positions,
        "rms_norm_eps": cfg.rms_norm_eps,
        "rope_theta": cfg.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": cfg.rope_theta},
        "tie_word_embeddings": True,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "use_sliding_window": False,
        "initializer_range": 0.02,
        "use_cache": True,
        "bos_token_id": None,
        "eos_token_id": tokenizer.token_to_id(TURN_END),
        "pad_token_id": tokenizer.token_to_id(END_OF_TEXT),
    }


def export(net: DemoNet, tokenizer: Tokenizer, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: p.detach().to(torch.bfloat16).contiguous() for name, p in net.named_parameters()}
    save_file(weights, str(folder / "model.safetensors"), metadata={"format": "pt"})
    save_tokenizer(tokenizer, folder, net.cfg.max_positions)
    _write_json(folder / "config.json", model_config(net.cfg, tokenizer))
    ends = [tokenizer.token_to_id(TURN_END), tokenizer.token_to_id(END_OF_TEXT)]
    generation = {"do_sample": False, "eos_token_id": ends, "pad_token_id": ends[1]}
    _write_json(folder / "generation_config.json", generation)
    rows = [json.dumps(held_out_row(sample), ensure_ascii=False) for sample in held_out_samples()]
    (folder / "held_out.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
