"""`gradus completion SHELL`: completion scripts, made from the commands' own parsers.

A script holds words only and asks no Python when a key is pressed. After the command's name it completes
flags, the values of flags that have a fixed set, and file names elsewhere.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from gradus.cli import exit_codes

INSTALL = {
    "bash": 'eval "$(gradus completion bash)"    in ~/.bashrc',
    "zsh": 'eval "$(gradus completion zsh)"    in ~/.zshrc, after compinit',
    "fish": "gradus completion fish | source    in ~/.config/fish/config.fish",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "To install:\n" + "\n".join(f"  {line}" for line in INSTALL.values())
    parser.add_argument("shell", choices=sorted(INSTALL))


def run(args: argparse.Namespace) -> int:
    from gradus.cli.main import COMMANDS, build_parser

    commands = list(walk(build_parser(*COMMANDS), ()))
    print(_SCRIPTS[args.shell](commands))
    return exit_codes.DONE


@dataclass(frozen=True, slots=True)
class Command:
    """A command's words: what may follow it, and which values its flags take."""

    path: tuple[str, ...]  # ("bench", "decode"); empty: gradus itself
    help: str
    subcommands: dict[str, str]  # name -> help
    flags: dict[str, str]  # flag -> help
    choices: dict[str, tuple[str, ...]]  # flag -> values
    free_flags: tuple[str, ...]  # take a value of which only the kind is known: a file's name, perhaps
    positional_choices: tuple[str, ...]


def walk(parser: argparse.ArgumentParser, path: tuple[str, ...], purpose: str = "") -> Iterator[Command]:
    """The parser's command and those below it."""
    subcommands: dict[str, argparse.ArgumentParser] = {}
    helps: dict[str, str] = {}
    flags: dict[str, str] = {}
    choices: dict[str, tuple[str, ...]] = {}
    positional: tuple[str, ...] = ()
    free: list[str] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            subcommands = dict(action.choices)
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
        elif action.option_strings:
            flags.update(dict.fromkeys(action.option_strings, _help(action)))
            if action.choices is not None:
                choices.update(dict.fromkeys(action.option_strings, tuple(map(str, action.choices))))
            elif action.nargs != 0:
                free += action.option_strings
        elif action.choices is not None:
            positional = tuple(map(str, action.choices))
    yield Command(path, purpose, helps, flags, choices, tuple(free), positional)
    for name, child in subcommands.items():
        yield from walk(child, (*path, name), helps.get(name, ""))


def _help(action: argparse.Action) -> str:
    return (action.help or "").replace("%(default)s", str(action.default)).replace("%%", "%")


def _words(command: Command) -> str:
    return " ".join([*command.subcommands, *command.positional_choices, *command.flags])


def bash(commands: list[Command]) -> str:
    """A function for bash's `complete`; zsh runs it too, through bashcompinit."""
    words = "\n".join(f'    "{" ".join(c.path)}") words="{_words(c)}" ;;' for c in commands)
    values = "\n".join(
        f'    "{" ".join(c.path)} {flag}") words="{" ".join(allowed)}" ;;'
        for c in commands
        for flag, allowed in c.choices.items()
    )
    free = "|".join(f'"{" ".join(c.path)} {flag}"' for c in commands for flag in c.free_flags)
    known = " ".join(f'"{" ".join(c.path)}"' for c in commands if c.path)
    return f"""\
_gradus() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" previous="${{COMP_WORDS[COMP_CWORD - 1]}}"
  local command="" words="" i known candidate
  for ((i = 1; i < COMP_CWORD; i++)); do
    candidate="${{command:+$command }}${{COMP_WORDS[i]}}"
    for known in {known}; do
      [ "$candidate" = "$known" ] && command="$candidate"
    done
  done
  COMPREPLY=()
  case "$command $previous" in
    {free}) return ;;
{values}
  esac
  [ -n "$words" ] || case "$command" in
{words}
  esac
  while IFS= read -r candidate; do
    COMPREPLY+=("$candidate")
  done < <(compgen -W "$words" -- "$current")
}}
complete -o default -F _gradus gradus"""


def zsh(commands: list[Command]) -> str:
    return f"autoload -U +X bashcompinit && bashcompinit\n{bash(commands)}"


def fish(commands: list[Command]) -> str:
    """One `complete` per word, each under the condition that its command has been typed."""
    lines = ["complete -c gradus -e"]
    for command in commands:
        condition = _fish_condition(command)
        for name, purpose in command.subcommands.items():
            lines.append(f"complete -c gradus -f {condition} -a {name} -d {_fish_quoted(purpose)}")
        for value in command.positional_choices:
            lines.append(f"complete -c gradus -f {condition} -a {value}")
        for flag, purpose in command.flags.items():
            name = f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}"
            values = " -r" if flag in command.free_flags else ""
            if flag in command.choices:
                values = f" -x -a {_fish_quoted(' '.join(command.choices[flag]))}"
            lines.append(f"complete -c gradus {condition} {name}{values} -d {_fish_quoted(purpose)}")
    return "\n".join(lines)


def _fish_condition(command: Command) -> str:
    seen = [f"__fish_seen_subcommand_from {name}" for name in command.path]
    if command.subcommands:
        seen.append(f"not __fish_seen_subcommand_from {' '.join(command.subcommands)}")
    return f"-n '{'; and '.join(seen)}'" if seen else ""


def _fish_quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


_SCRIPTS: dict[str, Callable[[list[Command]], Any]] = {"bash": bash, "zsh": zsh, "fish": fish}
