"""Who is asking: API keys, the clients that they stand for, and what each of those may do.

Keys are kept as SHA-256 digests only. Knows nothing of HTTP or gRPC; both hand over what was presented.
"""

import hmac
import logging
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from gradus.errors import AuthenticationError, ConfigError, PermissionDeniedError
from gradus.options import check_settings, option, settings_of
from gradus.server.settings import ServerSettings

logger = logging.getLogger("gradus.server")

_KEY = re.compile(r"[!-~]+")  # what a header can carry unchanged
_NAME = re.compile(r"[A-Za-z0-9._@-]{1,64}")  # fit for logs and labels
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientLimits:
    """What one client may ask for; None: as much as the server gives."""

    max_concurrent_requests: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None  # prompt and output


NO_LIMITS = ClientLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Somebody whom the server knows by name, or everybody else."""

    name: str
    is_admin: bool = False
    limits: ClientLimits = NO_LIMITS

    def check_admin(self) -> None:
        """Raises PermissionDeniedError."""
        if not self.is_admin:
            raise PermissionDeniedError(
                "this needs an admin's key: one of --admin-api-key, or of an entry with admin: true in the "
                "key file"
            )

    @property
    def is_known(self) -> bool:
        """Whether a key says who it is."""
        return self.name != _ANONYMOUS


_ANONYMOUS = "anonymous"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyEntry:
    """One entry of a key file."""

    name: str = option("", "the client's")
    key: str | None = option(None, "the key itself", is_secret=True)
    key_sha256: str | None = option(None, "or its SHA-256 in hexadecimal")
    admin: bool = option(False, "may use admin routes")
    max_concurrent_requests: int | None = option(None, "at once", least=1)
    requests_per_minute: int | None = option(None, "on average", least=1)
    tokens_per_minute: int | None = option(None, "on average", least=1)

    def __post_init__(self) -> None:
        check_settings(self)
        if not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"name is {self.name!r}; it must be 1 to 64 letters, digits, or characters of . _ @ -"
            )
        if (self.key is None) == (self.key_sha256 is None):
            raise ConfigError("it must have either key or key_sha256")
        if self.key is not None and not _KEY.fullmatch(self.key):
            raise ConfigError("key must be one or more printable ASCII characters without spaces")
        if self.key_sha256 is not None and not _DIGEST.fullmatch(self.key_sha256):
            raise ConfigError("key_sha256 must be 64 hexadecimal digits in lower case")

    @property
    def digest(self) -> bytes:
        return _digest_of(self.key) if self.key is not None else bytes.fromhex(self.key_sha256 or "")


class Keys:
    """The keys of a server. Without any that are not admins', everybody is let in as `anonymous`."""

    def __init__(
        self, clients: Mapping[bytes, Client], *, is_open: bool, limits: ClientLimits = NO_LIMITS
    ) -> None:
        """`clients` by their keys' SHA-256 digests; `limits` are those of who needs no key."""
        self._clients = dict(clients)
        self.is_open = is_open
        self.anonymous = Client(name=_ANONYMOUS, limits=limits)

    @classmethod
    def load(cls, settings: ServerSettings) -> "Keys":
        """The keys that the settings name, and those in their file.

        Raises:
            ConfigError: a key or the file cannot work.
        """
        limits = ClientLimits(
            max_concurrent_requests=settings.key_max_concurrent_requests,
            requests_per_minute=settings.key_requests_per_minute,
            tokens_per_minute=settings.key_tokens_per_minute,
        )
        entries = [
            (KeyEntry(name=f"{kind}-{i}", key=key, admin=kind == "admin"), f"{kind} key {i}")
            for kind, given in (("api", settings.api_key), ("admin", settings.admin_api_key))
            for i, key in enumerate(given, 1)
        ]
        if settings.api_key_file is not None:
            entries += read_key_file(settings.api_key_file)
        clients: dict[bytes, Client] = {}
        for entry, place in entries:
            if entry.name == _ANONYMOUS or any(entry.name == client.name for client in clients.values()):
                raise ConfigError(f"{place}: the name {entry.name!r} is taken; give each key its own")
            if entry.digest in clients:
                raise ConfigError(
                    f"{place}: {clients[entry.digest].name} has the same key; give each its own"
                )
            clients[entry.digest] = _client(entry, limits)
        is_open = not settings.api_key and settings.api_key_file is None
        return cls(clients, is_open=is_open, limits=limits)

    @property
    def has_admin(self) -> bool:
        return any(client.is_admin for client in self._clients.values())

    def authenticate(self, presented: str | None) -> Client:
        """Whose key this is. Every known key is compared, in constant time.

        Raises:
            AuthenticationError: nobody's, on a server that needs one.
        """
        digest = _digest_of(presented or "")
        found: Client | None = None
        for known, client in self._clients.items():
            if hmac.compare_digest(known, digest):
                found = client
        if found is not None:
            return found
        if self.is_open:
            return self.anonymous
        what = "there is no API key" if presented is None else "the API key is not known here"
        raise AuthenticationError(f"{what}; send one as Authorization: Bearer KEY or as x-api-key: KEY")


def presented_key(authorization: str | None, x_api_key: str | None) -> str | None:
    """The key in the values of these two headers; the first comes first."""
    scheme, _, key = (authorization or "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else x_api_key


def read_key_file(path: str) -> list[tuple[KeyEntry, str]]:
    """The entries of a YAML list of keys, each with words for where it stands.

    Raises:
        ConfigError: the file cannot be read, or an entry cannot work.
    """
    import yaml

    try:
        with open(path, encoding="utf-8") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                logger.warning("others may read the key file %s; chmod 600 keeps them from it", path)
            listed = yaml.safe_load(file)
    except OSError as error:
        raise ConfigError(f"the key file {path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError):  # the error would show what is in the file
        raise ConfigError(f"the key file {path} is not YAML") from None
    if not isinstance(listed, list) or not listed:
        raise ConfigError(f"the key file {path} must be a list of entries with name and key")
    return [
        (_read_entry(entry, f"{path}: entry {i}"), f"{path}: entry {i}") for i, entry in enumerate(listed, 1)
    ]


def _read_entry(entry: Any, place: str) -> KeyEntry:
    known = settings_of(KeyEntry)
    if not isinstance(entry, dict):
        raise ConfigError(f"{place} must be a mapping with name and key")
    values: dict[str, Any] = {}
    for name, value in entry.items():
        if name not in known:
            raise ConfigError(f"{place} has {str(name)[:40]!r}; it may have {', '.join(known)}")
        try:
            is_number_in_words = isinstance(value, str) and known[name].kind is int
            values[name] = known[name].parse(value) if is_number_in_words else value
        except ValueError as error:
            raise ConfigError(f"{place}: {name} is {known[name].shown(value)}; {error}") from None
    try:
        return KeyEntry(**values)
    except ConfigError as error:
        raise ConfigError(f"{place}: {error}") from None


def _client(entry: KeyEntry, defaults: ClientLimits) -> Client:
    def limit(name: str) -> Any:
        own = getattr(entry, name)
        return getattr(defaults, name) if own is None else own

    limits = ClientLimits(**{name: limit(name) for name in ClientLimits.__slots__})
    return Client(name=entry.name, is_admin=entry.admin, limits=limits)


def _digest_of(key: str) -> bytes:
    return sha256(key.encode("utf-8", "surrogatepass")).digest()
