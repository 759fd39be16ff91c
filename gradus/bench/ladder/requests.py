"""A ladder's requests: a workload's, with prompts of which every layer can be told in its own way.

Layers below the text take token ids, gRPC takes text alone. So prompts are made of words: tokens of which the
tokenizer makes a text that it reads as the same tokens.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from gradus.bench.workloads.base import Workload
from gradus.errors import ConfigError
from gradus.messages import EngineRequest
from gradus.runtime import Runtime
from gradus.sampling_params import SamplingParams
from gradus.text.tokenizer import Tokenizer

STOP = "\u2402 a text that no model ever writes \u2403"
NUM_WORDS = 1024


@dataclass(frozen=True, slots=True)
class LadderRequest:
    """One request, in the forms in which a layer may want it.

    Attributes:
        engine_request: validated; its prompt's token ids.
        text: what the tokenizer reads as exactly those ids.
    """

    engine_request: EngineRequest
    text: str

    @property
    def output_len(self) -> int:
        return self.engine_request.max_tokens

    @property
    def context(self) -> int:
        """Its tokens when it ends."""
        return len(self.engine_request.prompt_token_ids) + self.output_len


@dataclass(frozen=True, slots=True)
class Output:
    """What came of a request: token ids, text, or both, as the layer has it; and how many tokens."""

    num_tokens: int
    token_ids: list[int] | None = None
    text: str | None = None


class RequestMaker:
    """Turns a workload's rounds into requests for one model."""

    def __init__(self, runtime: Runtime, workload: Workload) -> None:
        """Raises:
        ConfigError: the tokenizer has no words.
        """
        self._runtime = runtime
        self._workload = workload.with_tokenizer(runtime.tokenizer.encode)
        self._words = find_words(runtime.tokenizer, runtime.source.config.vocab_size)

    def requests(self, round_index: int) -> list[LadderRequest]:
        """The requests of a round, the same ones whenever it is asked for.

        Raises:
            ConfigError: they depend on each other or on time.
            InvalidRequestError: they do not fit into the context.
        """
        found = self._workload.requests(len(self._words), round_index)
        if any(each.arrival or each.after is not None for each in found):
            raise ConfigError(
                f"the requests of {self._workload.name} arrive at times or after one another; the ladder "
                "needs a workload whose requests can run as soon as there is room, such as reference"
            )
        return [
            self._request(f"{round_index}-{i}", self._in_words(each.prompt), each.output_len)
            for i, each in enumerate(found)
        ]

    def _in_words(self, prompt: Sequence[int]) -> list[int]:
        return [self._words[token_id % len(self._words)] for token_id in prompt]

    def _request(self, request_id: str, prompt: list[int], output_len: int) -> LadderRequest:
        text = self._runtime.tokenizer.decode(prompt)
        if self._runtime.tokenizer.encode(text, add_special_tokens=False) != prompt:
            raise ConfigError(
                "the tokenizer reads its own words otherwise, so prompts cannot be sent as text"
            )
        params = SamplingParams(temperature=0.0, max_tokens=output_len, ignore_eos=True, stop=[STOP])
        return LadderRequest(self._runtime.inputs.process(request_id, prompt, params), text)


def find_words(tokenizer: Tokenizer, vocab_size: int) -> Sequence[int]:
    """Up to `NUM_WORDS` tokens, each a space and a word that is read as itself, after itself too.

    Raises:
        ConfigError: there are none.
    """
    known = list(range(min(vocab_size, tokenizer.vocab_size)))
    random.Random(0).shuffle(known)
    words: list[int] = []
    for token_id in known:
        if len(words) == NUM_WORDS:
            break
        pair = [token_id, token_id]
        text = tokenizer.token_text(token_id)
        is_word = text[:1] == " " and text[1:].isalpha() and token_id not in tokenizer.special_ids
        if is_word and tokenizer.encode(tokenizer.decode(pair), add_special_tokens=False) == pair:
            words.append(token_id)
    if not words:
        raise ConfigError("the tokenizer has no token that is a word by itself, of which to make prompts")
    return words
