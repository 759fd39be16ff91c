"""`gradus bench accuracy`: perplexity and right answers by weights, KV cache and activations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from gradus.bench.accuracy.held_out import (
    MAX_NEW_TOKENS,
    Question,
    is_right,
    load_questions,
    sample,
    shares,
)
from gradus.bench.accuracy.kinds import EXACT, Kind
from gradus.bench.accuracy.quality import Text, greedy_answers, losses, perplexities
from gradus.bench.evidence import evidence
from gradus.bench.rounds import Report
from gradus.config import EngineConfig
from gradus.errors import ConfigError
from gradus.llm import LLM
from gradus.machine import available_cpus
from gradus.models.sources import resolve_model

METHOD = (
    "The demo model's held-out questions, or a sample evenly over its categories; the product's own chat "
    "template and tokenizer. Perplexity: teacher-forced, from the engine's prompt_logprobs, of the right "
    "answers' tokens and of all tokens but each text's first. Right answers: greedy, marked by the questions'"
    " checks; the interval is Wilson's, 95 %; worse is the probability that a kind which is no worse than "
    "f32 loses as many answers against it or more (an exact binomial test of the answers that changed). GGUF "
    "files are written by gradus convert. Nothing here is drawn by chance: runs would not differ."
)
SIGNIFICANCE = 0.01


@dataclass(frozen=True, slots=True)
class Quality:
    """What one kind did with every question."""

    kind: Kind
    weight_bytes: int | None
    losses: list[np.ndarray]  # per question, of its tokens but the first
    answers: list[list[int]]  # token ids
    right: list[bool]

    def perplexities(self, texts: Sequence[Text]) -> dict[str, float]:
        return perplexities(texts, self.losses)

    def is_same(self, other: "Quality") -> bool:
        """Bit by bit."""
        same = all(np.array_equal(a, b) for a, b in zip(self.losses, other.losses, strict=True))
        return same and self.answers == other.answers


def bench_accuracy(
    model: str, kinds: Sequence[Kind], num_questions: int | None, num_threads: int | None, report: Report
) -> dict[str, Any]:
    """Measure kinds on `num_questions` questions; None: all. Returns the evidence.

    Raises:
        ModelError, ConfigError: there is no such model, or it has no held-out questions.
    """
    source = resolve_model(model)
    if source.kind not in ("demo", "local"):  # its tokenizer's folder would be another model's
        raise ConfigError(f"{model} has no held-out questions, so its answers cannot be marked; give demo")
    everything = load_questions(source.tokenizer_path)
    questions = everything if num_questions is None else sample(everything, num_questions)
    found: dict[str, Quality] = {}
    with TemporaryDirectory(prefix="gradus-accuracy-") as folder:
        configs = {kind.name: kind.config(model, num_threads, Path(folder)) for kind in kinds}
        texts = tokenized(configs[EXACT.name], questions)
        for kind in kinds:
            found[kind.name] = measure(kind, configs[kind.name], questions, texts)
            report(kind.name)
        again = measure(EXACT, configs[EXACT.name], questions, texts)
        report(f"{EXACT.name} again")
    return _evidence(model, num_threads, questions, len(everything), texts, found, again)


def tokenized(config: EngineConfig, questions: Sequence[Question]) -> list[Text]:
    """Prompts and right answers by the model's own chat template and tokenizer."""
    with LLM.from_config(config) as llm:
        tokenizer = llm.get_tokenizer()
        end = tokenizer.eos_token_id
        assert end is not None, "the demo model's turns end"
        texts = []
        for question in questions:
            prompt: Any = llm.chat_prompt(
                question["messages"],
                tools=question["tools"],
                chat_template_kwargs={"enable_thinking": question["enable_thinking"]},
            )
            answer = tokenizer.encode(question["answer"], add_special_tokens=False)
            texts.append(Text(prompt["prompt_token_ids"], [*answer, end]))
        return texts


