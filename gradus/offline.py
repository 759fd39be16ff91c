"""`OfflineEngine`: an `EngineCore` driven in the caller's thread, one step whenever somebody needs one.

Requests whose text is wanted have a `Live` each, which collects their deltas; others are run to their end and
give their update. All share the steps, so several readers may take turns. Knows no front end's formats.
"""

import itertools
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from gradus.engine.core import EngineCore
from gradus.errors import RequestFailedError
from gradus.messages import EngineRequest, RequestUpdate
from gradus.text.output_processor import ChoiceDelta, RequestState
from gradus.text.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Live:
    """A request in flight, and what its reader has not seen yet."""

    state: RequestState
    deltas: deque[ChoiceDelta] = field(default_factory=deque)


class OfflineEngine:
    """Runs requests; nothing happens between calls."""

    def __init__(self, core: EngineCore, tokenizer: Tokenizer) -> None:
        self._core = core
        self._tokenizer = tokenizer
        self._ids = itertools.count()
        self._live: dict[str, Live] = {}
        self._collected: dict[str, list[RequestUpdate]] = {}

    def new_id(self) -> str:
        return str(next(self._ids))

    def start(self, request: EngineRequest, prompt: str | None) -> Live:
        """Queue a request whose text is wanted; `prompt` is its prompt's, where it is known."""
        self._core.add_request(request)
        state = RequestState(
            request.request_id, prompt, request.prompt_token_ids, request.params, self._tokenizer
        )
        live = self._live[request.request_id] = Live(state)
        return live

    def forget(self, live: Live) -> None:
        """The reader is done with a request; what is unfinished of it ends here."""
        self._core.abort(live.state.request_id)
        del self._live[live.state.request_id]

    def step(self) -> None:
        """One engine step, for every request in flight."""
        for update in self._core.step():
            if update.request_id in self._collected:
                self._collected[update.request_id].append(update)
            live = self._live.get(update.request_id)
            if live is not None:
                live.deltas.append(live.state.apply(update))
                for choice in live.state.take_choices_to_abort():
                    self._core.abort(live.state.request_id, choice)

    def collect(self, requests: Sequence[EngineRequest]) -> list[RequestUpdate]:
        """Run requests of one choice and at most one token; each one's only update, in order.

        Raises:
            RequestFailedError: one of them ended with an error.
            ContextOverflowError: one of them can never fit into the KV cache.
        """
        updates: list[list[RequestUpdate]] = []
        try:
            for request in requests:
                self._core.add_request(request)
                updates.append(self._collected.setdefault(request.request_id, []))
            while not all(updates):
                self.step()
        finally:
            for request in requests:
                self._core.abort(request.request_id)
                self._collected.pop(request.request_id, None)
        found = [update for (update,) in updates]
        for update in found:
            if update.finish_reason == "error":
                raise RequestFailedError(update.error or "the request failed")
        return found
