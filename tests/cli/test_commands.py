"""The commands as a user runs them: in a process of their own, with what they print and how they exit."""

import os
import subprocess
import sys

import pytest

from gradus.cli.engine_args import (
    add_engine_arguments,
    add_sampling_arguments,
    engine_config,
    sampling_params,
)
from gradus.cli.main import COMMANDS, main
from gradus.config import EngineConfig
from gradus.sampling_params import SamplingParams
from tests.cli.harness import gradus


def test_help_names_every_command():
    printed = gradus("--help")
    assert printed.returncode == 0
    assert all(command in printed.stdout for command in COMMANDS)


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert "usage: gradus" in capsys.readouterr().out


def test_the_flags_defaults_are_the_configurations():
    import argparse

    parser = argparse.ArgumentParser()
    add_engine_arguments(parser)
    assert engine_config(parser.parse_args([])) == EngineConfig()
    flags = """--no-chunked-prefill --no-prefix-caching --batching static --scheduling separated
        --kv-layout contiguous --enforce-eager --attention naive --kv-cache-memory-bytes 1.5G --threads 3"""
    given = parser.parse_args(["m", *flags.split()])
    assert engine_config(given) == EngineConfig(
        model="m",
        enable_chunked_prefill=False,
        enable_prefix_caching=False,
        batching="static",
        scheduling="separated",
        kv_layout="contiguous",
        enforce_eager=True,
        attention="naive",
        kv_cache_memory_bytes=1536 << 20,
        num_threads=3,
    )


def test_generate_prints_one_text_per_prompt(tiny_model_path):
    flags = ["--max-tokens", "8", "--stop", "\n"]
    one = gradus("generate", str(tiny_model_path), "--prompt", "Hello", *flags)
    assert one.returncode == 0, one.stderr
    piped = gradus("generate", str(tiny_model_path), *flags, stdin="Hello")
    assert piped.stdout == one.stdout
    two = gradus("generate", str(tiny_model_path), "--prompt", "Hello", "--prompt", "你好", *flags)
    assert two.stdout.startswith(one.stdout)
    chat = gradus("generate", str(tiny_model_path), "--chat", "--prompt", "Hello", *flags)
    assert chat.returncode == 0
    assert chat.stdout != one.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["generate", "./no/such/model", "--prompt", "x"], 1, ["no such directory", "demo"]),
        (["generate", "--max-tokens", "0", "--prompt", "x"], 1, ["max_tokens is 0"]),
        (["generate", "--prompt", ""], 1, ["prompt is empty"]),
        (["generate", "--dtype", "int3", "--prompt", "x"], 2, ["dtype", "float32"]),
        (["generate", "--kv-cache-memory-bytes", "lots"], 2, ["'lots'", "--kv-cache-memory-bytes"]),
        (["frobnicate"], 2, ["frobnicate"]),
        ([], 2, ["COMMAND"]),
    ],
)
def test_errors_are_one_line_with_the_way_out_and_an_exit_code(arguments, code, words):
    printed = gradus(*arguments)
    assert printed.returncode == code
    assert all(word in printed.stderr for word in words), printed.stderr
    assert "Traceback" not in printed.stderr


def test_bytes_that_are_no_text_are_said(tiny_model_path):
    command = [sys.executable, "-m", "gradus", "generate", str(tiny_model_path)]
    refused = subprocess.run(command, input=b"\xff\xfe", capture_output=True, timeout=60, check=False)
    assert refused.returncode == 1
    assert b"standard input is not utf-8" in refused.stderr
    command = [sys.executable, "-m", "gradus", "chat", str(tiny_model_path), "--max-tokens", "2"]
    answered = subprocess.run(command, input=b"a\xff\n", capture_output=True, timeout=60, check=False)
    assert answered.returncode == 0
    assert b"2 tokens" in answered.stderr


def test_what_the_encoding_of_the_output_lacks_is_escaped(tiny_model_path):
    flags = ["--prompt", "Hello", "--max-tokens", "60"]
    ascii_only = os.environ | {"PYTHONIOENCODING": "ascii:strict"}
    printed = gradus("generate", tiny_model_path, *flags, env=ascii_only)
    assert printed.returncode == 0, printed.stderr
    assert printed.stdout.isascii()


def test_debug_shows_the_traceback():
    printed = gradus("generate", "./no/such/model", "--prompt", "x", "--debug")
    assert printed.returncode == 1
    assert "Traceback" in printed.stderr


def test_what_was_not_foreseen_is_one_line_too(monkeypatch, capsys):
    """A defect: its name, the way to its traceback, and an exit code of its own."""
    from gradus.cli import generate

    def run(args):
        raise ZeroDivisionError("by\nzero")

    monkeypatch.setattr(generate, "run", run)
    assert main(["generate"]) == 70
    printed = capsys.readouterr().err
    assert printed.startswith("gradus: error: ZeroDivisionError: by zero.")
    assert "--debug" in printed
    assert printed.count("\n") == 1
    with pytest.raises(ZeroDivisionError):
        main(["generate", "--debug"])
    monkeypatch.setattr(generate, "run", lambda args: (_ for _ in ()).throw(KeyboardInterrupt))
    assert main(["generate"]) == 130


def test_sampling_flags_come_before_the_models_recommendations():
    import argparse

    parser = argparse.ArgumentParser()
    add_sampling_arguments(parser, max_tokens=7)
    recommended = {"temperature": 0.6, "top_p": 0.9}
    plain = sampling_params(parser.parse_args([]), {})
    assert (plain.temperature, plain.max_tokens, plain.top_p) == (0.0, 7, 1.0)
    defaults = sampling_params(parser.parse_args([]), recommended)
    assert (defaults.temperature, defaults.top_p) == (0.6, 0.9)
    flags = """--temperature 0.2 --min-p 0.1 --repetition-penalty 1.2 --presence-penalty 0.5 --bad-word x
        --frequency-penalty -1 --min-tokens 3 --sampling-seed 4 --ignore-eos --stop a --stop b"""
    given = sampling_params(parser.parse_args(flags.split()), recommended)
    assert given == SamplingParams(
        temperature=0.2,
        top_p=0.9,
        min_p=0.1,
        repetition_penalty=1.2,
        presence_penalty=0.5,
        frequency_penalty=-1,
        min_tokens=3,
        seed=4,
        bad_words=["x"],
        ignore_eos=True,
        stop=["a", "b"],
        max_tokens=7,
    )