def measure(
    kind: Kind, config: EngineConfig, questions: Sequence[Question], texts: Sequence[Text]
) -> Quality:
    """Load a kind and ask it everything."""
    with LLM.from_config(config) as llm:
        answers = greedy_answers(llm, texts, MAX_NEW_TOKENS)
        decode = llm.get_tokenizer().decode
        right = [is_right(question, decode(ids)) for question, ids in zip(questions, answers, strict=True)]
        return Quality(kind, llm.weight_bytes, losses(llm, texts), answers, right)


def compared(
    kind: Quality, exact: Quality, questions: Sequence[Question], texts: Sequence[Text]
) -> dict[str, Any]:
    """A kind's figures, beside those of f32."""
    from scipy.stats import binomtest

    num_right, count = sum(kind.right), len(kind.right)
    interval = binomtest(num_right, count).proportion_ci(confidence_level=0.95, method="wilson")
    pairs = list(zip(kind.right, exact.right, strict=True))
    lost, won = pairs.count((False, True)), pairs.count((True, False))
    found = kind.perplexities(texts)
    reference = exact.perplexities(texts)
    return {
        "weights": kind.kind.weights,
        "kv_cache": kind.kind.kv_cache,
        "activations": kind.kind.activations,
        "weight_bytes": kind.weight_bytes,
        "perplexity": found,
        "perplexity_over_f32": {name: found[name] / reference[name] for name in found},
        "right": num_right,
        "accuracy": num_right / count,
        "accuracy_interval_95": [float(interval.low), float(interval.high)],
        "accuracy_by_category": shares(questions, kind.right),
        "answers_changed": sum(a != b for a, b in zip(kind.answers, exact.answers, strict=True)),
        "lost": lost,
        "won": won,
        "worse_by_chance": float(binomtest(lost, lost + won, alternative="greater").pvalue)
        if lost + won
        else 1.0,
    }


def bounds(found: Mapping[str, Quality], texts: Sequence[Text]) -> dict[str, dict[str, Any]]:
    """Of every kind with one: its perplexities over those of the kind that it is held against."""
    by_name = {name: quality.perplexities(texts) for name, quality in found.items()}
    held = {}
    for name, quality in found.items():
        if name == EXACT.name:
            continue
        against = by_name[quality.kind.against]
        ratios = {part: value / against[part] for part, value in by_name[name].items()}
        held[name] = {"against": quality.kind.against, "at_most": quality.kind.at_most, "ratios": ratios}
    return held


def _evidence(
    model: str,
    num_threads: int | None,
    questions: Sequence[Question],
    num_all: int,
    texts: Sequence[Text],
    found: Mapping[str, Quality],
    again: Quality,
) -> dict[str, Any]:
    exact, held = found[EXACT.name], bounds(found, texts)
    results = {name: compared(quality, exact, questions, texts) for name, quality in found.items()}
    return evidence(
        "accuracy",
        model={"name": model},
        parameters={
            "kinds": list(found),
            "num_threads": num_threads or available_cpus(),
            "questions": len(questions)
            if len(questions) == num_all
            else f"a sample: {len(questions)} of {num_all}",
            "max_new_tokens": MAX_NEW_TOKENS,
            "significance": SIGNIFICANCE,
        },
        method=METHOD,
        results={"kinds": results, "bounds": held},
        runs=[_run(quality) for quality in found.values()],
        verification={
            "every_token_was_scored": all(
                [len(loss) for loss in quality.losses] == [len(text.token_ids) - 1 for text in texts]
                for quality in found.values()
            ),
            "f32_measured_again_is_the_same": exact.is_same(again),
            "no_kind_answers_worse_than_chance_allows": all(
                result["worse_by_chance"] >= SIGNIFICANCE for result in results.values()
            ),
            **{
                f"{name}_stays_within_its_bound": max(bound["ratios"].values()) <= bound["at_most"]
                for name, bound in held.items()
            },
        },
    )


def _run(quality: Quality) -> dict[str, Any]:
    return {
        "kind": quality.kind.name,
        "right": quality.right,
        "losses": [float(loss.sum()) for loss in quality.losses],
        "num_tokens": [len(loss) for loss in quality.losses],
    }
