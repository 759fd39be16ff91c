"""Which backends exist, imported late: torch is loaded only by those who ask for it."""

from collections.abc import Callable
from importlib import import_module

from gradus.batch import Backend
from gradus.errors import ConfigError

_BACKENDS: dict[str, str] = {
    "native": "gradus.backends.native.backend:NativeBackend",
    "torch": "gradus.backends.torch.backend:TorchBackend",
}


def backend_class(name: str) -> Callable[..., Backend]:
    """The constructor of a backend; see `gradus.backends.options` for its arguments.

    Raises:
        ConfigError: no such backend, or what it needs is not installed.
    """
    if name not in _BACKENDS:
        raise ConfigError(f"backend is {name!r}; it must be one of {', '.join(sorted(_BACKENDS))}")
    module, _, attribute = _BACKENDS[name].partition(":")
    try:
        return getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ConfigError(
            "the torch backend needs PyTorch: pip install 'gradus[dev]' or 'gradus[cuda]'"
        ) from error
