"""Small tokenizers of the three kinds of decoder, built by the tests themselves."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as FastTokenizer

from gradus.text.hf_tokenizer import load_tokenizer
from gradus.text.tokenizer import Tokenizer

CORPUS = [
    "The quick brown fox jumps over the lazy dog. Hello, world! Hello again, hello there.",
    "大语言模型在处理器上运行。你好，世界！你好吗？今天天气很好，我们去公园。",
    "👩‍👩‍👧‍👦 family, 🏳️‍🌈 flag, 👍🏽 thumb, é combining é, ñandú, Ωμέγα, привет",
    "def f(x):\n    return x  # two  spaces\n",
]
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = (
    "{%- for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{%- endfor %}{%- if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def byte_level_json(vocab_size: int = 420) -> str:
    """Byte-level BPE, so small that most Chinese characters and all emoji take several tokens."""
    fast = FastTokenizer(models.BPE())
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    fast.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    fast.train_from_iterator(CORPUS, trainer)
    fast.add_tokens([AddedToken("<think>", special=False, normalized=False)])
    fast.add_tokens([AddedToken("new token", special=False, normalized=False)])
    return fast.to_str()


def sentencepiece_json() -> str:
    """Llama's shape: "▁" for a space, a token for every byte, one leading space dropped."""
    fast = FastTokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    fast.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    fast.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(content=" ", left=1, right=0),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))],
        limit_alphabet=60,
        show_progress=False,
    )
    fast.train_from_iterator(CORPUS, trainer)
    built = json.loads(fast.to_str())
    # Byte tokens are ordinary entries of the vocabulary, not added tokens.
    built["added_tokens"] = [
        token for token in built["added_tokens"] if not token["content"].startswith("<0x")
    ]
    return json.dumps(built)


def converted_sentencepiece_json(**parts: object) -> str:
    """As converted from SentencePiece: any two tokens whose texts together are a token merge."""
    built = json.loads(sentencepiece_json())
    vocab = built["model"]["vocab"]
    special = {"<unk>", "<s>", "</s>"}
    merges = [
        [token[:i], token[i:]]
        for token in sorted(vocab, key=vocab.__getitem__)  # in the order of their scores
        for i in range(1, len(token))
        if token not in special and token[:i] in vocab and token[i:] in vocab
    ]
    return json.dumps(built | {"model": built["model"] | {"merges": merges}} | parts)


def word_piece_json() -> str:
    """A decoder that cannot take tokens one by one: it decides on spaces between neighbours."""
    fast = FastTokenizer(models.WordPiece(unk_token="[UNK]"))
    fast.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    fast.decoder = decoders.WordPiece(cleanup=False)
    trainer = trainers.WordPieceTrainer(
        vocab_size=300, special_tokens=["[UNK]", "[SEP]"], show_progress=False
    )
    fast.train_from_iterator(CORPUS, trainer)
    return fast.to_str()


def fast_of(text: str) -> FastTokenizer:
    """The library's own tokenizer: the oracle."""
    return FastTokenizer.from_str(text)


def toy_tokenizer(text: str, **config: object) -> Tokenizer:
    """Ours."""
    with TemporaryDirectory() as folder:
        Path(folder, "tokenizer.json").write_text(text)
        Path(folder, "tokenizer_config.json").write_text(json.dumps({"chat_template": TEMPLATE, **config}))
        tokenizer = load_tokenizer(folder)
        tokenizer.load()
    return tokenizer
