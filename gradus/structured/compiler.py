"""`LlguidanceCompiler`: forms to grammars, in threads of its own, with a time limit and a bounded cache.

A form is compiled once, however many requests state it at a time; what it gave is kept, be it an error. One
that takes too long is refused; its thread goes on until llguidance's own limits end it.
"""

from collections.abc import Collection
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING

from gradus.errors import InvalidRequestError
from gradus.structured.cache import LruCache
from gradus.structured.forms import grammar_text, limits
from gradus.structured.grammar import MatcherGrammar, reason_of
from gradus.structured.vocabulary import Vocabulary
from gradus.structured_outputs import StructuredOutputsParams
from gradus.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from llguidance import LLMatcher

TIME_LIMIT_SECONDS = 10.0
MAX_CACHED_GRAMMARS = 128
MAX_CACHED_CHARS = 512 * 1024  # of the forms; a large grammar takes a few hundred bytes of memory for each
NUM_COMPILING_THREADS = 2
NUM_TRIED_TOKENS = 16


class LlguidanceCompiler:
    """For one model. llguidance is imported, and the vocabulary read, at the first form."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        vocab_size: int,
        end_token_ids: Collection[int],
        time_limit: float = TIME_LIMIT_SECONDS,
        max_cached: int = MAX_CACHED_GRAMMARS,
    ) -> None:
        self._tokenizer = tokenizer
        self._vocab_size = vocab_size
        self._end_token_ids = end_token_ids
        self._time_limit = time_limit
        self._cache: LruCache[StructuredOutputsParams, Future[MatcherGrammar]] = LruCache(
            max_cached, MAX_CACHED_CHARS
        )
        self._lock = Lock()
        self._vocabulary: Vocabulary | None = None

    def compile(self, params: StructuredOutputsParams) -> MatcherGrammar:
        """See `gradus.constraints.GrammarCompiler`."""
        vocabulary = self._ready_vocabulary()  # not part of the time limit: it is no fault of the form's

        def submit() -> Future[MatcherGrammar]:
            return self._threads.submit(self._compile, params, vocabulary)

        try:
            return self._cache.get_or_make(params, submit, params.num_chars).result(self._time_limit)
        except ValueError as error:
            raise InvalidRequestError(f"{params.path} cannot be used: {error}", params.path) from None
        except TimeoutError:
            raise InvalidRequestError(
                f"{params.path} was not compiled within {self._time_limit:g} seconds; make it simpler, or "
                "try again later",
                params.path,
            ) from None

    def _compile(self, params: StructuredOutputsParams, vocabulary: Vocabulary) -> MatcherGrammar:
        """Raises ValueError: what is wrong with the form."""
        from llguidance import LLMatcher

        matcher = LLMatcher(vocabulary.tokens, grammar_text(params), log_level=0, limits=limits())
        if matcher.is_error():
            raise ValueError(reason_of(matcher))
        matcher.compute_bitmask()  # the first mask takes longest: not in the engine's thread, then
        if matcher.is_error() or not (matcher.is_accepting() or matcher.stop_reason() == "NotStopped"):
            raise ValueError("no text is of this form")
        _follow_one_text(matcher.deep_copy())
        return MatcherGrammar(matcher, vocabulary, params.ends_in_time)

    def _ready_vocabulary(self) -> Vocabulary:
        if self._vocabulary is None:
            with self._lock:
                if self._vocabulary is None:
                    self._vocabulary = Vocabulary(self._tokenizer, self._vocab_size, self._end_token_ids)
        return self._vocabulary

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(NUM_COMPILING_THREADS, thread_name_prefix="gradus-grammar")


def _follow_one_text(matcher: "LLMatcher") -> None:
    """Go the first steps of a text: many grammars that are too complex show it only behind its beginning.

    Raises:
        ValueError: a limit was reached.
    """
    for _ in range(NUM_TRIED_TOKENS):
        allowed = 0 if matcher.is_stopped() else int.from_bytes(matcher.compute_bitmask(), "little")
        if allowed == 0:
            break
        matcher.consume_token((allowed & -allowed).bit_length() - 1)  # the least of them
    if matcher.is_error():
        raise ValueError(reason_of(matcher))
