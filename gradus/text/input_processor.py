"""`InputProcessor`: the one place where a prompt and its parameters become an `EngineRequest`.

Knows the tokenizer and the model's limits; knows nothing of what the engine holds at the moment. A request
that leaves here is valid: tokens in range, lengths that fit the context, seed and limits resolved.
"""

import random
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from gradus.constraints import Grammar, GrammarCompiler
from gradus.errors import ContextOverflowError, InvalidRequestError, context_overflow
from gradus.messages import EngineRequest, Pooling, ThinkingBudget
from gradus.parameter_checks import show
from gradus.sampling_params import SamplingParams
from gradus.text.chat_template import ChatTemplate
from gradus.text.reply import think
from gradus.text.tokenizer import Tokenizer

MAX_PRIORITY = 2**31 - 1

Prompt = str | Sequence[int]


class InputProcessor:
    """Validates and tokenizes requests for one model."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        eos_token_ids: Collection[int],
        max_model_len: int,
        vocab_size: int,
        seed: int | None = None,
        sampling_defaults: Mapping[str, Any] | None = None,
        max_new_tokens: int | None = None,
        grammars: GrammarCompiler | None = None,
        chat_template: str | None = None,
    ) -> None:
        """
        eos_token_ids: end a choice unless the request ignores them.
        vocab_size: the model's, which may be larger than the tokenizer's.
        sampling_defaults: fields of `SamplingParams` for front ends to use where a request does not say.
        max_new_tokens: the limit of requests that bring none, beside the context.
        grammars: compiles the forms of structured outputs; None: they are refused.
        chat_template: Jinja source to use in place of the tokenizer's.
        seed: the requests that bring no seed draw theirs from a stream that starts here; None: from the
            operating system's randomness.
        """
        self.tokenizer = tokenizer
        self.eos_token_ids = frozenset(eos_token_ids)
        self.max_model_len = max_model_len
        self.vocab_size = vocab_size
        self.sampling_defaults = dict(sampling_defaults or {})
        self._max_new_tokens = max_new_tokens
        self._grammars = grammars
        self._own_chat_template = chat_template
        self._seeds = None if seed is None else random.Random(seed)

    def process(
        self,
        request_id: str,
        prompt: Prompt,
        params: SamplingParams,
        *,
        priority: int = 0,
        cache_salt: str = "",
        add_special_tokens: bool = True,
    ) -> EngineRequest:
        """The engine's request for a text or for token ids (which are taken as they are).

        Raises:
            InvalidRequestError: names the field, its value and what would work.
            ContextOverflowError: prompt and `max_tokens` do not fit into the context; nothing is ever cut.
        """
        token_ids = self.tokenize(prompt, add_special_tokens=add_special_tokens)
        for field in ("stop_token_ids", "logit_bias", "allowed_token_ids"):
            self._check_vocabulary(field, getattr(params, field) or ())
        self._check_spaces(params)
        _check_priority(priority)
        thinking = self._thinking_budget(params, token_ids)
        max_tokens = self._resolve_max_tokens(len(token_ids), params.max_tokens)
        if params.min_tokens > max_tokens:
            raise InvalidRequestError(
                f"min_tokens is {params.min_tokens}; it must be at most max_tokens, which is {max_tokens}",
                "min_tokens",
            )
        return EngineRequest(
            request_id=request_id,
            prompt_token_ids=token_ids,
            params=replace(params),  # a copy: the caller may go on to change its own
            max_tokens=max_tokens,
            eos_token_ids=frozenset() if params.ignore_eos else self.eos_token_ids,
            delayed_token_ids=self._delayed(params),
            bad_words=self._bad_words(params.bad_words or ()),
            grammar=self.compile_grammar(params),
            thinking=thinking,
            seed=self._resolve_seed(params.seed),
            priority=priority,
            cache_salt=cache_salt,
        )

    def compile_grammar(self, params: SamplingParams) -> Grammar | None:
        """The grammar of a request's structured output, if it asks for any. May take long the first time.

        Raises:
            InvalidRequestError: what is wrong with the form.
        """
        form = params.structured_outputs
        if form is None:
            return None
        if self._grammars is None:
            raise InvalidRequestError("structured output is not available here", form.path)
        return self._grammars.compile(form)

    def process_pooling(
        self,
        request_id: str,
        prompt: Prompt,
        pooling: Pooling,
        *,
        priority: int = 0,
        cache_salt: str = "",
        add_special_tokens: bool = True,
    ) -> EngineRequest:
        """A request for an embedding of the prompt, which may fill the context.

        Raises:
            InvalidRequestError, ContextOverflowError: as `process`.
        """
        token_ids = self.tokenize(prompt, add_special_tokens=add_special_tokens)
        if len(token_ids) > self.max_model_len:
            raise ContextOverflowError(
                f"the prompt has {len(token_ids):,} tokens; this model's context is {self.max_model_len:,}. "
                "Shorten the prompt",
                "prompt",
            )
        _check_priority(priority)
        return EngineRequest(
            request_id=request_id,
            prompt_token_ids=token_ids,
            params=SamplingParams(temperature=0),
            max_tokens=0,
            pooling=pooling,
            priority=priority,
            cache_salt=cache_salt,
        )

    def tokenize(self, prompt: Prompt, *, add_special_tokens: bool = True) -> list[int]:
        """Token ids of a prompt, checked; at least one.

        Raises:
            InvalidRequestError: the prompt is empty, is no text, or has an id that the model does not know.
        """
        if isinstance(prompt, str):
            token_ids = self.tokenizer.encode(prompt, add_special_tokens)
        else:
            token_ids = list(prompt)
            self._check_token_ids(token_ids)
        if not token_ids:
            raise InvalidRequestError("the prompt is empty; it must have at least one token", "prompt")
        if max(token_ids) >= self.vocab_size:
            raise InvalidRequestError(
                f"the prompt's text has the token id {max(token_ids)}, beyond the model's vocabulary of "
                f"{self.vocab_size:,}: tokenizer and model do not belong together",
                "prompt",
            )
        return token_ids

    def render_chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        template_kwargs: Mapping[str, Any] | None = None,
        chat_template: str | None = None,
    ) -> str:
        """The prompt of a conversation; process it with `add_special_tokens=False`.

        `chat_template` is Jinja source to use in place of the model's.

        Raises:
            InvalidRequestError: the model has no chat template, or the template refuses the messages.
        """
        template = self._chat_template
        if chat_template is not None:
            template = ChatTemplate(chat_template, self.tokenizer.special_tokens)
        if template is None:
            raise InvalidRequestError(
                "this model has no chat template, so it cannot take messages; send a prompt instead",
                "messages",
            )
        return template.render(
            messages,
            tools=tools,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=continue_final_message,
            template_kwargs=template_kwargs,
        )

    @property
    def chat_template(self) -> str | None:
        """The Jinja source that conversations are written with."""
        return self._own_chat_template or self.tokenizer.chat_template

    @property
    def has_chat_template(self) -> bool:
        return self._chat_template is not None

    @cached_property
    def _chat_template(self) -> ChatTemplate | None:
        source = self.chat_template
        return None if source is None else ChatTemplate(source, self.tokenizer.special_tokens)

    def _check_token_ids(self, token_ids: list[int]) -> None:
        for token_id in token_ids:
            is_int = isinstance(token_id, int) and not isinstance(token_id, bool)
            if not is_int or not 0 <= token_id < self.vocab_size:
                raise InvalidRequestError(
                    f"the prompt has the token id {show(token_id)}; ids of this model are integers from 0 "
                    f"to {self.vocab_size - 1}",
                    "prompt",
                )

    def _check_vocabulary(self, field: str, token_ids: Collection[int]) -> None:
        highest = max(token_ids, default=0)
        if highest >= self.vocab_size:
            raise InvalidRequestError(
                f"{field} has {highest}; ids of this model are integers from 0 to {self.vocab_size - 1}",
                field,
            )

    def _check_spaces(self, params: SamplingParams) -> None:
        """Spaces between special tokens can be left out only where a decoder puts none."""
        if params.skip_special_tokens or params.spaces_between_special_tokens:
            return
        if self.tokenizer.pieces is None:
            raise InvalidRequestError(
                "spaces_between_special_tokens is false; this model's tokenizer decides about spaces itself, "
                "so only true works",
                "spaces_between_special_tokens",
            )

    def _delayed(self, params: SamplingParams) -> tuple[int, ...]:
        """What `min_tokens` puts off: as in vLLM, end-of-sequence tokens even where they are ignored."""
        if params.min_tokens == 0:
            return ()
        return tuple(sorted(self.eos_token_ids.union(params.stop_token_ids or ())))

    def _bad_words(self, words: Sequence[str]) -> tuple[tuple[int, ...], ...]:
        """Token ids of each word as the start of a text, and after a space."""
        found: list[tuple[int, ...]] = []
        for word in dict.fromkeys(words):
            bare = word.lstrip()
            forms = [tuple(self.tokenizer.encode(s + bare, add_special_tokens=False)) for s in ("", " ")]
            if not forms[0]:
                raise InvalidRequestError(f"bad_words has {show(word)}, which is no token", "bad_words")
            found += forms
        for ids in found:
            self._check_vocabulary("bad_words", ids)
        return tuple(dict.fromkeys(found))

    def _thinking_budget(self, params: SamplingParams, prompt: Sequence[int]) -> ThinkingBudget | None:
        budget = params.thinking_token_budget
        if budget is None:
            return None
        opening_id, closing_id = map(self.tokenizer.token_id, (think.OPENING, think.CLOSING))
        if opening_id is None or closing_id is None or max(opening_id, closing_id) >= self.vocab_size:
            raise InvalidRequestError(
                f"thinking_token_budget is {budget}; this model has no tokens {think.OPENING} and "
                f"{think.CLOSING}, so its thinking cannot be ended. Leave it out",
                "thinking_token_budget",
            )
        form, allowed = params.structured_outputs, params.allowed_token_ids
        if form is not None and form.kind != "grammar":
            raise InvalidRequestError(
                f"thinking_token_budget is {budget}, but {form.path} holds for the whole text, which leaves "
                "no place for thinking; leave one of them out",
                "thinking_token_budget",
            )
        if allowed is not None and closing_id not in allowed:
            raise InvalidRequestError(
                f"allowed_token_ids leaves out {closing_id}, {think.CLOSING}, which ends the thinking after "
                "thinking_token_budget tokens; add it, or leave one of the two out",
                "allowed_token_ids",
            )
        tokens = (token_id for token_id in reversed(prompt) if self.tokenizer.token_text(token_id).strip())
        return ThinkingBudget(
            num_tokens=budget,
            opening_id=opening_id,
            closing_id=closing_id,
            is_open=next(tokens, None) == opening_id,
        )

    def _resolve_max_tokens(self, num_prompt_tokens: int, max_tokens: int | None) -> int:
        if num_prompt_tokens + (max_tokens or 1) > self.max_model_len:
            raise context_overflow(num_prompt_tokens, max_tokens, self.max_model_len)
        room = self.max_model_len - num_prompt_tokens
        return max_tokens or min(room, self._max_new_tokens or room)

    def _resolve_seed(self, seed: int | None) -> int:
        if seed is not None:
            return seed
        return secrets.randbits(63) if self._seeds is None else self._seeds.getrandbits(63)


def _check_priority(priority: Any) -> None:
    is_int = isinstance(priority, int) and not isinstance(priority, bool)
    if not is_int or not -MAX_PRIORITY <= priority <= MAX_PRIORITY:
        raise InvalidRequestError(
            f"priority is {show(priority)}; it must be an integer from {-MAX_PRIORITY} to {MAX_PRIORITY}",
            "priority",
        )
