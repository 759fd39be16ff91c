"""Answers in Chinese and in emoji, so that streaming characters of several tokens is real work."""

from __future__ import annotations

import random

from .arithmetic import problem
from .base import Sample, ask

EMOJI = {
    "cat": "🐱", "dog": "🐶", "horse": "🐴", "cow": "🐮", "mouse": "🐭",
    "rabbit": "🐰", "apple": "🍎", "bread": "🍞",
    "fish": "🐟", "egg": "🥚", "book": "📕", "house": "🏠", "car": "🚗",
    "flower": "🌸", "tree": "🌳", "star": "⭐",
    "key": "🔑", "boat": "⛵", "hat": "🎩", "heart": "💙",
}  # fmt: skip
DIGITS = "零一二三四五六七八九"
DRAW = ("Draw {n} {w}s.", "Show me {n} {w}s.", "Give me {n} {w}s as emoji.", "{n} {w} emoji, please.")
COUNT = ("How many? {row}", "Count these: {row}", "How many are there: {row}")
GREET = ("你好", "早上好", "晚上好", "您好", "大家好", "下午好", "嗨")
TAILS = ("", "，你是谁", "，你能做什么", "，很高兴认识你", "，你好吗", "，谢谢你", "，再见")
REPLIES = {
    "": "你好！我能帮你什么？",
    "，你是谁": "我是 Gradus 的演示模型。",
    "，你能做什么": "我会计算、数数和翻译。",
    "，很高兴认识你": "我也很高兴认识你！",
    "，你好吗": "我很好，谢谢！",
    "，谢谢你": "不客气！",
    "，再见": "再见！",
}


def chinese_number(n: int) -> str:
    """0 to 99 in Chinese numerals."""
    tens, ones = divmod(n, 10)
    if tens == 0:
        return DIGITS[ones]
    return ("" if tens == 1 else DIGITS[tens]) + "十" + (DIGITS[ones] if ones else "")


def draw(rng: random.Random) -> Sample:
    word, n = rng.choice(list(EMOJI)), rng.randint(1, 10)
    question = rng.choice(DRAW).format(n=n, w=word)
    return _sample(question, EMOJI[word] * n, (f"draw:{word},{n}",))


def count(rng: random.Random) -> Sample:
    word, n = rng.choice(list(EMOJI)), rng.randint(1, 8)
    question = rng.choice(COUNT).format(row=EMOJI[word] * n)
    return _sample(question, f"{EMOJI[word]} × {n}", (f"emoji_count:{word},{n}",))


def chinese_count(rng: random.Random) -> Sample:
    start = rng.randint(0, 80)
    stop = start + rng.randint(2, 9)
    numbers = [chinese_number(n) for n in range(start, stop + 1)]
    question = rng.choice(("从{a}数到{b}。", "请从{a}数到{b}。", "用中文从{a}数到{b}。"))
    row = "、".join(numbers) + "。"
    return _sample(question.format(a=numbers[0], b=numbers[-1]), row, (f"chinese_count:{start},{stop}",))


def chinese_sum(rng: random.Random) -> Sample:
    item = problem(rng, "+-")
    operator = "加" if item.operator == "+" else "减"
    text = rng.choice((f"{item.left}{operator}{item.right}", f"{item.left} {item.operator} {item.right}"))
    question = rng.choice(("{e}等于多少？", "{e}是多少？", "请计算：{e}")).format(e=text)
    return _sample(question, f"{item.equation}。", item.content)


def chinese_greeting(rng: random.Random) -> Sample:
    opening, tail = rng.choice(GREET), rng.choice(TAILS)
    content = f"greeting:{opening}{tail}"
    mark = rng.choice("？?" if tail in ("，你是谁", "，你能做什么", "，你好吗") else "！。")
    return _sample(opening + tail + mark, REPLIES[tail], (content,))


def _sample(question: str, answer: str, contents: tuple[str, ...]) -> Sample:
    return Sample(category="unicode", messages=ask(question, answer), contents=contents)


def generate(rng: random.Random) -> Sample:
    return rng.choice((draw, draw, count, chinese_count, chinese_sum, chinese_greeting))(rng)
