"""`Service`: what a server's front ends share: the engine, the text layer, limits, keys and what is observed.

Knows nothing of HTTP: gRPC and batch files stand on it too.
"""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

from gradus.errors import (
    ContextOverflowError,
    GradusError,
)
from gradus.messages import EngineRequest
from gradus.sampling_params import SamplingParams
from gradus.server.generation import Engine, Generation
from gradus.server.observe.observer import Observer
from gradus.server.security.keys import Client, Keys
from gradus.server.security.rate_limits import RateLimits
from gradus.server.settings import ServerSettings
from gradus.server.streaming import EVERY_TOKEN, Granularity
from gradus.text.input_processor import InputProcessor
from gradus.text.reply.reply_format import ReplyFormat, choose_format
from gradus.text.tokenizer import Tokenizer

_LONG_TEXT_BYTES = 16 * 1024  # tokenizing more than that takes milliseconds, so it leaves the event loop
_HUGE_TEXT_BYTES = 1024 * 1024  # this takes seconds, and hundreds of bytes for each token: one at a time

T = TypeVar("T")


class Service:
    """A model ready to be served."""

    def __init__(
        self,
        engine: Engine,
        inputs: InputProcessor,
        model_name: str,
        settings: ServerSettings | None = None,
        keys: Keys | None = None,
        reply_format: ReplyFormat | None = None,
        *,
        aliases: Sequence[str] = (),
    ) -> None:
        """`keys` and `reply_format` are those of the settings unless they are given.

        aliases: names under which the model is served beside `model_name`, which answers have.
        """
        self.engine = engine
        self.inputs = inputs
        self.model_name = model_name
        self.model_names = tuple(dict.fromkeys([model_name, *aliases]))
        self.settings = settings or ServerSettings()
        self.keys = keys or Keys.load(self.settings)
        self.rate_limits = RateLimits()
        self.observer = Observer.of(self.settings)
        self.streaming = self.settings.streaming  # may be replaced at any time
        self.reply_format = reply_format or choose_format(
            inputs.chat_template,
            self.settings.tool_call_parser,
            self.settings.reasoning_parser,
            auto_tool_choice=self.settings.enable_auto_tool_choice,
        )
        self.created = int(time.time())
        self._huge_texts = ThreadPoolExecutor(1, thread_name_prefix="gradus-text")

    @property
    def tokenizer(self) -> Tokenizer:
        return self.inputs.tokenizer

    def refusal_of_model(self, name: str) -> str | None:
        """Why a request for this model cannot be served; None if it can."""
        if name in self.model_names:
            return None
        known = ", ".join(map(repr, self.model_names))
        return f"there is no model {name[:200]!r} here; this server has {known}"

    async def compute(self, size: int, work: Callable[[], T]) -> T:
        """Do text work here or, where `size` bytes of input make it long, in a thread.

        Huge texts share one thread, whoever sends them, and whether or not somebody still waits for them.
        """
        try:
            if size < _LONG_TEXT_BYTES:
                return work()
            threads = None if size < _HUGE_TEXT_BYTES else self._huge_texts
            return await asyncio.get_running_loop().run_in_executor(threads, work)
        except ContextOverflowError as error:
            self.observer.refuse(error)
            raise

    async def compile_grammar(self, params: SamplingParams) -> None:
        """Have a request's grammar ready, if it needs one, so that `inputs.process` need not wait for it.

        Raises:
            InvalidRequestError: what is wrong with the form.
        """
        if params.structured_outputs is not None:
            await asyncio.to_thread(self.inputs.compile_grammar, params)

    def generate(
        self,
        requests: Sequence[EngineRequest],
        client: Client | None = None,
        *,
        tenant: str = "",
        timeout: float | None = None,
        granularity: Granularity = EVERY_TOKEN,
        shown_special_ids: frozenset[int] = frozenset(),
    ) -> "Generation":
        """Start requests that belong together; call it in the event loop that will read them.

        client: who asks; None: the server itself, without limits.
        tenant: for whom the client asks, by its own word.
        timeout: seconds until they end with an error, if the server's own limit is not shorter.
        granularity: how many tokens a batch of the deltas holds.
        shown_special_ids: special tokens that are part of the text even where those are left out.

        Raises:
            BusyError, EngineDeadError, InvalidRequestError: none of them is started then.
        """
        limits = [each for each in (timeout, self.settings.request_timeout) if each is not None]
        ticket = None
        try:
            if client is not None:
                ticket = self.rate_limits.admit(client, tenant)
                if self.settings.isolate_prefix_cache:
                    requests = [replace(each, cache_salt=_salt(client, tenant, each)) for each in requests]
            return Generation(
                self.engine,
                self.tokenizer,
                requests,
                self.observer.begin(requests, self.tokenizer.decode),
                granularity=granularity,
                ticket=ticket,
                timeout=min(limits, default=None),
                shown_special_ids=shown_special_ids,
            )
        except BaseException as error:
            if ticket is not None:
                ticket.cancel()
            if isinstance(error, GradusError):
                self.observer.refuse(error)
            raise


def _salt(client: Client, tenant: str, request: EngineRequest) -> str:
    """What keeps clients apart in the prefix cache, whatever salts they choose themselves."""
    return json.dumps([client.name, tenant, request.cache_salt])
