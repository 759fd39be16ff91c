"""`gradus serve` as an operator starts it: a file, keys, TLS, a template; and what is refused."""

import signal
import ssl
import subprocess
import sys

import httpx
import openai
import pytest
import yaml

from tests.cli.harness import gradus
from tests.server.certificates import make_certificates

TEMPLATE = "{{ bos_token }}{% for m in messages %}<<{{ m.content }}>>{% endfor %}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_model_path):
    """A certificate, keys, a template, and the configuration file that names them."""
    folder = make_certificates(tmp_path_factory.mktemp("operated"))
    (folder / "keys.yaml").write_text(
        "- {name: alice, key: alices-key}\n- {name: bob, key: bobs-key, requests_per_minute: 1}\n"
    )
    (folder / "keys.yaml").chmod(0o600)
    (folder / "template.jinja").write_text(TEMPLATE)
    settings = {
        "model": str(tiny_model_path),
        "port": 0,
        "served-model-name": "from-the-file",
        "max_model_len": "1k",
        "api_key_file": str(folder / "keys.yaml"),
        "ssl_certfile": str(folder / "server.pem"),
        "ssl_keyfile": str(folder / "server.key"),
        "chat_template": str(folder / "template.jinja"),
    }
    (folder / "gradus.yaml").write_text(yaml.safe_dump(settings))
    return folder


@pytest.fixture(scope="module")
def url(folder):
    command = [sys.executable, "-m", "gradus", "serve", "--config", str(folder / "gradus.yaml")]
    command += ["--served_model_name", "from-the-flag", "another"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        said = process.stdout.readline()
        assert said.startswith("from-the-flag is served at https://127.0.0.1:"), process.stderr.read()
        yield said.split(" at ")[1].split("/v1")[0]
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 0, errors
        assert "s-key" not in errors
    finally:
        process.kill()


@pytest.fixture(scope="module")
def context(folder):
    return ssl.create_default_context(cafile=folder / "ca.pem")


def client(url, context, key):
    http = httpx.Client(verify=context, timeout=60)
    return openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, http_client=http)


def test_all_that_the_file_says_is_so(url, context):
    alice = client(url, context, "alices-key")
    models = alice.models.list().data
    assert [(model.id, model.max_model_len) for model in models] == [
        ("from-the-flag", 1000),
        ("another", 1000),
    ]
    for model in models:
        assert alice.models.retrieve(model.id) == model
        assert alice.completions.create(model=model.id, prompt="Hi", max_tokens=1).model == "from-the-flag"
    with pytest.raises(openai.NotFoundError, match="'from-the-flag', 'another'"):
        alice.models.retrieve("from-the-file")
    headers = {"authorization": "Bearer alices-key"}
    body = {"messages": [{"role": "user", "content": "Hi"}], "return_token_strs": True}
    told = httpx.post(f"{url}/tokenize", json=body, headers=headers, verify=context, timeout=60).json()
    assert "".join(told["token_strs"]).endswith("<<Hi>>")


def test_keys_are_asked_for_and_limited(url, context):
    assert httpx.get(f"{url}/health", verify=context, timeout=60).status_code == 200
    with pytest.raises(openai.AuthenticationError):
        client(url, context, "carols-key").models.list()
    bob = client(url, context, "bobs-key")
    assert (
        bob.completions.create(model="from-the-flag", prompt="Hi", max_tokens=2).usage.completion_tokens == 2
    )
    with pytest.raises(openai.RateLimitError) as refused:
        bob.completions.create(model="from-the-flag", prompt="Hi", max_tokens=2)
    assert 1 <= int(refused.value.response.headers["retry-after"]) <= 60


def test_secrets_are_not_shown(folder):
    flags = ["--config", str(folder / "gradus.yaml"), "--api-key", "hush", "--admin-api-key", "hush-hush"]
    shown = gradus("serve", *flags, "--show-config")
    assert shown.returncode == 0
    assert "hush" not in shown.stdout
    assert yaml.safe_load(shown.stdout)["api_key"] == "***"
    assert "api_key_file" in shown.stdout
    assert "gradus.yaml line" in shown.stdout


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--api-key-file", "/no/such/keys"], ["/no/such/keys"]),
        (["--api-key", "with space"], ["without spaces"]),
        (["--ssl-certfile", "/no/such/file"], ["ssl_keyfile"]),
        (["--config", "/no/such/config"], ["/no/such/config"]),
        (["--chat-template", "/no/such/template"], ["chat_template", "/no/such/template"]),
        (["--request-timeout", "0"], ["--request-timeout", "0.001"]),
        (["--uds", "/no/such/folder/socket"], ["--uds"]),
    ],
)
def test_what_cannot_work_is_said_before_a_model_is_loaded(flags, words):
    refused = gradus("serve", "demo", "--port", "0", *flags)
    assert refused.returncode == 2
    assert all(word in refused.stderr for word in words), refused.stderr
    assert refused.stderr.count("\n") == 1
