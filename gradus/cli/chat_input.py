'''What a user types, as messages: a line, lines that end with a backslash, or a block between """ and """.'''

from collections.abc import Callable

QUOTES = '"""'

ReadLine = Callable[[str], str]
"""Shows a prompt and gives a line without its end; EOFError where there is none."""


class UnclosedBlockError(Exception):
    """The input ended inside a block."""


def read_message(read_line: ReadLine) -> tuple[str, bool]:
    """The next message, and whether it may be a command: one line that no backslash continued.

    Raises:
        EOFError: the input has ended.
        UnclosedBlockError: it ended inside a block.
    """
    line = read_line("> ")
    if line.lstrip().startswith(QUOTES):
        return _read_block(line.lstrip()[len(QUOTES) :], read_line), False
    if not line.endswith("\\"):
        return line.strip(), True
    lines = [line]
    while lines[-1].endswith("\\"):
        lines[-1] = lines[-1][:-1]
        try:
            lines.append(read_line(". "))
        except EOFError:
            break
    return "\n".join(lines).strip(), False


def _read_block(first: str, read_line: ReadLine) -> str:
    lines = [first]
    while not lines[-1].rstrip().endswith(QUOTES):
        try:
            lines.append(read_line(". "))
        except EOFError:
            raise UnclosedBlockError from None
    lines[-1] = lines[-1].rstrip()[: -len(QUOTES)]
    return "\n".join(lines).strip("\n")
