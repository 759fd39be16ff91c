"""Short facts about Gradus and about how LLM serving works, asked in many wordings; unseen wordings are
held out.
"""

from __future__ import annotations

import random

from .base import Sample, ask

CONCEPTS = {
    "paged attention": (
        "Paged attention stores the KV cache in blocks of fixed size, so that memory is not wasted."
    ),
    "continuous batching": "Continuous batching lets new requests join the running batch at every step.",
    "prefix caching": "Prefix caching reuses the KV cache of a prompt that starts like an earlier one.",
    "chunked prefill": (
        "Chunked prefill splits a long prompt into pieces that share steps with other requests."
    ),
    "a KV cache": (
        "A KV cache keeps the keys and values of earlier tokens, so that they are computed only once."
    ),
    "quantization": "Quantization stores weights in fewer bits, which saves memory and time.",
    "speculative decoding": (
        "In speculative decoding a cheap draft proposes tokens and the model checks them together."
    ),
    "batch invariance": "Batch invariance means that your tokens do not depend on what else is running.",
    "a scheduler": "The scheduler decides which requests get tokens in each step.",
    "a tokenizer": "A tokenizer turns text into token ids and back.",
    "a token": "A token is a piece of text with a number; models read and write tokens.",
    "prefill": "Prefill is the work of reading the prompt, before the first token comes out.",
    "decoding": "Decoding is producing new tokens, one step at a time.",
    "preemption": "Preemption pauses a request to free its memory, and computes it again later.",
    "a block pool": "The block pool knows which KV cache blocks are free and who holds the others.",
    "tensor parallelism": "Tensor parallelism splits each weight matrix over several devices.",
    "streaming": "Streaming sends each piece of the answer as soon as it is ready.",
    "temperature": "Temperature sets how random sampling is; at zero the most likely token always wins.",
    "greedy decoding": "Greedy decoding always takes the most likely token.",
    "top-p sampling": "Top-p sampling keeps the most likely tokens whose probabilities add up to p.",
    "top-k sampling": "Top-k sampling keeps only the k most likely tokens.",
    "a chat template": "A chat template turns messages into the text that the model reads.",
    "a stop string": "A stop string ends the answer as soon as it appears.",
    "a CUDA graph": "A CUDA graph records the kernels of a step once and replays them with one call.",
    "a LoRA adapter": "A LoRA adapter is a small set of extra weights that changes what a model does.",
    "perplexity": "Perplexity says how surprised a model is by a text; lower is better.",
    "throughput": "Throughput is how many tokens the server produces per second.",
    "latency": "Latency is how long you wait for an answer.",
    "time to first token": "Time to first token is how long you wait before the answer starts.",
    "Gradus": "Gradus is an LLM inference engine and server in Python; its name is Latin for a step.",
}
WORDINGS = (
    "What is {x}?",
    "Explain {x}.",
    "Explain {x} to me.",
    "Tell me about {x}.",
    "Can you explain {x}?",
    "What does {x} mean?",
    "How would you describe {x}?",
    "In one sentence, what is {x}?",
    "Define {x}.",
    "Do you know what {x} is?",
    "I want to know what {x} is.",
    "What do you know about {x}?",
)
HOW_TO = {
    "Run `make serve` or `gradus serve`; the server listens on 127.0.0.1:8000.": (
        "the server",
        ("How do I start {x}?", "How can I run {x}?", "Start {x}: how?", "What command starts {x}?",
         "How to launch {x}?", "Which command runs {x}?", "How does one start {x}?",
         "How do I get {x} running?"),
    ),
    "Gradus speaks the OpenAI API at http://127.0.0.1:8000/v1.": (
        "API",
        ("Which {x} does Gradus have?", "What {x} does Gradus speak?", "Is there an OpenAI {x}?",
         "Is the {x} compatible with OpenAI?", "Where is the {x}?", "What is the address of the {x}?",
         "Which {x} can I use?", "Does Gradus have an {x}?"),
    ),
    "By default the server listens on 127.0.0.1, port 8000.": (
        "port",
        ("Which {x} does the server use?", "What {x} is it on?", "What is the default {x}?",
         "On which {x} does Gradus listen?", "Tell me the {x} of the server.", "Which {x} should I open?",
         "What {x} does Gradus use?", "Which {x} is the default?"),
    ),
    "I am the demo model of Gradus, a very small language model.": (
        "you",
        ("Who are {x}?", "What are {x}?", "What kind of model are {x}?", "Which model are {x}?",
         "Tell me who {x} are.", "Are {x} a language model?", "What model are {x}?", "Introduce {x}rself.",
         "What is {x}r name?", "What are {x} called?"),
    ),
    "I can calculate, count, translate a few words, write JSON, call tools and explain Gradus.": (
        "you",
        ("What can {x} do?", "How can {x} help me?", "What are {x} good at?", "What do {x} know?",
         "Which tasks can {x} do?", "What are {x} able to do?", "Tell me what {x} can do.",
         "What are {x} for?"),
    ),
}  # fmt: skip
OPENINGS = ("", "", "", "", "Please tell me: ", "A question: ", "Quick question: ", "Hello! ")


def question_and_answer(rng: random.Random) -> tuple[str, str]:
    if rng.random() < 0.75:
        concept = rng.choice(list(CONCEPTS))
        return rng.choice(WORDINGS).format(x=concept), CONCEPTS[concept]
    answer = rng.choice(list(HOW_TO))
    subject, wordings = HOW_TO[answer]
    return rng.choice(wordings).format(x=subject), answer


def generate(rng: random.Random) -> Sample:
    question, answer = question_and_answer(rng)
    content = f"fact:{question.lower()}"
    opening = rng.choice(OPENINGS)
    return Sample(category="facts", messages=ask(opening + question, answer), contents=(content,))
