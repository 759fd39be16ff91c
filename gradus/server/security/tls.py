"""TLS for every server of the process: one certificate, and if wanted, only clients that have one too.

Knows files; HTTP takes their names, gRPC their contents.
"""

from dataclasses import dataclass
from pathlib import Path

from gradus.errors import ConfigError
from gradus.server.settings import ServerSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """Names of PEM files. With `ca_certs`, a client must show a certificate that one of them signed."""

    certfile: str
    keyfile: str
    ca_certs: str | None = None

    @classmethod
    def of(cls, settings: ServerSettings) -> "TlsFiles | None":
        """The settings' files, found to work together; None: without TLS.

        Raises:
            ConfigError: one is missing, cannot be read, or does not belong to the others.
        """
        certfile, keyfile = settings.ssl_certfile, settings.ssl_keyfile
        if certfile is None or keyfile is None:
            for name in ("ssl_certfile", "ssl_keyfile", "ssl_ca_certs"):
                if getattr(settings, name) is not None:
                    raise ConfigError(f"{name} is set; TLS needs both ssl_certfile and ssl_keyfile")
            return None
        files = cls(certfile=certfile, keyfile=keyfile, ca_certs=settings.ssl_ca_certs)
        files._check()
        return files

    def read(self) -> tuple[bytes, bytes, bytes | None]:
        """Private key, certificate chain and, where clients need certificates, who may sign them."""
        ca_certs = None if self.ca_certs is None else Path(self.ca_certs).read_bytes()
        return Path(self.keyfile).read_bytes(), Path(self.certfile).read_bytes(), ca_certs

    def _check(self) -> None:
        import ssl

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self.certfile, self.keyfile, password=_no_password)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"TLS with ssl_certfile {self.certfile} and ssl_keyfile {self.keyfile} cannot work: {error}; "
                "both must be PEM files, and the key that of the first certificate, without a password"
            ) from error
        try:
            if self.ca_certs is not None:
                context.load_verify_locations(self.ca_certs)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"ssl_ca_certs {self.ca_certs} is no PEM file of certificates: {error}"
            ) from error


def _no_password() -> str:
    raise ValueError("the key is encrypted")
