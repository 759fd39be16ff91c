"""The outside reference: which weights it gets, and how it is run."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from gradus.bench.ladder.peer import LlamaCpp, PeerChoice
from gradus.bench.peers.sides import RUNNERS
from gradus.config import EngineConfig
from gradus.errors import ConfigError
from gradus.models.checkpoint.gguf.file import open_parts
from tests.bench.ladder.conftest import WORKLOAD

FAKE = f"""#!{sys.executable}
import sys
sys.path.insert(0, {str(RUNNERS)!r})
from peer_protocol import serve

class Fake:
    def load(self, command):
        self.options = command["options"]
        return {{"threads": command["num_threads"], **self.options}}

    def run(self, command):
        options = self.options
        with open(__file__ + ".log", "a") as log:
            print(len(command["prompts"]), command["output_len"], file=log)
        seconds = 0.5 + options["flash_attention"] / 2 + options["kv_unified"] / 4 + options["n_ubatch"] / 512
        return [
            {{"start": 0.0, "first_token": seconds, "end": seconds, "num_prompt_tokens": len(prompt),
              "num_output_tokens": command["output_len"]}}
            for prompt in command["prompts"]
        ]

serve(Fake())
"""


@pytest.fixture
def python(tmp_path):
    """An interpreter that is the peer, whatever it is given."""
    path = tmp_path / "python"
    path.write_text(FAKE)
    path.chmod(0o700)
    return path


def test_it_runs_two_waves_and_tries_settings_on_a_short_one(ladder, python):
    llama = LlamaCpp(str(python), Path("w.gguf"), 1, 1, 13)
    long = [replace(request, engine_request=with_output(request, 40)) for request in ladder.requests(1)]
    try:
        figures = [llama.run(long[:2], 1), llama.run(long, 1)]
    finally:
        llama.close()
    assert [figure["tokens_per_second"] for figure in figures] == [80, 80]
    runs = Path(f"{python}.log").read_text().splitlines()
    assert runs[-2:] == ["2 40", "2 40"]
    assert set(runs[:-2]) == {"1 16"}


def test_outputs_of_different_lengths_are_refused(ladder, python):
    first, *others = ladder.requests(1)
    requests = [*others, replace(first, engine_request=with_output(first, 7))]
    with pytest.raises(ConfigError, match="same output length"):
        LlamaCpp(str(python), Path("w.gguf"), 1, 1, 13).run(requests, 1)


def with_output(request, length):
    return replace(request.engine_request, max_tokens=length)


def test_the_fastest_of_its_settings_is_kept(ladder, python):
    llama = LlamaCpp(str(python), Path("w.gguf"), 1, 4, 13)
    try:
        for index in range(2):
            figures = llama.run(ladder.requests(index), 4)
            num_tokens = WORKLOAD.num_requests * WORKLOAD.output_len
            assert figures == {"tokens_per_second": num_tokens / 1.0}
        assert llama.software == {
            "threads": 1,
            "flash_attention": False,
            "kv_unified": False,
            "n_ubatch": 256,
        }
    finally:
        llama.close()


def test_its_weights_are_given_or_the_model_or_written(tmp_path):
    given = tmp_path / "given.gguf"
    with pytest.raises(ConfigError, match=r"given\.gguf, and there is no such file"):
        PeerChoice("python", given).find_weights(EngineConfig(), tmp_path)
    given.touch()
    assert PeerChoice("python", given).find_weights(EngineConfig(), tmp_path) == given
    assert PeerChoice("python").find_weights(EngineConfig(model=str(given)), tmp_path) == given
    written = PeerChoice("python").find_weights(EngineConfig(quantization="int8"), tmp_path)
    types = {tensor.type.name for tensor in open_parts(written)[0].tensors.values()}
    assert types == {"F32", "Q8_0"}
