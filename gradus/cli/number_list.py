"""Flags that take several numbers: `--streams 1,8,64`."""

from gradus.errors import ConfigError


def number_list(name: str, text: str) -> tuple[int, ...]:
    """Numbers of 1 or more, with commas between; `name` is the flag's, without dashes.

    Raises:
        ConfigError: the text is something else.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise ConfigError(f"--{name} is {text!r}; it must be numbers of 1 or more with commas between")
    return tuple(int(part) for part in parts)
