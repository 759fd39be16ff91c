"""What structured output costs: tokens per second of 8 streams with a JSON Schema against 8 without.

Both sides generate the same number of tokens from the same prompts, past the end of the sequence; no schema's
shortest text is so short. They take turns, and the ratio of each pair is taken. The last line of standard
output is the evidence as one JSON object.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

from gradus.bench.evidence import engine_parameters, evidence, to_line
from gradus.bench.statistics import spread
from gradus.bench.ratios import advantage
from gradus.config import EngineConfig
from gradus.llm import LLM
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
SCHEMAS: dict[str, dict[str, Any]] = {
    "records": {"type": "array", "items": PERSON, "minItems": 1000},
    "text": {  # next to nothing is given, so no token is jumped over
        "type": "object",
        "properties": {"text": {"type": "string", "minLength": 100_000}},
        "required": ["text"],
    },
}
METHOD = (
    f"{NUM_STREAMS} requests at once on the engine in process, in turns without and with a JSON Schema "
    "(records: a list of at least 1,000 objects of five properties; text: one long string), the same "
    "prompts and number of tokens, past the end of the sequence. One pair is left out. The ratio is "
    "constrained tokens per second over unconstrained ones of the same round; above 1, the constrained side "
    "is faster."
)


def tokens_per_second(llm: LLM, params: SamplingParams) -> tuple[float, list[str]]:
    """One run, and its texts."""
    prompts = [f"A list of people, number {i}: " for i in range(NUM_STREAMS)]
    start = time.perf_counter()
    outputs = [request.outputs[0] for request in llm.generate(prompts, params, use_tqdm=False)]
    seconds = time.perf_counter() - start
    if any(len(output.token_ids) != params.max_tokens for output in outputs):
        raise SystemExit("a request ended before max_tokens; the sides cannot be compared")
    return sum(len(output.token_ids) for output in outputs) / seconds, [output.text for output in outputs]


def measure(
    config: EngineConfig, schema: str, num_tokens: int, num_rounds: int, temperature: float
) -> dict[str, Any]:
    """One model's evidence with one schema."""
    form = StructuredOutputsParams(json=SCHEMAS[schema])
    free, bound = (
        SamplingParams(
            temperature=temperature, seed=0, max_tokens=num_tokens, ignore_eos=True, structured_outputs=side
        )
        for side in (None, form)
    )
    runs = []
    with LLM.from_config(config) as llm:
        tokens_per_second(llm, free)
        _, texts = tokens_per_second(llm, bound)
        for number in range(num_rounds):
            pair = {"unconstrained": tokens_per_second(llm, free)[0]}
            pair["constrained"] = tokens_per_second(llm, bound)[0]
            runs.append(pair)
            print(
                f"{number + 1:3} {pair['unconstrained']:9.1f} {pair['constrained']:9.1f} tokens/s", flush=True
            )
    sides = {name: [pair[name] for pair in runs] for name in runs[0]}
    ratio = advantage(sides["constrained"], sides["unconstrained"], lower_is_better=False)
    return evidence(
        "structured_output",
        model={"name": config.model},
        parameters={
            **engine_parameters(config),
            "schema": schema,
            "num_streams": NUM_STREAMS,
            "num_tokens": num_tokens,
            "num_rounds": num_rounds,
            "temperature": temperature,
        },
        method=METHOD,
        results={
            "constrained_over_unconstrained": ratio.as_dict(),
            **{f"{name}_tokens_per_second": spread(values) for name, values in sides.items()},
        },
        runs=runs,
        verification={"every_text_begins_as_the_schema_says": all(text[0] in "[{" for text in texts)},
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--schema", choices=SCHEMAS, default="records")
    parser.add_argument("--quantization", default="none")
    parser.add_argument("--tokens", type=int, default=200, help="of each stream")
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
