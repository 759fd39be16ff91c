"""`RequestState`: the engine's updates of one request, turned into text, logprobs and a finish reason.

One of these per request in flight, used by every front end. Knows tokens and text; knows nothing of the
engine: it says which choices the caller has to abort there once a stop string has ended them.
"""

from dataclasses import dataclass, field

from gradus.messages import AboutPrompt, RequestUpdate, TokenLogprobs
from gradus.outputs import CompletionOutput, FinishReason, Logprob, RequestMetrics, RequestOutput
from gradus.sampling_params import SamplingParams
from gradus.text.detokenizer import Detokenizer
from gradus.text.stop_strings import StopMatcher
from gradus.text.tokenizer import Tokenizer


@dataclass(slots=True, kw_only=True)
class ChoiceDelta:
    """What one update added to one choice.

    `text` may lag behind `token_ids`: an unfinished character and a possible stop string are held back.
    """

    index: int
    text: str = ""
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[dict[int, Logprob]] | None = None
    finish_reason: FinishReason | None = None
    stop_reason: str | int | None = None
    error: str | None = None  # with finish reason "error"

    @classmethod
    def whole(cls, choice: CompletionOutput) -> "ChoiceDelta":
        """All of a choice of which nothing was read before."""
        return cls(
            index=choice.index,
            text=choice.text,
            token_ids=choice.token_ids,
            logprobs=choice.logprobs,
            finish_reason=choice.finish_reason,
            stop_reason=choice.stop_reason,
        )


class RequestState:
    """Everything generated so far for one request."""

    def __init__(
        self,
        request_id: str,
        prompt: str | None,
        prompt_token_ids: list[int],
        params: SamplingParams,
        tokenizer: Tokenizer,
        shown_special_ids: frozenset[int] = frozenset(),
    ) -> None:
        """shown_special_ids: special tokens that are part of the text even where those are left out."""
        self.request_id = request_id
        self.prompt = prompt
        self.prompt_token_ids = prompt_token_ids
        self.metrics = RequestMetrics()
        self.prompt_logprobs: list[dict[int, Logprob] | None] | None = None
        self.embedding: list[float] | None = None
        self._tokenizer = tokenizer
        skip = params.skip_special_tokens
        self._choices = [
            _Choice(i, params, tokenizer, Detokenizer(tokenizer, skip, prompt_token_ids, shown_special_ids))
            for i in range(params.n)
        ]
        self._to_abort: list[int] = []

    @property
    def finished(self) -> bool:
        return all(choice.finish_reason is not None for choice in self._choices)

    @property
    def num_generated_tokens(self) -> int:
        """Tokens of all choices that count; those computed after a stop string do not."""
        return sum(len(choice.token_ids) for choice in self._choices)

    def apply(self, update: RequestUpdate) -> ChoiceDelta:
        """Take in what one step gave one choice. An update that comes after the choice's end adds nothing."""
        choice = self._choices[update.choice_index]
        if update.choice_index == 0:
            self.metrics = update.metrics
        if update.about_prompt is not None:
            self._take_about_prompt(update.about_prompt)
        if choice.finish_reason is not None:
            return ChoiceDelta(index=update.choice_index)
        delta = choice.apply(update)
        if delta.finish_reason is not None and update.finish_reason is None:
            self._to_abort.append(update.choice_index)
        return delta

    def take_choices_to_abort(self) -> list[int]:
        """Choices that a stop string ended while the engine goes on with them; each is named once."""
        taken, self._to_abort = self._to_abort, []
        return taken

    def _take_about_prompt(self, about: AboutPrompt) -> None:
        self.embedding = about.embedding
        if about.logprobs is None:
            return
        scored = zip(self.prompt_token_ids[1:], about.logprobs, strict=True)
        named = [named_logprobs(token_id, entry, self._tokenizer) for token_id, entry in scored]
        self.prompt_logprobs = [None, *named]

    def output(self) -> RequestOutput:
        """The request as it stands."""
        return RequestOutput(
            request_id=self.request_id,
            prompt=self.prompt,
            prompt_token_ids=self.prompt_token_ids,
            outputs=[choice.output() for choice in self._choices],
            finished=self.finished,
            prompt_logprobs=self.prompt_logprobs,
            metrics=self.metrics,
        )


