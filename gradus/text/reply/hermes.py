"""Calls as Hermes and Qwen models write them: `<tool_call>{"name": ..., "arguments": {...}}</tool_call>`.

Source: the model cards of NousResearch/Hermes-2-Pro and Qwen/Qwen3, and their chat templates.
"""

from gradus.text.reply.call_parser import SPACES, CallParser

OPENING, CLOSING = "<tool_call>", "</tool_call>"


class HermesParser(CallParser):
    mark = OPENING

    def _after_call(self) -> bool:
        rest = self._text.lstrip(SPACES)
        if rest.startswith(CLOSING):
            self._text = rest.removeprefix(CLOSING)
        elif CLOSING.startswith(rest):
            return False
        self._state = self._in_content
        return True
