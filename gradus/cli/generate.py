"""`gradus generate`: complete prompts given as arguments or on standard input, streaming a single one."""

import argparse
import sys
from typing import TYPE_CHECKING, Any

from gradus.cli.engine_args import (
    add_engine_arguments,
    add_sampling_arguments,
    engine_config,
    sampling_params,
)
from gradus.errors import InvalidRequestError

if TYPE_CHECKING:
    from gradus.llm import LLM


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_engine_arguments(parser)
    add_sampling_arguments(parser, max_tokens=128)
    parser.add_argument(
        "--prompt", action="append", metavar="TEXT", help="repeatable; default: standard input as one prompt"
    )
    parser.add_argument("--chat", action="store_true", help="apply the model's chat template to each prompt")


def run(args: argparse.Namespace) -> int:
    prompts = args.prompt or [sys.stdin.read()]
    if not all(prompts):
        raise InvalidRequestError(
            "a prompt is empty; give --prompt TEXT or write to standard input", "prompt"
        )
    sampling_params(args, {})  # refuses wrong values before a model is loaded
    from gradus.llm import LLM

    with LLM.from_config(engine_config(args)) as llm:
        params = sampling_params(args, llm.default_sampling)
        inputs: list[Any] = [_as_chat(llm, prompt) if args.chat else prompt for prompt in prompts]
        if len(inputs) == 1:
            for delta in llm.stream(inputs[0], params):
                print(delta.text, end="", flush=True)
            print()
        else:
            for output in llm.generate(inputs, params, use_tqdm=sys.stderr.isatty()):
                print(output.outputs[0].text)
    return 0


def _as_chat(llm: "LLM", prompt: str) -> Any:
    return llm.chat_prompt([{"role": "user", "content": prompt}])
