"""Scores a demo model on its held-out questions: greedy answers per category, and perplexity.

    python tools/score_demo_model.py                          # Gradus's own engine
    python tools/score_demo_model.py --engine transformers    # an independent oracle; also perplexity

Prints a table; the last line of stdout is one JSON object. Needs transformers for the tokenizer and its
chat template, so that the prompts do not depend on the code under test.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gradus.bench.accuracy.held_out import MAX_NEW_TOKENS, Question, is_right, load_questions, shares

# Prompts as token ids and the most new tokens in; the new token ids of each out, greedily chosen.
Generate = Callable[[Sequence[list[int]], int], list[list[int]]]

DEFAULT_MODEL = Path(__file__).resolve().parent.parent / "gradus" / "demo_model"


def prompt_ids(tokenizer: Any, row: Question) -> list[int]:
    text = tokenizer.apply_chat_template(
        row["messages"],
        tools=row["tools"],
        enable_thinking=row["enable_thinking"],
        add_generation_prompt=True,
        tokenize=False,
    )
    return tokenizer.encode(text, add_special_tokens=False)


def score(
    rows: list[Question], tokenizer: Any, generate: Generate, show_wrong: bool = False
) -> dict[str, float]:
    """The share of right answers per category, and overall under `overall`.

    Args:
        generate: the engine under test; called once with all prompts.
        show_wrong: print each wrong answer.
    """
    outputs = generate([prompt_ids(tokenizer, row) for row in rows], MAX_NEW_TOKENS)
    marks = []
    for row, ids in zip(rows, outputs, strict=True):
        answer = tokenizer.decode(ids, skip_special_tokens=True)
        marks.append(is_right(row, answer))
        if show_wrong and not marks[-1]:
            question = row["messages"][-1]["content"]
            print(f"[{row['category']}] {question!r} gave {answer!r}, not {row['answer']!r}")
    return shares(rows, marks)


def gradus_engine(model: Path) -> Generate:
    from gradus import LLM, SamplingParams

    llm = LLM(model=str(model))

    def generate(prompts: Sequence[list[int]], max_tokens: int) -> list[list[int]]:
        params = SamplingParams(temperature=0, max_tokens=max_tokens)
        outputs = llm.generate([{"prompt_token_ids": ids} for ids in prompts], params)
        return [list(output.outputs[0].token_ids) for output in outputs]

    return generate


def transformers_engine(network: Any) -> Generate:
    import torch

    def generate(prompts: Sequence[list[int]], max_tokens: int) -> list[list[int]]:
        # Prompts of one length run together: without padding, no answer depends on its neighbours.
        by_length: dict[int, list[int]] = defaultdict(list)
        for i, ids in enumerate(prompts):
            by_length[len(ids)].append(i)
        answers: list[list[int]] = [[] for _ in prompts]
        for length, members in by_length.items():
            ids = torch.tensor([prompts[i] for i in members])
            out = network.generate(
                ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=max_tokens
            )
            for i, row in zip(members, out[:, length:].tolist(), strict=True):
                answers[i] = row
        return answers

    return generate


def perplexities(rows: list[Question], tokenizer: Any, network: Any) -> dict[str, float]:
    """Perplexity of the right answers' tokens, and of all tokens but the first, by transformers' logits."""
    import torch

    answer_losses: list[float] = []
    all_losses: list[float] = []
    for row in rows:
        prompt = prompt_ids(tokenizer, row)
        answer = [*tokenizer.encode(row["answer"], add_special_tokens=False), tokenizer.eos_token_id]
        ids = torch.tensor([prompt + answer])
        with torch.no_grad():
            logits = network(ids).logits[0, :-1].float()
        losses = torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="none").tolist()
        all_losses += losses
        answer_losses += losses[-len(answer) :]
    return {name: math.exp(sum(losses) / len(losses))
            for name, losses in (("answers", answer_losses), ("all_text", all_losses))}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=DEFAULT_MODEL)
    parser.add_argument("--engine", choices=("gradus", "transformers"), default="gradus")
    parser.add_argument("--show-wrong", action="store_true", help="print every wrong answer")
    args = parser.parse_args()
    from transformers import AutoTokenizer

    rows, tokenizer = load_questions(args.model), AutoTokenizer.from_pretrained(args.model)
    print(f"{len(rows)} held-out questions, engine {args.engine}", file=sys.stderr)
    started = time.monotonic()
    evidence: dict[str, Any] = {"engine": args.engine, "questions": len(rows)}
    if args.engine == "transformers":
        import torch
        from transformers import AutoModelForCausalLM

        network = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32).eval()
        evidence["accuracy"] = score(rows, tokenizer, transformers_engine(network), args.show_wrong)
        evidence["perplexity"] = perplexities(rows, tokenizer, network)
    else:
        evidence["accuracy"] = score(rows, tokenizer, gradus_engine(args.model), args.show_wrong)
    evidence["seconds"] = round(time.monotonic() - started, 1)
    for category, share in evidence["accuracy"].items():
        print(f"{category:<14}{share:8.1%}")
    for name, value in evidence.get("perplexity", {}).items():
        print(f"perplexity of {name:<10}{value:8.4f}")
    print(json.dumps(evidence))


if __name__ == "__main__":
    main()
