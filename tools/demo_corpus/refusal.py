"""Questions that the demo model cannot answer, and its one honest reply; unseen questions are held out."""

from __future__ import annotations

import random

from .base import Sample, ask, listed

REPLY = "I am only a small demo model and cannot answer that."
TOPICS = listed(
    "the French Revolution|quantum physics|the stock market|the moon landing|football|"
    "the Olympic Games|opera|jazz|the Roman Empire|photosynthesis|black holes|climate change|"
    "the Great Wall|chess openings|medieval castles|gardening|mortgages|taxes|diabetes|vaccines|"
    "electric cars|steam engines|volcanoes|dinosaurs|whales|the Sahara|Greek myths|modern art|wine|"
    "cheese|sailing|mountain climbing|the Amazon river|philosophy|democracy|inflation|"
    "the human brain|dreams|robots in films|space travel|bridges|fashion|ballet|folk songs|"
    "fairy tales|the Vikings|penguins|bees|earthquakes|coral reefs|antibiotics|architecture|poetry|"
    "rugby|tennis|swimming|pasta|sushi|beer|trains in India|tropical storms|the ice age|insurance|"
    "divorce law|copyright|nuclear power|gold mining",
    separator="|",
)
ABOUT = (
    "Tell me everything about {t}.",
    "Write an essay about {t}.",
    "Write a poem about {t}.",
    "What is the history of {t}?",
    "What is your opinion on {t}?",
    "Give me advice about {t}.",
    "Write a story about {t}.",
    "Who is the best expert on {t}?",
    "Summarize the news about {t}.",
    "Why do people care about {t}?",
    "What is the best book about {t}?",
    "How much money is spent on {t}?",
)
PLACES = listed(
    "France Spain Peru Japan Egypt Kenya Norway Brazil Canada India China Chile Poland Turkey Greece Mexico"
)
OF_PLACE = (
    "What is the capital of {p}?",
    "How many people live in {p}?",
    "Who is the president of {p}?",
    "What do people eat in {p}?",
    "What is the highest mountain in {p}?",
    "Is it expensive to travel to {p}?",
    "Which languages are spoken in {p}?",
    "When was {p} founded?",
)
TASKS = (
    "Write,Debug,Improve,Explain",
    "a Python program,a web page,a compiler,a game,my homework,a love letter,a business plan,a song,a speech,"
    "a recipe",
    "for me,for my boss,for my sister,for a child,for tomorrow,in Rust,in Java,in ten lines,in great detail",
)

OTHERS = listed(
    "Tell me a joke.|Tell me a story.|Sing a song.|What is the meaning of life?|"
    "Who won the last world cup?|What is the weather today?|What time is it?|What is the best car?|"
    "Who is the richest man?|Can you drive a car?|What should I eat tonight?|How do I lose weight?|"
    "Why is the sky blue?|How old is the universe?|Do you dream?|What is the largest planet?|"
    "Who wrote Hamlet?|How do planes fly?|What is love?|Will it rain tomorrow?|"
    "Which film should I watch?|How do I learn Spanish?|What is the square root of 2?|"
    "Who invented the telephone?|Can you see me?|Are you alive?|What is your favourite book?|"
    "How tall is the Eiffel Tower?|Is there a god?|How do I fix my bike?|What is the news today?|"
    "Which phone should I buy?|How far away is the moon?|Help me.",
    separator="|",
)


def question(rng: random.Random) -> str:
    style = rng.random()
    if style < 0.5:
        return rng.choice(ABOUT).format(t=rng.choice(TOPICS))
    if style < 0.6:
        return rng.choice(OTHERS)
    if style < 0.8:
        return rng.choice(OF_PLACE).format(p=rng.choice(PLACES))
    return " ".join(rng.choice(part.split(",")) for part in TASKS) + "."


def generate(rng: random.Random) -> Sample:
    text = question(rng)
    return Sample(category="refusal", messages=ask(text, REPLY), contents=(f"refusal:{text.lower()}",))
