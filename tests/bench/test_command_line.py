"""The command that is shown: one that can be given again, on any machine."""

import sys
from pathlib import Path

import pytest

import gradus
from gradus.bench.command_line import VARIABLES, command_line, without_folders

ROOT = Path(gradus.__file__).parents[1]


@pytest.fixture
def shown(monkeypatch, tmp_path):
    """The command line of a command called from `tmp_path`/here; `{}` in an argument is `tmp_path`."""
    (tmp_path / "here").mkdir()
    (tmp_path / "w" / "shape").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)

    def show(*arguments, program="/anywhere/bin/gradus"):
        monkeypatch.setattr(sys, "argv", [program, *(text.format(tmp_path) for text in arguments)])
        return command_line()

    return show


def test_the_program_is_ours_or_one_of_the_projects_scripts(shown):
    assert shown("bench", "x") == "gradus bench x"
    for folder in ("benchmarks", "tools"):
        script = str(ROOT / folder / "some_script.py")
        assert shown("--n", "1", program=script) == f"python {folder}/some_script.py --n 1"
        assert shown(program=script) == f"python {folder}/some_script.py"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["{}/w/shape/hf", "--weights", "{}/w/shape"], "shape/hf --weights shape"),
        (["--peer", "openvino=" + sys.executable], "--peer openvino=PYTHON"),
        (["--output", "{}/here/results/x.json"], "--output results/x.json"),
        (["--output={}/w/x.json"], "--output=x.json"),
        (["w/shape", "--peer", "vllm=env/bin/python"], "w/shape --peer vllm=env/bin/python"),
        (["--base-url", "http://127.0.0.1:80/v1"], "--base-url http://127.0.0.1:80/v1"),
        (["--endpoint", "/v1/chat/completions"], "--endpoint /v1/chat/completions"),
        (["--title", "two words", "ttft:200"], "--title 'two words' ttft:200"),
    ],
)
def test_paths_of_this_machine_are_left_out_and_all_else_stays(shown, tmp_path, given, said):
    (tmp_path / "here" / "results").mkdir()
    assert shown(*given) == f"gradus {said}"


def test_variables_that_change_what_is_measured_are_part_of_it(shown, monkeypatch):
    monkeypatch.setenv("GRADUS_CPU", "avx2")
    assert shown("bench") == "GRADUS_CPU=avx2 gradus bench"


def test_the_commands_paths_are_shown_alike_wherever_they_are(shown, tmp_path):
    shown("{}/w/shape/hf", "--weights", "{}/w/shape")
    texts = {"a": [f"no {tmp_path}/w/shape/q4.gguf", 3], "b": (f"{tmp_path}/w/shape/hf",)}
    assert without_folders(texts) == {"a": ["no shape/q4.gguf", 3], "b": ["shape/hf"]}
