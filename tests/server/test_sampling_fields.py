"""Every sampling field reaches the sampler from both endpoints, and shows in the answer where it should."""

import numpy as np
import pytest

from tests.server.harness import EOS, say, serving

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
BODIES = {CHAT: {"messages": [{"role": "user", "content": "Hi"}]}, COMPLETIONS: {"prompt": "Hi there"}}
BOTH = pytest.mark.parametrize("path", [CHAT, COMPLETIONS])


@pytest.fixture(scope="module")
def server():
    with serving(say("It is fine, thank you.")) as running:
        yield running


def post(server, path, **fields):
    response = server.post(path, {**BODIES[path], "max_tokens": 3, **fields})
    assert response.status_code == 200, response.text
    return response.json()


def text_of(answer):
    choice = answer["choices"][0]
    return choice["text"] if "text" in choice else choice["message"]["content"]


@BOTH
@pytest.mark.parametrize(
    ("field", "value"), [("temperature", 0.5), ("top_p", 0.25), ("top_k", 7), ("min_p", 0.125), ("seed", -5)]
)
def test_fields_of_every_row_reach_the_sampler(server, path, field, value):
    post(server, path, **{field: value})
    assert getattr(server.backend.last_sampling, field).tolist() == [value]
    assert server.backend.last_sampling.edits is None


@BOTH
@pytest.mark.parametrize("field", ["presence_penalty", "frequency_penalty", "repetition_penalty"])
def test_penalties_reach_the_sampler_with_what_was_seen(server, path, field):
    post(server, path, **{field: 1.5})
    edits = server.backend.last_sampling.edits
    assert getattr(edits, field).tolist() == [1.5]
    assert edits.seen_counts.sum() == 2  # before the third token


@BOTH
def test_biases_masks_and_bans_reach_the_sampler(server, path):
    post(
        server,
        path,
        logit_bias={"5": 2, "9": -100},
        allowed_token_ids=[5, 6, 40],
        bad_words=["x"],
        min_tokens=3,
        stop_token_ids=[77],
    )
    edits = server.backend.last_sampling.edits
    word = server.tokenizer.encode("x")[0]
    biases = list(zip(edits.bias_ids.tolist(), edits.biases.tolist(), strict=True))
    assert biases[:2] == [(5, 2.0), (9, -100.0)]
    assert {token for token, bias in biases if bias == -np.inf} >= {word, 77, EOS}
    bits = np.unpackbits(edits.masks[edits.mask_index[0]].view(np.uint8), bitorder="little")
    assert np.flatnonzero(bits).tolist() == [5, 6, 40]


@BOTH
def test_text_fields_show_in_the_text(server, path):
    assert text_of(post(server, path, max_tokens=30, stop="fine")) == "It is "
    shown = post(server, path, max_tokens=30, stop="fine", include_stop_str_in_output=True)
    assert text_of(shown) == "It is fine"
    assert shown["choices"][0]["stop_reason"] == "fine"
    late = post(server, path, max_tokens=30, stop=["It", "you"], min_tokens=4)
    assert late["choices"][0]["stop_reason"] == "you"
    special = server.tokenizer.token_text(EOS)
    whole = post(
        server,
        path,
        max_tokens=30,
        skip_special_tokens=False,
        ignore_eos=False,
        include_stop_str_in_output=True,
    )
    assert text_of(whole) == "It is fine, thank you." + special


@BOTH
def test_prompt_logprobs_come_in_vllms_shape(server, path):
    answer = post(server, path, prompt_logprobs=2)
    holder = answer if path == CHAT else answer["choices"][0]
    first, *others = holder["prompt_logprobs"]
    assert first is None
    assert len(others) + 1 == answer["usage"]["prompt_tokens"]
    for position in others:
        for token_id, entry in position.items():
            assert set(entry) == {"logprob", "rank", "decoded_token"}
            assert entry["decoded_token"] == server.tokenizer.token_text(int(token_id))
    assert "prompt_logprobs" not in (post(server, path) if path == CHAT else post(server, path)["choices"][0])


@BOTH
def test_prompt_logprobs_are_refused_in_streams(server, path):
    response = server.post(path, {**BODIES[path], "prompt_logprobs": 1, "stream": True})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "prompt_logprobs"


@BOTH
def test_the_models_recommendations_hold_where_a_request_does_not_say(path):
    defaults = {"temperature": 0.25, "top_k": 9, "min_p": 0.5, "repetition_penalty": 1.25}
    with serving(say("fine"), sampling_defaults=defaults) as server:
        post(server, path)
        sampling = server.backend.last_sampling
        assert (sampling.temperature[0], sampling.top_k[0], sampling.min_p[0]) == (0.25, 9, 0.5)
        assert sampling.edits.repetition_penalty[0] == 1.25
        post(server, path, temperature=1, top_k=0, repetition_penalty=1.0, min_p=None)
        sampling = server.backend.last_sampling
        assert (sampling.temperature[0], sampling.top_k[0], sampling.min_p[0]) == (1.0, 0, 0.5)
        assert sampling.edits is None
