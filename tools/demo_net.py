"""The network that `train_demo_model.py` trains: the Qwen3 architecture in plain torch.

Parameter names are those of Hugging Face checkpoints, so that exporting is saving the state dict.
Knows tensors only; nothing of tokenizers, text or files. It trains on whole packed rows and has no KV cache:
running the model is the engine's work.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True, kw_only=True)
class NetConfig:
    """The network's shape; matrix dimensions are multiples of 64, for quantization in groups of 32."""

    vocab_size: int
    hidden_size: int = 256
    intermediate_size: int = 768
    num_layers: int = 4
    num_heads: int = 8
    num_kv_heads: int = 4
    head_dim: int = 32
    rope_theta: float = 10_000.0
    rms_norm_eps: float = 1e-6
    max_positions: int = 2048


class RMSNorm(nn.Module):
    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        scale = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return (wide * scale * self.weight).to(x.dtype)


def rope_tables(cfg: NetConfig, length: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines, each [length, head_dim / 2]."""
    exponents = torch.arange(0, cfg.head_dim, 2).float() / cfg.head_dim
    angles = torch.outer(torch.arange(length).float(), cfg.rope_theta**-exponents)
    return angles.cos(), angles.sin()


def apply_rope(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the two halves of each head (the half-split layout). x: [batch, time, heads, head_dim]."""
    first, second = x.chunk(2, dim=-1)
    cos, sin = cos[:, None, :].to(x.dtype), sin[:, None, :].to(x.dtype)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


def document_bias(documents: Tensor) -> Tensor:
    """What to add to the scores so that a token sees itself and earlier tokens of its own document only.

    documents: [batch, time]; returns [batch, 1, time, time] bf16.
    """
    same = documents[:, None, :, None] == documents[:, None, None, :]
    hidden = torch.full(same.shape, -30_000.0, dtype=torch.bfloat16)
    return hidden.masked_fill(same.tril(), 0.0)


class Attention(nn.Module):
    def __init__(self, cfg: NetConfig) -> None:
        super().__init__()
        self.cfg = cfg
        self.groups = cfg.num_heads // cfg.num_kv_heads
        q_size, kv_size = cfg.num_heads * cfg.head_dim, cfg.num_kv_heads * cfg.head_dim
        self.q_proj = nn.Linear(cfg.hidden_size, q_size, bias=False)
        self.k_proj = nn.Linear(cfg.hidden_size, kv_size, bias=False)
        self.v_proj = nn.Linear(cfg.hidden_size, kv_size, bias=False)
        self.o_proj = nn.Linear(q_size, cfg.hidden_size, bias=False)
        self.q_norm = RMSNorm(cfg.head_dim, cfg.rms_norm_eps)
        self.k_norm = RMSNorm(cfg.head_dim, cfg.rms_norm_eps)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, bias: Tensor) -> Tensor:
        batch, time, _ = x.shape
        q = self.q_proj(x).view(batch, time, -1, self.cfg.head_dim)
        k = self.k_proj(x).view(batch, time, -1, self.cfg.head_dim)
        v = self.v_proj(x).view(batch, time, -1, self.cfg.head_dim)
        q = apply_rope(self.q_norm(q), cos, sin).transpose(1, 2)
        k = apply_rope(self.k_norm(k), cos, sin).transpose(1, 2)
        k, v = (part.repeat_interleave(self.groups, dim=1) for part in (k, v.transpose(1, 2)))
        # Written out: on short rows this is faster on a CPU than the fused kernel and its backward pass.
        scores = q @ k.transpose(2, 3) * self.cfg.head_dim**-0.5 + bias  # [batch, heads, time, time]
        out = torch.softmax(scores, dim=-1, dtype=torch.float32).to(v.dtype) @ v
        return self.o_proj(out.transpose(1, 2).reshape(batch, time, -1))


class MLP(nn.Module):
    def __init__(self, cfg: NetConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(cfg.hidden_size, cfg.intermediate_size, bias=False)
        self.up_proj = nn.Linear(cfg.hidden_size, cfg.intermediate_size, bias=False)
        self.down_proj = nn.Linear(cfg.intermediate_size, cfg.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(nn.functional.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, cfg: NetConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(cfg.hidden_size, cfg.rms_norm_eps)
        self.self_attn = Attention(cfg)
        self.post_attention_layernorm = RMSNorm(cfg.hidden_size, cfg.rms_norm_eps)
        self.mlp = MLP(cfg)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, bias: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, bias)
        return x + self.mlp(self.post_attention_layernorm(x))


class Body(nn.Module):
    def __init__(self, cfg: NetConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(cfg.vocab_size, cfg.hidden_size)
        self.layers = nn.ModuleList(Layer(cfg) for _ in range(cfg.num_layers))
        self.norm = RMSNorm(cfg.hidden_size, cfg.rms_norm_eps)


class DemoNet(nn.Module):
    """Token ids in, the mean cross entropy of the chosen positions out; the head is the embedding, tied."""

    def __init__(self, cfg: NetConfig) -> None:
        super().__init__()
        self.cfg = cfg
        self.model = Body(cfg)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                residual = name.endswith(("o_proj.weight", "down_proj.weight"))
                std = 0.02 / (2 * cfg.num_layers) ** 0.5 if residual else 0.02
                nn.init.normal_(parameter, std=std)

    def hidden(self, ids: Tensor, documents: Tensor) -> Tensor:
        """ids, documents: [batch, time], a token and its document's number; returns [batch, time, hidden]."""
        cos, sin = rope_tables(self.cfg, ids.shape[1])
        bias = document_bias(documents)
        x = self.model.embed_tokens(ids)
        for layer in self.model.layers:
            x = layer(x, cos, sin, bias)
        return self.model.norm(x)

    def forward(self, ids: Tensor, documents: Tensor, rows: Tensor, targets: Tensor) -> Tensor:
        """Losses at the chosen positions only: the others need no logits.

        ids, documents: [batch, time]; rows: [n], indices into batch * time; targets: [n]; returns [n] f32.
        """
        chosen = self.hidden(ids, documents).flatten(0, 1)[rows]
        logits = nn.functional.linear(chosen, self.model.embed_tokens.weight)
        return nn.functional.cross_entropy(logits.float(), targets, reduction="none")