class _Choice:
    """One choice's tokens and text."""

    def __init__(
        self, index: int, params: SamplingParams, tokenizer: Tokenizer, detokenizer: Detokenizer
    ) -> None:
        self.index = index
        self.token_ids: list[int] = []
        self.finish_reason: FinishReason | None = None
        self._stop_reason: str | int | None = None
        self._text: list[str] = []
        self._logprobs: list[dict[int, Logprob]] | None = [] if params.logprobs is not None else None
        self._cumulative_logprob = 0.0
        self._tokenizer = tokenizer
        self._detokenizer = detokenizer
        self._matcher = StopMatcher(params.stop or ())
        self._min_tokens = params.min_tokens
        self._shows_stop = params.include_stop_str_in_output

    def apply(self, update: RequestUpdate) -> ChoiceDelta:
        delta = ChoiceDelta(index=self.index)
        parts: list[str] = []
        num_kept = 0
        for token_id in update.new_token_ids:
            num_kept += 1
            is_last = num_kept == len(update.new_token_ids)
            may_end = len(self.token_ids) + num_kept > self._min_tokens
            # The token that ends a choice is counted, but is not part of its text unless that is asked for.
            is_end = is_last and update.finish_reason == "stop" and update.has_end_token
            if self._shows_stop or not is_end:
                parts.append(self._matcher.push(self._detokenizer.push((token_id,)), may_end))
            if self._matcher.matched is not None:
                break
        if self._matcher.matched is None and update.finish_reason is not None:
            may_end = len(self.token_ids) + num_kept > self._min_tokens
            parts.append(self._matcher.push(self._detokenizer.flush(), may_end))
        if self._matcher.matched is not None:
            self.finish_reason, self._stop_reason = "stop", self._matcher.matched
            if self._shows_stop:
                parts.append(self._matcher.matched)
        elif update.finish_reason is not None:
            parts.append(self._matcher.flush())
            self.finish_reason, self._stop_reason = update.finish_reason, update.stop_reason
            delta.error = update.error
        delta.text = "".join(parts)
        delta.token_ids = update.new_token_ids[:num_kept]
        delta.logprobs = self._take_logprobs(delta.token_ids, update.logprobs)
        delta.finish_reason, delta.stop_reason = self.finish_reason, self._stop_reason
        self._text.append(delta.text)
        self.token_ids += delta.token_ids
        return delta

    def _take_logprobs(
        self, token_ids: list[int], logprobs: list[TokenLogprobs] | None
    ) -> list[dict[int, Logprob]] | None:
        if self._logprobs is None or logprobs is None:
            return None
        pairs = zip(token_ids, logprobs, strict=False)
        new = [named_logprobs(token_id, entry, self._tokenizer) for token_id, entry in pairs]
        self._logprobs += new
        self._cumulative_logprob += sum(entry.logprob for entry in logprobs[: len(token_ids)])
        return new

    def output(self) -> CompletionOutput:
        has_logprobs = self._logprobs is not None
        return CompletionOutput(
            index=self.index,
            text="".join(self._text),
            token_ids=list(self.token_ids),
            cumulative_logprob=self._cumulative_logprob if has_logprobs else None,
            logprobs=list(self._logprobs) if self._logprobs is not None else None,
            finish_reason=self.finish_reason,
            stop_reason=self._stop_reason,
        )


def named_logprobs(token_id: int, entry: TokenLogprobs, tokenizer: Tokenizer) -> dict[int, Logprob]:
    """One position's: the token that is there first, then the likeliest ones."""
    name = tokenizer.token_text
    named = {token_id: Logprob(entry.logprob, entry.rank, name(token_id))}
    for rank, (top_id, logprob) in enumerate(entry.top, start=1):
        named.setdefault(top_id, Logprob(logprob, rank, name(top_id)))
    return named
