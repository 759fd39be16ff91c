"""Trains the embedded demo model from nothing: text, tokenizer, network, checkpoint.

    python tools/train_demo_model.py --out gradus/demo_model

Everything follows from `--seed`. A stopped run goes on from the last checkpoint in `--scratch` when it
is started again with the same arguments. Needs torch, tokenizers and safetensors; two CPU cores are
enough.

Workers are processes of one thread each that add up their gradients once a step. On a CPU that is shared
with other work this is far faster than one process of several threads, which wait for each other at
every operation.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from demo_corpus.batches import PackedBatch, Packer
from demo_export import export
from demo_net import DemoNet, NetConfig
from demo_optim import build_optimizers
from demo_tokenizer import train_tokenizer

VOCAB_SIZE = 2560
TOKENIZER_SAMPLES = 40_000
STAGES = (0.43, 0.77, 0.88)  # shares of the steps after which the text changes
WARM_UP_STEPS = 60
DECAY_SHARE = 0.45  # of the steps; before them the learning rate is constant
CHECKPOINT_SECONDS = 180


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    steps: int
    rows: int  # of `length` tokens in a step, over all workers
    length: int
    matrix_lr: float
    other_lr: float
    seed: int
    dtype: torch.dtype
    compile: bool
    workers: int
    out: Path
    scratch: Path

    def lr_scale(self, step: int) -> float:
        """Linear warm-up, a constant stretch, and a linear decay to zero."""
        return min(1.0, (step + 1) / WARM_UP_STEPS, (self.steps - step) / (self.steps * DECAY_SHARE))


class Trainer:
    """One worker of a run; the workers hold the same weights and read different text."""

    def __init__(self, cfg: TrainConfig, rank: int) -> None:
        self.cfg = cfg
        self.rank = rank
        self.checkpoint = cfg.scratch / "checkpoint.pt"
        torch.manual_seed(cfg.seed)
        self.tokenizer = train_tokenizer(VOCAB_SIZE, TOKENIZER_SAMPLES, cfg.seed)
        self.net = DemoNet(NetConfig(vocab_size=self.tokenizer.get_vocab_size()))
        self.optimizers = build_optimizers(self.net, cfg.matrix_lr, cfg.other_lr, cfg.dtype)
        self.base_lrs = [[group["lr"] for group in optimizer.param_groups] for optimizer in self.optimizers]
        self.loss_of = torch.compile(self.net, dynamic=False) if cfg.compile else self.net
        self.step = 0
        self.num_tokens = 0
        self.seconds = 0.0

    def save(self) -> None:
        state = {
            "net": self.net.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "progress": (self.step, self.num_tokens, self.seconds),
        }
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self.checkpoint)

    def resume(self) -> None:
        if not self.checkpoint.exists():
            return
        state = torch.load(self.checkpoint)
        self.net.load_state_dict(state["net"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step, self.num_tokens, self.seconds = state["progress"]
        print(f"resumed at step {self.step}", flush=True)

    def run(self) -> None:
        cfg = self.cfg
        rows, seed = cfg.rows // cfg.workers, cfg.seed * cfg.workers + self.rank
        ends = [round(cfg.steps * share) for share in STAGES]
        for stage, (begin, end) in enumerate(itertools.pairwise((0, *ends))):
            self._run_stage(Packer(self.tokenizer, rows, cfg.length, seed, stage), begin, end)
        # The last steps also read long conversations, so that contexts of several turns are not strange.
        long = Packer(self.tokenizer, rows // 2, cfg.length * 2, seed, stage=2, long=True)
        self._run_stage(long, ends[-1], cfg.steps)
        if self.rank == 0:
            self.save()

    def _run_stage(self, packer: Packer, begin: int, end: int) -> None:
        if self.step >= end:
            return
        started = saved = time.monotonic()
        before = self.seconds
        # A resumed run reads past the batches that it has already seen.
        for batch in itertools.islice(packer, self.step - begin, end - begin):
            loss = self._train_step(batch)
            self.seconds = before + time.monotonic() - started
            if self.rank > 0:
                continue
            if self.step % 20 == 0:
                speed = self.num_tokens / self.seconds
                print(
                    f"step {self.step}/{self.cfg.steps}: loss {loss:.3f}, {self.num_tokens:,} tokens "
                    f"at {speed:.0f} per second, {self.seconds / 60:.1f} min",
                    flush=True,
                )
            if time.monotonic() - saved > CHECKPOINT_SECONDS:
                self.save()
                saved = time.monotonic()

    def _train_step(self, batch: PackedBatch) -> float:
        scale = self.cfg.lr_scale(self.step)
        for optimizer, lrs in zip(self.optimizers, self.base_lrs, strict=True):
            for group, lr in zip(optimizer.param_groups, lrs, strict=True):
                group["lr"] = lr * scale
        ids, documents, chosen, targets, weights = map(
            torch.from_numpy, (batch.ids, batch.documents, batch.chosen, batch.targets, batch.weights)
        )
        with torch.autocast("cpu", torch.bfloat16, enabled=self.cfg.dtype == torch.bfloat16):
            losses = self.loss_of(ids, documents, chosen, targets)
        loss = (losses * weights).sum() / weights.sum()
        loss.backward()
        self._average_gradients()
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.num_tokens += int((batch.documents >= 0).sum()) * self.cfg.workers
        return loss.item()

    def _average_gradients(self) -> None:
        gradients = [parameter.grad for parameter in self.net.parameters()]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        flat /= self.cfg.workers
        for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))


def run_worker(rank: int, cfg: TrainConfig) -> None:
    """Train as one of the workers; the first one also writes the result."""
    torch.set_num_threads(1)
    store = dist.FileStore(str(cfg.scratch / f"rendezvous-{os.getppid()}"), cfg.workers)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=cfg.workers)
    trainer = Trainer(cfg, rank)
    trainer.resume()
    trainer.run()
    if rank == 0:
        export(trainer.net, trainer.tokenizer, cfg.out)
        num_parameters = sum(p.numel() for p in trainer.net.parameters())
        summary = {"parameters": num_parameters, "steps": trainer.step, "tokens": trainer.num_tokens}
        print(json.dumps(summary | {"seconds": round(trainer.seconds, 1)}))
    dist.destroy_process_group()


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the finished model")
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()) / "gradus-demo-model")
    parser.add_argument("--steps", type=int, default=2600)
    parser.add_argument("--rows", type=int, default=24, help="rows of --length tokens in a step")
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--matrix-lr", type=float, default=0.02)
    parser.add_argument("--other-lr", type=float, default=0.003)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--workers", type=int, default=2, help="processes of one thread; part of what the seed means"
    )
    parser.add_argument(
        "--f32", action="store_true", help="multiply in f32, for processors where bf16 is slow"
    )
    parser.add_argument("--no-compile", action="store_true", help="run without torch.compile")
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    args.scratch.mkdir(parents=True, exist_ok=True)
    cfg = TrainConfig(
        steps=args.steps,
        rows=args.rows,
        length=args.length,
        matrix_lr=args.matrix_lr,
        other_lr=args.other_lr,
        seed=args.seed,
        dtype=torch.float32 if args.f32 else torch.bfloat16,
        compile=not args.no_compile,
        workers=args.workers,
        out=args.out,
        scratch=args.scratch,
    )
    print(f"{cfg.steps} steps of up to {cfg.rows * cfg.length} tokens, {cfg.workers} workers", flush=True)
    mp.spawn(run_worker, args=(cfg,), nprocs=cfg.workers)


if __name__ == "__main__":
    main()
