"""GGUF files from end to end: transformers and llama.cpp are the oracles of what they compute.

The files are made by `gradus convert`; their k-quants also by llama.cpp's own quantizer.
"""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from gradus import LLM, SamplingParams
from gradus.backends.registry import backend_class
from gradus.export import gguf as export
from gradus.export.gguf_recipe import FILE_TYPES, FileType
from gradus.models.sources import resolve_model
from gradus.text.hf_tokenizer import load_tokenizer
from tests import gate
from tests.backend_driver import BackendDriver
from tests.llama_cpp import llama_cpp, quantize

OPTIONS = replace(gate.OPTIONS, max_model_len=512, num_blocks=64, num_threads=1)
SHAPE = {
    "vocab_size": 450,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 32,
}
LINEAR = {"rope_type": "linear", "rope_theta": 50000.0, "factor": 2.5}
FAMILIES = {
    "qwen3": ("Qwen3", {"head_dim": 32, "tie_word_embeddings": True}),
    "qwen3-untied": ("Qwen3", {"head_dim": 24}),
    "qwen2": ("Qwen2", {"tie_word_embeddings": True}),
    "qwen2-yarn": ("Qwen2", {"rope_parameters": YARN}),
    "llama-linear": ("Llama", {"rope_parameters": LINEAR}),
    "llama": ("Llama", {"attention_bias": True, "mlp_bias": True}),
    "llama3": ("Llama", {"rope_parameters": LLAMA3, "head_dim": 32, "tie_word_embeddings": True}),
    "mistral": ("Mistral", {"sliding_window": 9}),
}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Matrices this small are multiplied in less time than threads take to meet."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=FAMILIES)
def converted(request, tmp_path_factory, tiny_model_path) -> gate.Model:
    """A random model as a GGUF file, with transformers' as its oracle."""
    family, shape = FAMILIES[request.param]
    directory = tmp_path_factory.mktemp(request.param)
    model = gate.make_model(directory, family=family, **(SHAPE | shape))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny_model_path / name, directory)
    path = directory / "model.gguf"
    export.export_gguf(resolve_model(str(directory)), path, "f32")
    return gate.Model(path, model.oracle)


@pytest.mark.parametrize("backend", ["torch", "native"])
def test_a_converted_model_computes_what_transformers_computes(converted, backend):
    gate.check(gate.run(converted, backend, OPTIONS, lengths=(1, 17, 40, 129), num_tokens=16))


def test_llama_cpp_computes_a_converted_model_s_logits_and_tokens(converted):
    source = resolve_model(str(converted.directory))
    lengths = (1, 17, 40, 129)
    if source.config.windows:  # which llama.cpp ignores
        lengths = (1, 5)
    prompts = gate.make_prompts(source.config.vocab_size, lengths)
    ours = generate(source, prompts, 4)
    with llama_cpp(converted.directory) as server:
        for prompt, generation in zip(prompts, ours, strict=True):
            found = server.logprobs(prompt, source.config.vocab_size)
            theirs = np.array([found[token_id] for token_id in range(source.config.vocab_size)])
            np.testing.assert_allclose(log_softmax(generation.logits[0]), theirs, atol=1e-4)
            expected = server.generate_ids(prompt, 4)
            assert generation.token_ids[: len(expected)] == expected  # it stops at ends


def test_a_wrong_order_of_rows_would_be_noticed(converted, monkeypatch):
    if resolve_model(str(converted.directory)).metadata["general.architecture"] != "llama":
        return
    monkeypatch.setattr("gradus.models.sources.interleaved_head_dim", lambda metadata, where: None)
    with pytest.raises(gate.GateError):
        gate.check(gate.run(converted, "torch", OPTIONS, lengths=(17,), num_tokens=4))


QUESTIONS = (
    "How much is 75 plus 88?",
    "From 32 to 122 in steps of 10.",
    "Tell me the month 5 months after February.",
    "How does continuous batching make a server faster?",
)
PROMPTS = [
    f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    for question in QUESTIONS
]
MOST_TOKENS = 40
PLAIN = ("f32", "f16", "bf16")
K_QUANTS = {"q2_k": FileType(10, "Q2_K", "Q6_K"), "q3_k": FileType(12, "Q3_K", "Q5_K", "Q4_K")}
ROUNDING = 0.05  # of logits by 8-bit activations, which llama.cpp has and the reference has not


@pytest.fixture(scope="module")
def demo():
    return resolve_model("demo")


@pytest.fixture(scope="module")
def tokenizer(demo):
    return load_tokenizer(demo.tokenizer_path)


