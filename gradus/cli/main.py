"""`gradus COMMAND ...`: finds the command, runs it, and turns errors into one line and an exit code.

Only the chosen command's module is imported, so that `--help` answers at once.
"""

import argparse
import io
import sys
from collections.abc import Sequence
from importlib import import_module

from gradus import __version__
from gradus.cli import exit_codes
from gradus.cli.flags import with_dashes
from gradus.errors import ConfigError, GradusError

# command -> what it is for; its module gives `add_arguments(parser)` and `run(args) -> int`
COMMANDS = {
    "serve": "serve a model over an OpenAI-compatible HTTP API",
    "generate": "complete prompts from the command line, standard input or a batch file",
    "chat": "talk to a model in the terminal",
    "convert": "write a model as a GGUF file",
    "doctor": "say what this machine can do, whether a model fits, and how fast it should run",
    "bench": "measure a model on this machine",
    "models": "list what is supported and what is in the hub's cache",
    "cache": "list, verify or clear what is kept on disk for the next start",
    "completion": "print a completion script for bash, zsh or fish",
}


def main(argv: Sequence[str] | None = None) -> int:
    arguments = with_dashes(sys.argv[1:] if argv is None else argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # what a terminal's encoding lacks is still shown
    try:
        args = build_parser(_chosen(arguments)).parse_args(arguments)
        return args.run(args)
    except KeyboardInterrupt:
        return exit_codes.INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()  # the reader of a pipe went away: nothing is left to say, and nobody to say it to
        return exit_codes.FAILED
    except Exception as error:
        if "--debug" in arguments:
            raise
        print(f"gradus: error: {_in_one_line(error)}", file=sys.stderr)
        return _exit_code(error)


def build_parser(*chosen: str) -> argparse.ArgumentParser:
    """The parser; of the commands only those `chosen` know their arguments."""
    parser = argparse.ArgumentParser(prog="gradus", description="Gradus: an LLM inference engine and server.")
    parser.add_argument("--version", action="version", version=f"gradus {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, purpose in COMMANDS.items():
        command = subparsers.add_parser(
            name,
            help=purpose,
            description=purpose[0].upper() + purpose[1:] + ".",
            allow_abbrev=False,
        )
        command.add_argument("--debug", action="store_true", help="show a traceback when something fails")
        if name in chosen:
            module = import_module(f"gradus.cli.{name}")
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    return parser


def _chosen(arguments: Sequence[str]) -> str:
    return next((argument for argument in arguments if not argument.startswith("-")), "")


def _in_one_line(error: Exception) -> str:
    """What Gradus raises on purpose names the way out; anything else is named, and how to see where."""
    if isinstance(error, GradusError):
        return str(error)
    what = " ".join(str(error).split())[:300]
    named = f"{type(error).__name__}: {what}" if what else type(error).__name__
    return f"{named}. Gradus did not foresee this; the same command with --debug shows where it happened"


def _exit_code(error: Exception) -> int:
    if isinstance(error, ConfigError):
        return exit_codes.USAGE
    return exit_codes.FAILED if isinstance(error, GradusError) else exit_codes.DEFECT


if __name__ == "__main__":
    sys.exit(main())
