"""What structured output costs: tokens per second of 8 streams with a JSON Schema against 8 without.

Both sides generate the same number of tokens from the same prompts: each request without a schema as many,
past the end of the sequence, as its counterpart with one. They take turns, and the ratio of each pair is
taken. The last line of standard output is the evidence as one JSON object.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from gradus.bench.evidence import engine_parameters, evidence, to_line
from gradus.bench.ratios import advantage
from gradus.bench.statistics import spread
from gradus.config import EngineConfig
from gradus.llm import LLM
from gradus.outputs import CompletionOutput
from gradus.sampling_params import SamplingParams
from gradus.structured_outputs import StructuredOutputsParams

NUM_STREAMS = 8
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 40},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "tags": {"type": "array", "items": {"enum": ["new", "regular", "vip"]}, "minItems": 1, "maxItems": 3},
        "active": {"type": "boolean"},
        "note": {"type": "string", "maxLength": 80},
    },
    "required": ["name", "age", "tags", "active", "note"],
    "additionalProperties": False,
}
CONTACT = ["name", "city", "street", "mail", "note"]
SCHEMAS: dict[str, dict[str, Any]] = {
    "records": {"type": "array", "items": PERSON, "minItems": 1000},
    "contact": {
        "type": "object",
        "properties": {name: {"type": "string"} for name in CONTACT},
        "required": CONTACT,
        "additionalProperties": False,
    },
    "texts": {"type": "array", "items": {"type": "string"}, "minItems": 1000},
}
ENDLESS = ("records", "texts")  # these go on past ends of sequence
METHOD = (
    f"{NUM_STREAMS} requests at once on the engine in process, in turns without and with a JSON Schema: "
    "records, a list of at least 1,000 objects of five properties; contact, an object of five strings, each "
    "request to its end; texts, a list of at least 1,000 strings. The same prompts, and for each request the "
    "same number of tokens. One pair is left out. The ratio is constrained tokens per second over "
    "unconstrained ones of the same round; above 1, the constrained side is faster."
)


def generate(llm: LLM, params: list[SamplingParams]) -> tuple[float, list[CompletionOutput]]:
    """One run: seconds and what came."""
    prompts = [f"A list of people, number {i}: " for i in range(len(params))]
    start = time.perf_counter()
    results = llm.generate(prompts, params, use_tqdm=False)
    return time.perf_counter() - start, [request.outputs[0] for request in results]


def tokens_per_second(llm: LLM, params: list[SamplingParams], lengths: list[int]) -> float:
    seconds, outputs = generate(llm, params)
    if [len(output.token_ids) for output in outputs] != lengths:
        raise SystemExit("a request's number of tokens has changed; the sides cannot be compared")
    return sum(lengths) / seconds


def measure(
    config: EngineConfig, schema: str, num_tokens: int, num_rounds: int, temperature: float
) -> dict[str, Any]:
    """One model's evidence with one schema."""
    with_schema = SamplingParams(
        temperature=temperature,
        seed=0,
        max_tokens=num_tokens,
        ignore_eos=schema in ENDLESS,
        structured_outputs=StructuredOutputsParams(json=SCHEMAS[schema]),
    )
    bound = [with_schema] * NUM_STREAMS
    runs = []
    with LLM.from_config(config) as llm:
        _, outputs = generate(llm, bound)
        is_begun = all(output.text[0] in "[{" for output in outputs)
        lengths = [len(output.token_ids) for output in outputs]
        free = [
            replace(with_schema, max_tokens=length, ignore_eos=True, structured_outputs=None)
            for length in lengths
        ]
        tokens_per_second(llm, free, lengths)
        for number in range(num_rounds):
            pair = {
                "unconstrained": tokens_per_second(llm, free, lengths),
                "constrained": tokens_per_second(llm, bound, lengths),
            }
            runs.append(pair)
            print(
                f"{number + 1:3} {pair['unconstrained']:9.1f} {pair['constrained']:9.1f} tokens/s", flush=True
            )
    sides = {name: [pair[name] for pair in runs] for name in runs[0]}
    ratio = advantage(sides["constrained"], sides["unconstrained"], lower_is_better=False)
    return evidence(
        "structured-output",
        model={"name": config.model},
        parameters={
            **engine_parameters(config),
            "schema": schema,
            "num_streams": NUM_STREAMS,
            "max_tokens": num_tokens,
            "num_tokens": lengths,
            "num_rounds": num_rounds,
            "temperature": temperature,
        },
        method=METHOD,
        results={
            "constrained_over_unconstrained": ratio.as_dict(),
            **{f"{name}_tokens_per_second": spread(values) for name, values in sides.items()},
        },
        runs=runs,
        verification={"every_text_begins_as_the_schema_says": is_begun},
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--schema", choices=SCHEMAS, default="records")
    parser.add_argument("--quantization", default="none")
    parser.add_argument("--tokens", type=int, default=200, help="of each stream at most")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--no-jump-forward", action="store_true")
    parser.add_argument("--output", type=Path, help="a file for the evidence")
    options = parser.parse_args()
    config = EngineConfig(
        model=options.model,
        quantization=options.quantization,
        enable_jump_forward=not options.no_jump_forward,
        max_model_len=1024,
        max_num_seqs=NUM_STREAMS,
        enable_prefix_caching=False,
    )
    document = measure(config, options.schema, options.tokens, options.rounds, options.temperature)
    if options.output is not None:
        options.output.write_text(json.dumps(document, indent=1) + "\n")
    print(to_line(document))


if __name__ == "__main__":
    main()
