"""A tokenizer that stands in for a larger one: every id has text, and texts are read as before."""

import pytest

from gradus.models.sources import DEMO_DIRECTORY
from gradus.text.detokenizer import Detokenizer
from gradus.text.hf_tokenizer import load_tokenizer
from gradus.text.stand_in import StandInEncoder


@pytest.fixture(scope="module")
def demo():
    return load_tokenizer(DEMO_DIRECTORY)


@pytest.fixture(scope="module")
def stand_in(demo):
    return demo.over(StandInEncoder)


def test_ids_beyond_the_vocabulary_have_text_of_their_own(stand_in):
    unknown = range(stand_in.vocab_size, stand_in.vocab_size + 5000)
    detokenizer = Detokenizer(stand_in)
    deltas = [detokenizer.push([token_id]) for token_id in unknown]
    assert all(deltas)
    assert "�" not in "".join(deltas)
    assert "".join(deltas) == stand_in.decode(unknown)
    assert len(set(deltas)) > 1000


def test_what_the_vocabulary_knows_stays_as_it_is(demo, stand_in):
    text = "Hello, world! ä 中 <|im_end|>"
    assert stand_in.encode(text) == demo.encode(text)
    known = range(demo.vocab_size)
    assert [stand_in.token_bytes(i) for i in known] == [demo.token_bytes(i) for i in known]
    assert stand_in.vocab_size == demo.vocab_size
    assert stand_in.special_ids == demo.special_ids
    assert stand_in.eos_token_id == demo.eos_token_id
    assert stand_in.chat_template == demo.chat_template
