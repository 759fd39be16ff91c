"""Hello, how are you, thank you and goodbye, put together from parts; unseen combinations are held out."""

from __future__ import annotations

import random

from .base import Sample, ask

NAMES = (
    "",
    " there",
    " Gradus",
    " model",
    " friend",
    " everyone",
    " my friend",
    " you",
    " robot",
    " assistant",
)
MARKS = (".", "!", "", "!!")
REPLIES = {
    "Hello! How can I help you?": (
        ("Hello", "Hi", "Hey", "Good morning", "Good evening", "Good afternoon", "Greetings", "Welcome"),
        (
            "",
            " It is nice to meet you",
            " I am new here",
            " I have a question",
            " Can you help me",
            " Are you there",
        ),
    ),
    "I am well, thank you. How can I help you?": (
        ("Hello", "Hi", "Hey", "Good morning", "Good evening", "Good afternoon", "Greetings"),
        (
            " How are you",
            " How is it going",
            " How do you do",
            " How are you today",
            " Are you well",
            " All well",
        ),
    ),
    "You are welcome!": (
        ("Thanks", "Thank you", "Many thanks", "Thanks a lot", "Thank you so much", "Thank you very much"),
        ("", " That was helpful", " That is great", " That is what I needed", " You helped me", " Well done"),
    ),
    "Goodbye! Have a nice day!": (
        ("Bye", "Goodbye", "Bye bye", "See you", "See you soon", "See you later", "Farewell", "Good night"),
        ("", " That is all", " I have to go", " I am leaving now", " Until tomorrow", " Have a nice day"),
    ),
}


def generate(rng: random.Random) -> Sample:
    reply = rng.choice(list(REPLIES))
    openings, tails = REPLIES[reply]
    opening, name, tail = rng.choice(openings), rng.choice(NAMES), rng.choice(tails)
    question = f"{opening}{name}{rng.choice(MARKS)}"
    if tail:
        question += ("" if question[-1] in ".!" else ",") + tail + rng.choice((".", "?", "!", ""))
    if rng.random() < 0.2:
        question = question.lower()
    # The words alone are the content: other punctuation does not make a greeting new.
    content = f"greeting:{opening}{name}{tail}".lower()
    return Sample(category="greetings", messages=ask(question, reply), contents=(content,))
