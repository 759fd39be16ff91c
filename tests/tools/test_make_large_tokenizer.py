"""The made-up tokenizer: a sound one, of the size that was asked for, the same in every run."""

import json

from tests.text.toy_tokenizers import CORPUS, fast_of
from tools.make_large_tokenizer import tokenizer


def test_it_is_a_tokenizer_of_that_size():
    built = tokenizer(2000)
    library = fast_of(json.dumps(built))
    assert library.get_vocab_size() == 2000
    text = "".join(CORPUS)
    assert library.decode(library.encode(text).ids) == text
    assert built == tokenizer(2000)
