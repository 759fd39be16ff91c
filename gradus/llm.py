"""`LLM`: Gradus in the caller's process and thread, for batches of prompts. Names follow vLLM's offline API.

It drives the same engine as the server; nothing runs between calls.
"""

import itertools
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import TracebackType
from typing import Any

from gradus.config import EngineConfig
from gradus.errors import ConfigError, InvalidRequestError, RequestFailedError
from gradus.outputs import RequestOutput
from gradus.progress import progress_bar
from gradus.runtime import Runtime, load_runtime
from gradus.sampling_params import SamplingParams
from gradus.text.output_processor import ChoiceDelta, RequestState
from gradus.text.tokenizer import Tokenizer

Prompt = str | Sequence[int] | Mapping[str, Any]
"""A text, token ids, or a mapping with one of "prompt" and "prompt_token_ids"."""

Messages = Sequence[Mapping[str, Any]]


class LLM:
    """A loaded model.

    >>> llm = LLM(model="demo")
    >>> llm.generate(["Hello!"], SamplingParams(temperature=0))[0].outputs[0].text

    Raises:
        ModelError: the model cannot be found, read or supported.
        ConfigError: an option that does not exist or cannot work.
    """

    def __init__(self, model: str = "demo", **options: Any) -> None:
        """`options` are the fields of `EngineConfig`."""
        known = {option.name for option in fields(EngineConfig)}
        unknown = sorted(set(options) - known)
        if unknown:
            raise ConfigError(
                f"there is no option {unknown[0]!r}; the options are {', '.join(sorted(known))}"
            )
        self._load(EngineConfig(model=str(model), **options))

    @classmethod
    def from_config(cls, config: EngineConfig) -> "LLM":
        """The same from a ready configuration."""
        llm = cls.__new__(cls)
        llm._load(config)
        return llm

    def _load(self, config: EngineConfig) -> None:
        self._runtime: Runtime = load_runtime(config)
        self._ids = itertools.count()
        self._live: dict[str, _Live] = {}

    @property
    def model_name(self) -> str:
        return self._runtime.source.name

    def get_tokenizer(self) -> Tokenizer:
        return self._runtime.tokenizer

    @property
    def default_sampling(self) -> dict[str, Any]:
        """The fields of `SamplingParams` that the model's files recommend values for."""
        return dict(self._runtime.inputs.sampling_defaults)

    def get_default_sampling_params(self) -> SamplingParams:
        """What a call without parameters uses: the model's recommended sampling, if its files have one.

        A fresh object to derive from.
        """
        return SamplingParams(**self.default_sampling)

    def generate(
        self,
        prompts: Prompt | Sequence[Prompt],
        sampling_params: SamplingParams | Sequence[SamplingParams] | None = None,
        *,
        use_tqdm: bool = True,
        priority: Sequence[int] | None = None,
    ) -> list[RequestOutput]:
        """Complete one prompt or many, batched; the outputs come in the prompts' order.

        `sampling_params` is one for all or one per prompt. `use_tqdm` shows a progress bar where standard
        error is a terminal.

        Raises:
            InvalidRequestError: before anything runs, and naming the prompt's index where there are several.
            RequestFailedError: a request ended with an error; the others have been computed, and the
                exception's `outputs` has them all.
        """
        batch = _as_batch(prompts)
        params = _per_prompt(sampling_params or self.get_default_sampling_params(), batch)
        return self._run(batch, params, priority or [0] * len(batch), use_tqdm)

    def chat(
        self,
        messages: Messages | Sequence[Messages],
        sampling_params: SamplingParams | Sequence[SamplingParams] | None = None,
        *,
        use_tqdm: bool = True,
        add_generation_prompt: bool = True,
        tools: Sequence[Mapping[str, Any]] | None = None,
        chat_template: str | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
    ) -> list[RequestOutput]:
        """Answer one conversation or many; see `generate`, and `chat_prompt` for the other arguments."""
        is_one = len(messages) > 0 and isinstance(messages[0], Mapping)
        conversations: Any = [messages] if is_one else messages
        prompts = [
            self.chat_prompt(
                conversation,
                add_generation_prompt=add_generation_prompt,
                tools=tools,
                chat_template=chat_template,
                chat_template_kwargs=chat_template_kwargs,
            )
            for conversation in conversations
        ]
        return self.generate(prompts, sampling_params, use_tqdm=use_tqdm)

    def chat_prompt(
        self,
        messages: Messages,
        *,
        add_generation_prompt: bool = True,
        tools: Sequence[Mapping[str, Any]] | None = None,
        chat_template: str | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
    ) -> Prompt:
        """A conversation as a prompt for `generate` or `stream`.

        `chat_template` is Jinja source in place of the model's; `chat_template_kwargs` are variables for it.
        """
        inputs = self._runtime.inputs
        text = inputs.render_chat(
            messages,
            tools=tools,
            add_generation_prompt=add_generation_prompt,
            template_kwargs=chat_template_kwargs,
            chat_template=chat_template,
        )
        return {"prompt": text, "prompt_token_ids": inputs.tokenize(text, add_special_tokens=False)}

    def stream(self, prompt: Prompt, sampling_params: SamplingParams | None = None) -> Iterator[ChoiceDelta]:
        """Complete one prompt, yielding what each step adds. Leaving the loop early aborts the request.

        Raises:
            InvalidRequestError, RequestFailedError: as `generate` does.
        """
        live = self._add(prompt, sampling_params or self.get_default_sampling_params(), 0)
        try:
            while live.deltas or not live.state.finished:
                while live.deltas:
                    delta = live.deltas.popleft()
                    if delta.error is not None:
                        raise RequestFailedError(delta.error)
                    yield delta
                if not live.state.finished:
                    self._step()
        finally:
            self._forget(live)

    def close(self) -> None:
        """Free the model's threads and memory."""
        self._runtime.close()

    def __enter__(self) -> "LLM":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(
        self,
        prompts: Sequence[Prompt],
        params: Sequence[SamplingParams],
        priorities: Sequence[int],
        show_progress: bool,
    ) -> list[RequestOutput]:
        batch: list[_Live] = []
        try:
            for i, (prompt, param, priority) in enumerate(zip(prompts, params, priorities, strict=True)):
                batch.append(self._add(prompt, param, priority, index=i if len(prompts) > 1 else None))
            with progress_bar("requests", len(batch), show_progress) as report:
                for live in batch:
                    while not live.state.finished:
                        self._step()
                        report(lambda: _progress_of(batch))
        finally:
            for live in batch:
                self._forget(live)
        outputs = [live.state.output() for live in batch]
        failures = [delta.error for live in batch for delta in live.deltas if delta.error is not None]
        if failures:
            raise RequestFailedError(failures[0], outputs)
        return outputs

    def _add(
        self, prompt: Prompt, params: SamplingParams, priority: int, index: int | None = None
    ) -> "_Live":
        text, to_tokenize = _text_and_input(prompt)
        try:
            request_id = str(next(self._ids))
            request = self._runtime.inputs.process(request_id, to_tokenize, params, priority=priority)
            self._runtime.core.add_request(request)
        except InvalidRequestError as error:
            if index is not None:
                error.args = (f"prompt {index}: {error}",)
            raise
        state = RequestState(request.request_id, text, request.prompt_token_ids, params, self.get_tokenizer())
        live = self._live[request.request_id] = _Live(state)
        return live

    def _forget(self, live: "_Live") -> None:
        """The caller is done with a request; what is unfinished of it ends here."""
        self._runtime.core.abort(live.state.request_id)
        del self._live[live.state.request_id]

    def _step(self) -> None:
        """One engine step, for every request in flight: several streams may be read in turn."""
        for update in self._runtime.core.step():
            live = self._live.get(update.request_id)
            if live is not None:
                live.deltas.append(live.state.apply(update))
                for choice in live.state.take_choices_to_abort():
                    self._runtime.core.abort(live.state.request_id, choice)


