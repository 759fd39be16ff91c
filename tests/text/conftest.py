import pytest

from tests.text import toy_tokenizers


@pytest.fixture(scope="session")
def byte_level_text():
    return toy_tokenizers.byte_level_json()


@pytest.fixture(scope="session")
def sentencepiece_text():
    return toy_tokenizers.sentencepiece_json()


@pytest.fixture(scope="session")
def word_piece_text():
    return toy_tokenizers.word_piece_json()


@pytest.fixture(scope="session")
def byte_level(byte_level_text):
    return toy_tokenizers.toy_tokenizer(byte_level_text, eos_token="<|im_end|>", pad_token="<|endoftext|>")


@pytest.fixture(scope="session")
def sentencepiece(sentencepiece_text):
    return toy_tokenizers.toy_tokenizer(
        sentencepiece_text, bos_token="<s>", eos_token="</s>", add_bos_token=True
    )


@pytest.fixture(scope="session")
def word_piece(word_piece_text):
    return toy_tokenizers.toy_tokenizer(word_piece_text)
