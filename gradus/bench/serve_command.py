"""The command line of `gradus serve` for a configuration."""

from typing import Any

from gradus.bench.child_process import own_command
from gradus.config import EngineConfig
from gradus.options import settings_of


def serve_command(config: EngineConfig) -> list[str]:
    """Flags for what differs from the defaults; the port is not among them."""
    command = own_command("gradus", "serve", config.model)
    for name, setting in settings_of(EngineConfig).items():
        value = getattr(config, name)
        if name != "model" and value != setting.default:
            command += to_flag(name.replace("_", "-"), value)
    return command


def to_flag(name: str, value: Any) -> list[str]:
    """`--name value`, or `--name` and `--no-name` of what is on or off."""
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    return [f"--{name}", str(value)]
