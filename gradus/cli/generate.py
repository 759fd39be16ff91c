"""`gradus generate`: complete prompts given as arguments, on standard input (streaming it), or in a file."""

import argparse
import io
import sys
from typing import TYPE_CHECKING, Any

from gradus.cli.engine_args import (
    add_engine_arguments,
    add_sampling_arguments,
    engine_config,
    sampling_params,
)
from gradus.errors import ConfigError, InvalidRequestError

if TYPE_CHECKING:
    from gradus.llm import LLM


_MAX_TOKENS = 128


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_engine_arguments(parser)
    add_sampling_arguments(parser, max_tokens=_MAX_TOKENS)
    parser.add_argument(
        "--prompt", action="append", metavar="TEXT", help="repeatable; default: standard input as one prompt"
    )
    parser.add_argument("--chat", action="store_true", help="apply the model's chat template to each prompt")
    group = parser.add_argument_group("batch file")
    group.add_argument("--input", metavar="FILE", help="requests in OpenAI's batch format, one per line")
    group.add_argument("--output", metavar="FILE", help="results are appended; those in it are not run again")
    group.add_argument("--served-model-name", metavar="NAME", help="what the lines call the model")
    parser.set_defaults(default_max_tokens=_MAX_TOKENS)


def run(args: argparse.Namespace) -> int:
    if args.input is not None or args.output is not None:
        from gradus.cli import generate_batch

        return generate_batch.run(args)
    if args.served_model_name is not None:
        raise ConfigError("--served-model-name goes with --input: without a batch nobody asks for a name")
    config = engine_config(args)
    prompts = args.prompt or [_standard_input()]
    if not all(prompts):
        raise InvalidRequestError(
            "a prompt is empty; give --prompt TEXT or write to standard input", "prompt"
        )
    sampling_params(args, {})  # refuses wrong values before a model is loaded
    from gradus.llm import LLM

    with LLM.from_config(config) as llm:
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


def _standard_input() -> str:
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="strict")  # some locales let stray bytes through
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise InvalidRequestError(
            f"standard input is not {error.encoding}; convert it, or give --prompt TEXT", "prompt"
        ) from error


def _as_chat(llm: "LLM", prompt: str) -> Any:
    return llm.chat_prompt([{"role": "user", "content": prompt}])
