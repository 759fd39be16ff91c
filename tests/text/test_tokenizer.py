"""Files to a tokenizer: special tokens, beginning of a text, templates, and what broken files say."""

import json

import pytest
import transformers

from gradus.errors import CheckpointError, InvalidRequestError
from gradus.text.hf_tokenizer import load_tokenizer


def directory(path, tokenizer_json, config=None, **files):
    (path / "tokenizer.json").write_text(tokenizer_json)
    if config is not None:
        (path / "tokenizer_config.json").write_text(json.dumps(config))
    for name, text in files.items():
        (path / name.replace("__", ".")).write_text(text)
    return path


def test_ids_and_sizes(tmp_path, byte_level_text):
    config = {"eos_token": {"content": "<|im_end|>"}, "pad_token": "<|endoftext|>", "bos_token": None}
    tokenizer = load_tokenizer(directory(tmp_path, byte_level_text, config))
    assert tokenizer.eos_token_id == tokenizer.token_id("<|im_end|>") == 2
    assert tokenizer.pad_token_id == 0
    assert tokenizer.bos_token_id is None
    assert tokenizer.vocab_size == 422  # 420, and two added tokens
    assert tokenizer.special_ids == {0, 1, 2}
    assert tokenizer.special_tokens == {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    assert not tokenizer.has_chat_template


def test_names_of_special_tokens_in_a_text_are_those_tokens_and_left_out_of_text(byte_level):
    ids = byte_level.encode("<|im_start|>Hi<|im_end|>")
    assert ids[0] == 1
    assert ids[-1] == 2
    assert byte_level.decode(ids) == "Hi"
    assert byte_level.decode(ids, skip_special_tokens=False) == "<|im_start|>Hi<|im_end|>"
    assert byte_level.token_text(2) == "<|im_end|>"
    assert byte_level.token_bytes(byte_level.encode("龘")[0]) == "龘".encode()[:1]


def with_beginning(byte_level_text):
    """The same tokenizer with a post-processor that puts token 0 in front."""
    built = json.loads(byte_level_text)
    built["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
        ],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<|endoftext|>": {"id": "<|endoftext|>", "ids": [0], "tokens": ["<|endoftext|>"]}},
    }
    return json.dumps(built)


@pytest.mark.parametrize("config", [{}, {"bos_token": "<|im_start|>", "add_bos_token": False}])
def test_the_post_processor_decides_on_the_beginning_of_a_text(tmp_path, byte_level_text, config):
    tokenizer = load_tokenizer(directory(tmp_path, with_beginning(byte_level_text), config))
    plain = tokenizer.encode("Hi", add_special_tokens=False)
    assert tokenizer.encode("Hi") == [0, *plain]
    assert 0 not in plain


def test_truncation_and_padding_of_the_file_are_off(tmp_path, byte_level_text):
    built = json.loads(byte_level_text)
    built["truncation"] = {"max_length": 4, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
    built["padding"] = {
        "strategy": {"Fixed": 64},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "<|endoftext|>",
    }
    tokenizer = load_tokenizer(directory(tmp_path, json.dumps(built)))
    assert tokenizer.decode(tokenizer.encode("a text of some length")) == "a text of some length"
    assert 0 not in tokenizer.encode("ab")


def test_a_token_is_special_where_only_the_configuration_says_so(tmp_path, byte_level_text):
    built = json.loads(byte_level_text)
    for token in built["added_tokens"]:
        token["special"] = False
    tokenizer = load_tokenizer(directory(tmp_path, json.dumps(built), {"eos_token": "<|im_end|>"}))
    assert tokenizer.special_ids == {2}
    absent = load_tokenizer(directory(tmp_path, byte_level_text, {"eos_token": "<|absent|>"}))
    assert absent.eos_token_id is None
    assert absent.vocab_size == 422


@pytest.mark.parametrize(
    ("config", "files", "expected"),
    [
        ({"chat_template": "A"}, {}, "A"),
        ({"chat_template": "A"}, {"chat_template__jinja": "B"}, "B"),
        (
            {"chat_template": [{"name": "tool_use", "template": "T"}, {"name": "default", "template": "D"}]},
            {},
            "D",
        ),
        ({}, {"chat_template__json": '{"chat_template": "C"}'}, "C"),
        ({}, {}, None),
    ],
)
def test_where_the_chat_template_comes_from(tmp_path, byte_level_text, config, files, expected):
    tokenizer = load_tokenizer(directory(tmp_path, byte_level_text, config, **files))
    assert tokenizer.chat_template == expected
    assert tokenizer.has_chat_template is (expected is not None)


def test_missing_and_broken_files_say_so(tmp_path, byte_level_text):
    with pytest.raises(CheckpointError, match=r"no tokenizer\.json"):
        load_tokenizer(tmp_path)
    broken = load_tokenizer(directory(tmp_path, "{"))
    with pytest.raises(CheckpointError, match=r"tokenizer\.json is not a tokenizer"):
        broken.load()
    directory(tmp_path, byte_level_text, tokenizer_config__json="[]")
    with pytest.raises(CheckpointError, match="holds a list"):
        load_tokenizer(tmp_path)
    directory(tmp_path, byte_level_text, tokenizer_config__json="{,}")
    with pytest.raises(CheckpointError, match="is not JSON"):
        load_tokenizer(tmp_path)
    directory(tmp_path, byte_level_text, {"chat_template": 3})
    with pytest.raises(CheckpointError, match="chat template"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_bytes(b"\xff\xfe")
    (tmp_path / "tokenizer_config.json").unlink()
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_tokenizer(tmp_path).load()


def test_loading_in_a_thread_ends_as_loading_does(tmp_path, byte_level_text):
    good = load_tokenizer(directory(tmp_path, byte_level_text))
    good.start_loading()
    good.load()
    assert good.decode(good.encode("Hi")) == "Hi"
    broken = load_tokenizer(directory(tmp_path, "{"))
    broken.start_loading()
    with pytest.raises(CheckpointError, match="is not a tokenizer"):
        broken.load()


def test_an_unpaired_surrogate_is_refused(byte_level):
    with pytest.raises(InvalidRequestError, match=r"U\+D800, at index 1"):
        byte_level.encode("a\ud800")


def test_transformers_agrees_on_beginning_of_sequence_and_text(tmp_path, sentencepiece_text, byte_level_text):
    cases = [
        (sentencepiece_text, {"bos_token": "<s>", "eos_token": "</s>", "add_bos_token": True}),
        (byte_level_text, {"eos_token": "<|im_end|>", "add_bos_token": False}),
        (byte_level_text, {"eos_token": "<|im_end|>"}),
        (with_beginning(byte_level_text), {"bos_token": "<|im_start|>", "add_bos_token": True}),
    ]
    for i, (text, config) in enumerate(cases):
        path = tmp_path / str(i)
        path.mkdir()
        directory(path, text, config | {"tokenizer_class": "PreTrainedTokenizerFast"})
        theirs = transformers.AutoTokenizer.from_pretrained(path)
        ours = load_tokenizer(path)
        for prompt in ["Hello, world!", " 你好 ", "a<|im_end|>b", "👩‍👩‍👧‍👦"]:
            for add in (True, False):
                ids = ours.encode(prompt, add)
                assert ids == theirs.encode(prompt, add_special_tokens=add)
                assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True)
