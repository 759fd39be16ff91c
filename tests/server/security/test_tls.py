"""TLS with certificates made for the test: what a client must trust and show, and files that cannot work."""

import socket
import ssl

import httpx
import pytest

from gradus.errors import ConfigError
from gradus.server.security.tls import TlsFiles
from gradus.server.settings import ServerSettings
from tests.server.certificates import make_certificates, openssl
from tests.server.harness import say, serving


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_certificates(tmp_path_factory.mktemp("tls"))


def options(folder, **more):
    return {"ssl_certfile": str(folder / "server.pem"), "ssl_keyfile": str(folder / "server.key"), **more}


def trusting(folder, client=None):
    context = ssl.create_default_context(cafile=folder / "ca.pem")
    if client is not None:
        context.load_cert_chain(folder / f"{client}.pem", folder / f"{client}.key")
    return context


def ask(server, context):
    url = server.url.replace("http:", "https:")
    return httpx.post(f"{url}/v1/completions", json={"prompt": "Hi"}, verify=context, timeout=30)


def test_who_trusts_the_authority_is_answered_and_nobody_else(folder):
    with serving(say("Hello."), **options(folder)) as server:
        assert ask(server, trusting(folder)).json()["choices"][0]["text"] == "Hello."
        with pytest.raises(httpx.ConnectError):
            ask(server, ssl.create_default_context())
        with pytest.raises(httpx.HTTPError):  # no TLS
            httpx.get(f"{server.url}/health")


def test_clients_need_a_certificate_where_it_is_asked_for(folder):
    with serving(say("Hello."), **options(folder, ssl_ca_certs=str(folder / "ca.pem"))) as server:
        assert ask(server, trusting(folder, "client")).status_code == 200
        with pytest.raises(httpx.HTTPError):
            ask(server, trusting(folder))


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_old_versions_are_refused(folder):
    with serving(say("Hello."), **options(folder)) as server:
        context = trusting(folder)
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.maximum_version = ssl.TLSVersion.TLSv1_1
        port = int(server.url.rsplit(":", 1)[1])
        with socket.create_connection(("127.0.0.1", port), timeout=20) as plain, pytest.raises(OSError):
            context.wrap_socket(plain, server_hostname="localhost").recv(1)


def test_files_that_cannot_work_are_named_at_once(folder):
    assert TlsFiles.of(ServerSettings()) is None
    openssl(folder, "ec", "-in", "server.key", "-aes128", "-passout", "pass:x", "-out", "locked.key")
    cases = [
        (options(folder, ssl_keyfile=None), "both"),
        (options(folder, ssl_certfile=None), "both"),
        ({"ssl_ca_certs": "x"}, "both"),
        (options(folder, ssl_certfile=str(folder / "none")), "none"),
        (options(folder, ssl_keyfile=str(folder / "client.key")), "client.key"),
        (options(folder, ssl_keyfile=str(folder / "locked.key")), "without a password"),
        (options(folder, ssl_ca_certs=str(folder / "names")), "ssl_ca_certs"),
    ]
    for given, word in cases:
        with pytest.raises(ConfigError, match=word):
            TlsFiles.of(ServerSettings(**given))


def test_contents_are_for_servers_that_take_no_names(folder):
    files = TlsFiles.of(ServerSettings(**options(folder, ssl_ca_certs=str(folder / "ca.pem"))))
    key, certificate, authority = files.read()
    assert b"PRIVATE KEY" in key
    assert b"CERTIFICATE" in certificate
    assert b"CERTIFICATE" in authority