def generate(source, prompts, num_tokens, backend="torch"):
    """Greedy tokens and logits."""
    backend = backend_class(backend)(source.config, source.checkpoint, replace(OPTIONS, weight_dtype="f32"))
    return BackendDriver(backend, max_num_batched_tokens=512).generate(prompts, num_tokens)


def log_softmax(logits):
    return torch.from_numpy(logits).double().log_softmax(-1).numpy()


@pytest.fixture(scope="module")
def exact(demo, tokenizer):
    """Logarithms of the demo model's probabilities after the first prompt, and which tokens count."""
    values = log_softmax(generate(demo, [tokenizer.encode(PROMPTS[0])], 1)[0].logits[0])
    return values, values.argsort()[-500:]


def check_logits(path, prompt, exact):
    """llama.cpp and the reference are closer to each other than quantization moved llama.cpp."""
    values, counted = exact
    with llama_cpp(path) as server:
        found = server.logprobs(prompt, len(values))
    theirs = np.array([found[token_id] for token_id in range(len(values))])
    ours = log_softmax(generate(resolve_model(str(path)), [prompt], 1)[0].logits[0])

    def distance(a, b):
        return np.sqrt(np.mean((a - b)[counted] ** 2))

    assert distance(ours, theirs) < max(ROUNDING, 0.75 * distance(theirs, values))
    return distance(theirs, values)


@pytest.mark.parametrize("file_type", FILE_TYPES)
def test_llama_cpp_computes_the_same_from_our_files(file_type, demo, tokenizer, exact, tmp_path):
    path = tmp_path / "demo.gguf"
    export.export_gguf(demo, path, file_type)
    moved = check_logits(path, tokenizer.encode(PROMPTS[0]), exact)
    assert moved < (0.01 if file_type in PLAIN else 1.0)


@pytest.mark.parametrize("file_type", [*K_QUANTS, "q4_k_m"])
def test_files_by_llama_cpp_s_own_quantizer(file_type, demo, tokenizer, exact, tmp_path, monkeypatch):
    def encode(rows, type_name):
        return quantize(rows, type_name) if type_name.endswith("_K") else rows

    monkeypatch.setattr(export, "encode", encode)
    monkeypatch.setattr(export, "FILE_TYPES", FILE_TYPES | K_QUANTS)
    path = tmp_path / "demo.gguf"
    export.export_gguf(demo, path, file_type)
    check_logits(path, tokenizer.encode(PROMPTS[0]), exact)


@pytest.mark.parametrize("file_type", ["f32", "f16", "q8_0", "q4_k_m"])
def test_llama_cpp_says_the_same(file_type, demo, tokenizer, tmp_path):
    """Whole greedy texts, from text to text."""
    path = tmp_path / "demo.gguf"
    export.export_gguf(demo, path, file_type)
    source = resolve_model(str(path))
    prompts = [tokenizer.encode(prompt) for prompt in PROMPTS]
    with llama_cpp(path) as server:
        assert [server.tokenize(prompt) for prompt in PROMPTS] == prompts
        theirs = [server.generate(prompt, MOST_TOKENS) for prompt in PROMPTS]
    ours = generate(source, prompts, MOST_TOKENS, "native")
    for generation, text in zip(ours, theirs, strict=True):
        ends = [i for i, token in enumerate(generation.token_ids) if token in source.generation.eos_token_ids]
        assert tokenizer.decode(generation.token_ids[: (ends or [MOST_TOKENS])[0]]) == text


@pytest.mark.parametrize("file_type", ["f16", "q8_0", "q4_k_m"])
def test_from_text_to_text(file_type, demo, tmp_path):
    """A user's way: the tokenizer, the chat template and the ends are the file's own."""
    path = tmp_path / "demo.gguf"
    export.export_gguf(demo, path, file_type)
    with llama_cpp(path) as server:
        theirs = [server.chat(question, MOST_TOKENS) for question in QUESTIONS]
    with LLM(str(path), max_model_len=256, num_threads=1, activations="f32") as llm:
        prompts = [llm.chat_prompt([{"role": "user", "content": question}]) for question in QUESTIONS]
        outputs = llm.generate(prompts, SamplingParams(max_tokens=MOST_TOKENS, temperature=0))
    assert [output.outputs[0].text for output in outputs] == [text.strip() for text in theirs]


def test_plain_weights_of_a_file_can_be_quantized(demo, tmp_path):
    path = tmp_path / "demo.gguf"
    export.export_gguf(demo, path, "f16")
    params = SamplingParams(max_tokens=MOST_TOKENS, temperature=0)
    found = []
    for model in (str(path), "demo"):
        with LLM(model, quantization="int4", max_model_len=256, num_threads=1) as llm:
            found.append([output.outputs[0].token_ids for output in llm.generate(PROMPTS, params)])
    assert found[0] == found[1]
