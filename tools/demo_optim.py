"""The optimizer of the demo model: Muon for the matrices inside the layers, AdamW for the embedding and the
norms.

Muon replaces a matrix's momentum by the nearest orthogonal matrix, here by five Newton-Schulz steps, for
all matrices of one shape at once. Workers of a data-parallel run share that work. Source: Jordan et al.
2024, https://kellerjordan.github.io/posts/muon/
"""

from __future__ import annotations

from collections import defaultdict

import torch
import torch.distributed as dist
from torch import Tensor, nn

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
MOMENTUM = 0.95


def orthogonalize(matrices: Tensor, dtype: torch.dtype) -> Tensor:
    """The nearest orthogonal matrix of each, roughly. matrices: [n, rows, columns]."""
    a, b, c = COEFFICIENTS
    x = matrices.to(dtype)
    tall = x.shape[1] > x.shape[2]
    x = x.transpose(1, 2).contiguous() if tall else x  # batched products of strided views are slow on CPUs
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        gram = x @ x.transpose(1, 2)
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.transpose(1, 2) if tall else x


class Muon(torch.optim.Optimizer):
    def __init__(
        self, parameters: list[nn.Parameter], lr: float, weight_decay: float, dtype: torch.dtype
    ) -> None:
        self._dtype = dtype
        by_shape: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
        for parameter in parameters:
            by_shape[parameter.shape].append(parameter)
        groups = [{"params": group} for group in by_shape.values()]
        super().__init__(groups, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            self._step_group(group["params"], group["lr"], group["weight_decay"])

    def _step_group(self, parameters: list[nn.Parameter], lr: float, weight_decay: float) -> None:
        directions = []
        for parameter in parameters:
            momentum = self.state[parameter].setdefault("momentum", torch.zeros_like(parameter))
            momentum.lerp_(parameter.grad, 1 - MOMENTUM)
            directions.append(parameter.grad.lerp(momentum, MOMENTUM))
        updates = self._shared_orthogonalize(torch.stack(directions))
        rows, columns = parameters[0].shape
        scale = lr * max(1.0, rows / columns) ** 0.5
        for parameter, update in zip(parameters, updates, strict=True):
            parameter.mul_(1 - lr * weight_decay).add_(update, alpha=-scale)

    def _shared_orthogonalize(self, matrices: Tensor) -> Tensor:
        """Each worker does every n-th matrix; adding up puts them together."""
        mine = slice(dist.get_rank(), None, dist.get_world_size())
        updates = torch.zeros_like(matrices)
        updates[mine] = orthogonalize(matrices[mine], self._dtype).to(updates.dtype)
        dist.all_reduce(updates)
        return updates


def build_optimizers(
    net: nn.Module, matrix_lr: float, other_lr: float, dtype: torch.dtype
) -> list[torch.optim.Optimizer]:
    matrices = [p for name, p in net.named_parameters() if p.dim() == 2 and "embed" not in name]
    others = [p for name, p in net.named_parameters() if p.dim() == 1 or "embed" in name]
    return [
        Muon(matrices, lr=matrix_lr, weight_decay=0.01, dtype=dtype),
        torch.optim.AdamW(others, lr=other_lr, betas=(0.9, 0.95), weight_decay=0.0),
    ]
