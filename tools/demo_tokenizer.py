"""The demo model's tokenizer: byte-level BPE with single digits, trained on the demo corpus.

Chinese characters are never merged with one another, so that a character means the same everywhere, and
emoji are left as four byte tokens each: whoever streams this model's answers must cope with characters
that arrive in pieces.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from demo_corpus import training_stream
from demo_corpus.template import CHAT_TEMPLATE, render_prompt
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

END_OF_TEXT, TURN_START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
SPECIAL = (END_OF_TEXT, TURN_START, TURN_END)
# Single ids too, but they stay in the text when special tokens are skipped: parsers look for them.
MARKERS = ("<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>")
# How Qwen's tokenizers cut text before merging; digits are single.
PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CHINESE = re.compile(r"([\u3000-\u303f\u4e00-\u9fff\uff00-\uffef])")
EMOJI = re.compile(r"[\u2600-\u27bf\u2b00-\u2bff\U00010000-\U0010ffff]")
MARKUP = re.compile("|".join(map(re.escape, SPECIAL + MARKERS)))


def _corpus(num_samples: int, seed: int) -> Iterator[str]:
    for sample in islice(training_stream(seed), num_samples):
        text = render_prompt(sample.messages[:-1], sample.tools, sample.thinking) + sample.answer
        yield CHINESE.sub(r"\n\1\n", EMOJI.sub("", MARKUP.sub("", text)))


def train_tokenizer(vocab_size: int, num_samples: int, seed: int) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(SPECIAL) - len(MARKERS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(num_samples, seed), trainer)
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIAL])
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in MARKERS])
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: Path, max_positions: int) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json` as Hugging Face libraries read them."""
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": TURN_END,
        "pad_token": END_OF_TEXT,
        "bos_token": None,
        "unk_token": None,
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": max_positions,
        "chat_template": CHAT_TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n")
