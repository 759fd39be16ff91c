"""`gradus COMMAND ...`: finds the command, runs it, and turns errors into one line and an exit code.

Only the chosen command's module is imported, so that `--help` answers at once.
Exit codes: 0 done, 1 the work failed, 2 the command line was wrong, 130 interrupted.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from gradus import __version__
from gradus.errors import ConfigError, GradusError

# command -> what it is for; its module gives `add_arguments(parser)` and `run(args) -> int`
COMMANDS = {
    "serve": "serve a model over an OpenAI-compatible HTTP API",
    "generate": "complete prompts from the command line or standard input",
    "chat": "talk to a model in the terminal",
}


def main(argv: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    args = _parser(arguments).parse_args(arguments)
    try:
        return args.run(args)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # the reader of a pipe went away: nothing is left to say, and nobody to say it to
        return 1
    except GradusError as error:
        if args.debug:
            raise
        print(f"gradus: error: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gradus", description="Gradus: an LLM inference engine and server.")
    parser.add_argument("--version", action="version", version=f"gradus {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    chosen = next((argument for argument in arguments if not argument.startswith("-")), None)
    for name, purpose in COMMANDS.items():
        command = subparsers.add_parser(
            name, help=purpose, description=purpose[0].upper() + purpose[1:] + "."
        )
        command.add_argument("--debug", action="store_true", help="show a traceback when something fails")
        if name == chosen:
            module = import_module(f"gradus.cli.{name}")
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
