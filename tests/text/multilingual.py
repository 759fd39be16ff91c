"""Texts in many scripts and shapes, for comparing tokenizers."""

import random

LINES = [
    "The quick brown fox jumps over the lazy dog; it's 12:30 and they'LL say: I'd've known, WE'RE here!",
    "大语言模型在处理器上运行。你好，世界！今天天气很好，我们去公园。",
    "繁體中文測試，日本語のテスト、ひらがなとカタカナ。한국어 문장입니다.",
    "مرحبا بالعالم، كيف حالك؟ ١٢٣٤٥ و ۶۷۸۹ — שלום עולם! नमस्ते दुनिया १२३ สวัสดีชาวโลก ๑๒๓ Здравствуй, мир № 7",
    "👩‍👩‍👧‍👦 family, 🏳️‍🌈 flag, 👍🏽 thumb, 🇩🇪🇫🇷 flags, 1️⃣ keycap, ☺️ ☺ ♥",
    'def f(x: int) -> str:\n    return f"{x!r:>10}"  # two  spaces\n',
    "\n\tif x != 0x1F and y[3] == {'a': 1e-5}:\r\n\t\tpass\n",
    "e\u0301 n\u0303 a\u030a\u0323 Z\u0351\u036b\u0343 ÅÅ ﬁ ½ ² Ⅷ ㊙ ℌ 𝔘𝔫𝔦 ẞß İıi",
    "1234567890 3.14159 1,000,000 2^10 50% $9.99 €5 £3 10²³ x₁₂ ½⅓ 007 v1.2.3-rc4+build",
    "   leading, trailing   \n\n\n  lines \t\t tabs ",
    "no\u00a0break\u2003em\u3000ideographic\u200bzero\u2028line\u2029paragraph\x85next ",
    "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n</think>",
    "<s>a</s> <unk> <0x41> <|im_start|><|im_end|>",
    "a<|im_end|> b <think> c new token d user defined e [PAD1] <|endoftext|>",
    "''s 's 'S 'tis don't DON'T 'LL 've'VE 'm'M ' s ''re l'été ’s it’s",
    "---===+++***///\\\\\\||| (((a))) [[b]] {{c}} <<d>> ~~e~~ ^f^ `g` @h #i $$j %k &l ...!!!???",
    "\x00\x01\x7f\ufeff\ufffd control \x1b[0m end",
    "aaaaaaaaaaaaaaaaaaaaaaa bbbbbbb         c\n\n\n\n\n\n   \r\n \r \n d",
    "",
    " ",
    "\n",
    "▁ ▁▁ a▁b Ġ Ċ é",
]
_ALPHABETS = [
    "abcdefghij ",
    "  \n\t\r\u00a0\u3000",
    "0123456789.,١٢½²",
    "'’-_.,!?$+<=>^~|()#@\"\\",
    "'sStTlLdDmMvVrReE ",
    "你好世界大语言模型。，",
    "مرحباעשאנदुनिया",
    "éñüÅ\u0301\u0303\u0308ﬁßẞ",
    "👩👧🏳🏽\u200d\ufe0f🇩🇪☺",
    "▁Ġ\x00\x7f\u200b\u2028\x85\ufeff",
]


def texts(num_random: int, seed: int = 1) -> list[str]:
    """The lines, and random mixtures of their words and of characters."""
    source = random.Random(seed)
    words = [word for line in LINES for word in line.split(" ")]
    found = list(LINES)
    for _ in range(num_random):
        parts = []
        for _ in range(source.randint(1, 6)):
            if source.random() < 0.5:
                parts.append(" ".join(source.choices(words, k=source.randint(1, 4))))
            else:
                alphabet = source.choice(_ALPHABETS)
                parts.append("".join(source.choices(alphabet, k=source.randint(1, 8))))
        found.append("".join(parts))
    return found
