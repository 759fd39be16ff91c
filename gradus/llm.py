"""`LLM`: Gradus in the caller's process and thread, for batches of prompts. Names follow vLLM's offline API.

It drives the same engine as the server; nothing runs between calls.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from types import TracebackType
from typing import Any

from gradus.beam_search import BeamSearch, BeamSearchOutput, BeamSearchParams, step_params
from gradus.config import EngineConfig
from gradus.engine.stats import EngineStats
from gradus.errors import ConfigError, InvalidRequestError, RequestFailedError
from gradus.messages import EngineRequest, Pooling
from gradus.offline import Live, OfflineEngine
from gradus.outputs import EmbeddingOutput, EmbeddingRequestOutput, RequestOutput
from gradus.progress import progress_bar
from gradus.prompts import Prompt, as_batch, per_prompt, text_and_input
from gradus.runtime import Runtime, load_runtime
from gradus.sampling_params import SamplingParams
from gradus.text.output_processor import ChoiceDelta
from gradus.text.tokenizer import Tokenizer
from gradus.vectors import normalized

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
        self._engine = OfflineEngine(self._runtime.core, self._runtime.tokenizer)

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
        batch = as_batch(prompts)
        params = per_prompt(sampling_params or self.get_default_sampling_params(), batch)
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
                    self._engine.step()
        finally:
            self._engine.forget(live)

    def beam_search(
        self, prompts: Prompt | Sequence[Prompt], params: BeamSearchParams
    ) -> list[BeamSearchOutput]:
        """The likeliest continuations of each prompt that a search of this width finds.

        Raises:
            InvalidRequestError, RequestFailedError: as `generate` does.
        """
        searches: list[BeamSearch] = []
        eos = self._runtime.inputs.eos_token_ids
        whole = SamplingParams(max_tokens=params.max_tokens)
        for i, prompt in enumerate(batch := as_batch(prompts)):
            with _naming(i if len(batch) > 1 else None):
                request = self._runtime.inputs.process("", text_and_input(prompt)[1], whole)
            searches.append(BeamSearch(request.prompt_token_ids, params, eos))
        step = step_params(params, self._runtime.core.limits.vocab_size)
        while beams := [beam for search in searches for beam in search.live]:
            updates = iter(self._engine.collect([self._next_token(beam.tokens, step) for beam in beams]))
            for search in searches:
                search.advance([(next(updates).logprobs or [])[0].top for _ in search.live])
        decode = self.get_tokenizer().decode
        return [
            BeamSearchOutput([replace(found, text=decode(found.tokens)) for found in search.result()])
            for search in searches
        ]

    def embed(
        self, prompts: Prompt | Sequence[Prompt], pooling: Pooling = "last", normalize: bool = True
    ) -> list[EmbeddingRequestOutput]:
        """Each prompt's hidden state after the final norm: its last token's, or the mean of all tokens'.

        `normalize` makes the Euclidean length 1.

        Raises:
            InvalidRequestError, RequestFailedError: as `generate` does.
        """
        if pooling not in ("last", "mean"):
            raise InvalidRequestError(f"pooling is {pooling!r:.80}; it must be 'last' or 'mean'", "pooling")
        requests: list[EngineRequest] = []
        for i, prompt in enumerate(batch := as_batch(prompts)):
            to_tokenize, new_id = text_and_input(prompt)[1], self._engine.new_id()
            with _naming(i if len(batch) > 1 else None):
                requests.append(self._runtime.inputs.process_pooling(new_id, to_tokenize, pooling))
        outputs = []
        for prompt, request, update in zip(batch, requests, self._engine.collect(requests), strict=True):
            embedding = (update.about_prompt and update.about_prompt.embedding) or []
            output = EmbeddingOutput(normalized(embedding) if normalize else embedding)
            text = text_and_input(prompt)[0]
            outputs.append(EmbeddingRequestOutput(request.request_id, text, request.prompt_token_ids, output))
        return outputs

    @property
    def weight_bytes(self) -> int:
        """What the weights take in memory."""
        return self._runtime.weight_bytes

    def stats(self) -> EngineStats:
        """What the engine has counted since it was loaded, and what it holds now."""
        return self._runtime.core.stats()

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
        batch: list[Live] = []
        try:
            for i, (prompt, param, priority) in enumerate(zip(prompts, params, priorities, strict=True)):
                batch.append(self._add(prompt, param, priority, index=i if len(prompts) > 1 else None))
            with progress_bar("requests", len(batch), show_progress) as report:
                for live in batch:
                    while not live.state.finished:
                        self._engine.step()
                        report(lambda: _progress_of(batch))
        finally:
            for live in batch:
                self._engine.forget(live)
        outputs = [live.state.output() for live in batch]
        failures = [delta.error for live in batch for delta in live.deltas if delta.error is not None]
        if failures:
            raise RequestFailedError(failures[0], outputs)
        return outputs

    def _next_token(self, token_ids: list[int], params: SamplingParams) -> EngineRequest:
        new_id = self._engine.new_id()
        return EngineRequest(request_id=new_id, prompt_token_ids=token_ids, params=params, max_tokens=1)

    def _add(self, prompt: Prompt, params: SamplingParams, priority: int, index: int | None = None) -> Live:
        text, to_tokenize = text_and_input(prompt)
        with _naming(index):
            inputs, new_id = self._runtime.inputs, self._engine.new_id()
            return self._engine.start(inputs.process(new_id, to_tokenize, params, priority=priority), text)


@contextmanager
def _naming(index: int | None) -> Iterator[None]:
    """Put the prompt's index into what is said about it."""
    try:
        yield
    except InvalidRequestError as error:
        if index is not None:
            error.args = (f"prompt {index}: {error}",)
        raise


def _progress_of(batch: Sequence[Live]) -> tuple[int, int]:
    """Requests done and tokens generated."""
    return sum(live.state.finished for live in batch), sum(live.state.num_generated_tokens for live in batch)
