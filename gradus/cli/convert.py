"""`gradus convert MODEL OUT.gguf`: a model as one file in llama.cpp's format."""

import argparse
from pathlib import Path

from gradus.cli import exit_codes
from gradus.errors import ConfigError

TYPES = ("f32", "f16", "bf16", "q8_0", "q6_k", "q5_1", "q5_0", "q4_k_m", "q4_1", "q4_0")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="demo, dummy:NAME, a directory, or a hub name")
    parser.add_argument("output", metavar="OUT.gguf", help="the file to write")
    parser.add_argument("--type", choices=TYPES, default="f16", help="of the matrices (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of dummy weights (default: %(default)s)")
    parser.add_argument("--force", action="store_true", help="replace OUT.gguf if it exists")


def run(args: argparse.Namespace) -> int:
    output = Path(args.output).expanduser()
    if output.suffix != ".gguf":
        raise ConfigError(f"the output is {args.output!r}; its name must end in .gguf")
    if output.exists() and not args.force:
        raise ConfigError(f"{output} exists; give another name, or --force to replace it")
    if not output.parent.is_dir():
        raise ConfigError(f"there is no directory {output.parent} for {output.name}")
    from gradus.export.gguf import export_gguf
    from gradus.models.sources import resolve_model

    export_gguf(resolve_model(args.model, seed=args.seed), output, args.type)
    print(f"{output}: {output.stat().st_size / 1e6:,.1f} MB")
    return exit_codes.DONE
