"""A real server on a free port, over the real engine and a scripted backend."""

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import openai

from gradus.config import EngineConfig, SchedulerConfig
from gradus.engine.async_engine import AsyncEngine
from gradus.engine.core import EngineCore
from gradus.runtime import load_runtime
from gradus.server.http.server import HttpServer
from gradus.server.run import base_url, bind
from gradus.server.service import Service
from gradus.server.settings import ServerSettings
from gradus.text.input_processor import InputProcessor
from gradus.text.tokenizer import Tokenizer
from tests.server.scripted_backend import ScriptedBackend
from tests.text.toy_tokenizers import byte_level_json, toy_tokenizer

MODEL = "toy"
EOS = 2
VOCAB_SIZE = 430  # the tokenizer knows 422: a model may have rows that no token uses


@dataclass
class Running:
    """A server under test."""

    url: str
    backend: ScriptedBackend
    engine: AsyncEngine
    tokenizer: Tokenizer
    server: HttpServer
    http: httpx.Client

    def client(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0, timeout=60)

    def post(self, path: str, body=None, **options) -> httpx.Response:
        return self.http.post(path, json=body, **options)

    def wait_until_idle(self, seconds: float = 5.0) -> float:
        """Seconds until nothing runs or waits in the engine."""
        start = time.monotonic()
        while time.monotonic() - start < seconds:
            stats = self.engine.stats()
            if stats.num_running == 0 and stats.num_waiting == 0:
                return time.monotonic() - start
            time.sleep(0.005)
        raise AssertionError(f"still at work: {self.engine.stats()}")


def toy_service(
    next_token,
    *,
    max_model_len=1024,
    delay=0.0,
    max_queued_requests=1024,
    sampling_defaults=None,
    num_blocks=512,
    settings=None,
    tokenizer=None,
    reply_format=None,
):
    """A service whose model says what `next_token` says."""
    tokenizer = tokenizer or toy_tokenizer(
        byte_level_json(), eos_token="<|im_end|>", bos_token="<|endoftext|>"
    )
    backend = ScriptedBackend(
        lambda *sequence: next_token(tokenizer, *sequence), VOCAB_SIZE, num_blocks, delay=delay
    )
    config = SchedulerConfig(max_model_len=max_model_len, max_num_batched_tokens=256, max_num_seqs=32)
    settings = settings or ServerSettings()
    engine = AsyncEngine(
        EngineCore(backend, config),
        max_queued_requests=max_queued_requests,
        max_queued_tokens=settings.max_num_queued_tokens,
    )
    inputs = InputProcessor(
        tokenizer,
        eos_token_ids={EOS},
        max_model_len=max_model_len,
        vocab_size=VOCAB_SIZE,
        seed=0,
        sampling_defaults=sampling_defaults,
    )
    service = Service(engine, inputs, MODEL, settings, reply_format=reply_format)
    service.backend = backend
    return service


@contextmanager
def serving(
    next_token,
    *,
    max_model_len=1024,
    delay=0.0,
    max_queued_requests=1024,
    sampling_defaults=None,
    num_blocks=512,
    tokenizer=None,
    reply_format=None,
    **settings,
):
    """A server for it, in a thread."""
    settings = ServerSettings(port=0, **{"shutdown_timeout": 0.0, **settings})
    service = toy_service(
        next_token,
        max_model_len=max_model_len,
        delay=delay,
        max_queued_requests=max_queued_requests,
        sampling_defaults=sampling_defaults,
        num_blocks=num_blocks,
        settings=settings,
        tokenizer=tokenizer,
        reply_format=reply_format,
    )
    with hosting(service) as running:
        yield running


SETTINGS = ServerSettings(port=0, shutdown_timeout=0.0)


@contextmanager
def hosting(service):
    """A server for a service, in a thread; a scripted one has its backend."""
    settings, backend = service.settings, getattr(service, "backend", None)
    listener = bind(settings)
    server = HttpServer(service, settings)
    thread = threading.Thread(target=lambda: server.run(sockets=[listener]), daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.01)
    try:
        with httpx.Client(base_url=base_url(listener), timeout=60) as http:
            yield Running(base_url(listener), backend, service.engine, service.tokenizer, server, http)
    finally:
        if backend is not None:
            backend.close()
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


def say(text):
    """A model that answers every prompt with `text`, then ends.

    Choice i leaves out the first i characters. Where the answer starts is found from the tokens themselves:
    the prompt is what precedes the longest part of the answer that the sequence ends with.
    """
    scripts = {}

    def next_token(tokenizer, context, choice):
        if choice not in scripts:
            scripts[choice] = [*tokenizer.encode(text[choice:]), EOS]
        script = scripts[choice]
        for said in range(min(len(script) - 1, len(context)), 0, -1):
            if context[-said:] == script[:said]:
                return script[said]
        return script[0]

    return next_token


@contextmanager
def hosting_demo(**options):
    """A server of the embedded model."""
    runtime = load_runtime(EngineConfig(**{"model": "demo", "num_threads": 1, "seed": 1, **options}))
    service = Service(AsyncEngine(runtime.core), runtime.inputs, "demo", SETTINGS)
    try:
        with hosting(service) as running:
            yield running
    finally:
        runtime.close()