@dataclass(frozen=True, slots=True)
class _Live:
    """A request in flight, and what its reader has not seen yet."""

    state: RequestState
    deltas: deque[ChoiceDelta] = field(default_factory=deque)


def _progress_of(batch: Sequence[_Live]) -> tuple[int, int]:
    """Requests done and tokens generated."""
    return sum(live.state.finished for live in batch), sum(live.state.num_generated_tokens for live in batch)


def _as_batch(prompts: Any) -> Sequence[Prompt]:
    is_one = isinstance(prompts, (str, Mapping)) or (len(prompts) > 0 and isinstance(prompts[0], int))
    return [prompts] if is_one else prompts


def _per_prompt(
    params: SamplingParams | Sequence[SamplingParams], prompts: Sequence[Prompt]
) -> Sequence[SamplingParams]:
    if isinstance(params, SamplingParams):
        return [params] * len(prompts)
    if len(params) != len(prompts):
        raise InvalidRequestError(
            f"there are {len(prompts)} prompts and {len(params)} sampling_params; give one or as many",
            "sampling_params",
        )
    return params


def _text_and_input(prompt: Prompt) -> tuple[str | None, Any]:
    """The prompt's text, where it is known, and what to tokenize; the input processor checks the latter."""
    if not isinstance(prompt, Mapping):
        return (prompt if isinstance(prompt, str) else None), prompt
    unknown = set(prompt) - {"prompt", "prompt_token_ids"}
    if unknown or not prompt:
        raise InvalidRequestError(
            f"a prompt has the keys {sorted(map(str, prompt))}; it takes 'prompt' or 'prompt_token_ids'",
            "prompt",
        )
    return prompt.get("prompt"), prompt.get("prompt_token_ids", prompt.get("prompt"))
