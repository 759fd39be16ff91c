"""`gradus generate --input FILE --output FILE`: a batch file through the engine; stopped, it goes on."""

import argparse
import asyncio
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from gradus.cli import exit_codes
from gradus.cli.engine_args import add_sampling_arguments, engine_config
from gradus.errors import ConfigError
from gradus.progress import duration, progress_bar

if TYPE_CHECKING:
    from gradus.config import EngineConfig
    from gradus.server.batch.journal import Journal
    from gradus.server.batch.runner import BatchRunner

_LINE_SECONDS = 10.0  # between lines of progress in a log


def run(args: argparse.Namespace) -> int:
    """Raises:
    ConfigError: flags that contradict each other, or files that cannot be used.
    ModelError: the model cannot be loaded.
    EngineDeadError: the engine stopped.
    """
    source, target = _files(args)
    config = engine_config(args)
    from gradus.server.batch.journal import Journal
    from gradus.server.batch.lines import read_lines

    journal: Journal | None = None
    total = 0
    try:
        total = sum(1 for _ in read_lines(source))  # before anything is made: the input may be missing
        journal = Journal(target)
        num_before = journal.num_done
        num_left = sum(not journal.has(line) for line in read_lines(source))
        if num_left:
            if num_before:
                _say(f"{target} has {num_before:,} results; {num_left:,} lines are left")
            _run_rest(config, args.served_model_name, source, total, journal)
        else:
            _say(f"nothing to do: all {total:,} lines of {source} have their results in {target}")
        return exit_codes.PARTLY if journal.num_failed else exit_codes.DONE
    except KeyboardInterrupt:
        done = f"{journal.num_done:,} of {total:,} results are in {target}" if journal else "nothing was done"
        _say(f"interrupted; {done}. The same command goes on from there")
        return exit_codes.INTERRUPTED
    finally:
        if journal is not None:
            journal.close()


def _files(args: argparse.Namespace) -> tuple[Path, Path]:
    """The two files, once it is clear that every flag given means something."""
    if args.input is None or args.output is None:
        given, missing = ("--output", "--input") if args.input is None else ("--input", "--output")
        raise ConfigError(f"{given} needs {missing} FILE: a batch is read from one and written to the other")
    if args.prompt or args.chat:
        raise ConfigError("--prompt and --chat do not go with --input: each of its lines is a request")
    parser = argparse.ArgumentParser()
    add_sampling_arguments(parser, max_tokens=args.default_max_tokens)
    for name, default in vars(parser.parse_args([])).items():
        if getattr(args, name) != default:
            flag = "--" + name.replace("_", "-")
            raise ConfigError(f"{flag} does not go with --input: each line's body has its own parameters")
    source, target = Path(args.input).expanduser(), Path(args.output).expanduser()
    if not source.is_file():
        raise ConfigError(f"{source} is no file; give --input a file with one JSON object per line")
    if target.exists() and target.samefile(source):
        raise ConfigError("--input and --output are the same file; choose another --output")
    return source, target


def _run_rest(
    config: "EngineConfig", served_name: str | None, source: Path, total: int, journal: "Journal"
) -> None:
    """Load the model and run the lines that have no result yet."""
    from gradus.engine.async_engine import AsyncEngine
    from gradus.runtime import load_runtime
    from gradus.server.batch.lines import read_lines
    from gradus.server.batch.runner import BatchRunner
    from gradus.server.run import SWITCH_INTERVAL
    from gradus.server.service import Service

    runtime = load_runtime(config)
    try:
        _say(runtime.summary)
        sys.setswitchinterval(SWITCH_INTERVAL)
        engine = AsyncEngine(runtime.core, max_queued_requests=sys.maxsize)
        service = Service(engine, runtime.inputs, served_name or runtime.source.name)
        runner = BatchRunner(service, journal, max_in_flight=2 * config.max_num_seqs, seed=config.seed)
        lines = (line for line in read_lines(source) if not journal.has(line))

        async def run_all() -> None:
            with progress_bar(
                "lines", total, True, num_done=journal.num_done, line_seconds=_LINE_SECONDS
            ) as report:
                try:
                    await runner.run(
                        lines, lambda: report(lambda: (journal.num_done, runner.num_generated_tokens))
                    )
                finally:
                    await engine.shutdown()

        start = time.monotonic()
        asyncio.run(run_all())
        _say(_summary(journal, runner, time.monotonic() - start))
    finally:
        runtime.close()


def _summary(journal: "Journal", runner: "BatchRunner", seconds: float) -> str:
    failed = f", {journal.num_failed:,} with an error" if journal.num_failed else ""
    rate = runner.num_generated_tokens / seconds if seconds > 0 else 0.0
    return (
        f"{journal.num_done:,} results in {journal.path}{failed}; this run took {duration(seconds)} and "
        f"generated {runner.num_generated_tokens:,} tokens ({rate:,.0f} per second)"
    )


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
