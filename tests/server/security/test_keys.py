"""Keys: whose a key is, what a key file may say, and that nothing but digests is kept of them."""

import ast
import hashlib
import inspect
import logging
from pathlib import Path

import pytest

from gradus.errors import AuthenticationError, ConfigError, PermissionDeniedError
from gradus.server.security import keys as keys_module
from gradus.server.security.keys import ClientLimits, Keys, presented_key
from gradus.server.settings import ServerSettings

BOB_SHA256 = hashlib.sha256(b"bobs-key").hexdigest()
FILE = f"""
- name: alice
  key: alices-key
  requests_per_minute: 6
- name: bob
  key_sha256: {BOB_SHA256}
  admin: true
  tokens_per_minute: 2k
"""


def load(tmp_path=None, file=None, **settings):
    if file is not None:
        path = tmp_path / "keys.yaml"
        path.write_text(file)
        path.chmod(0o600)
        settings["api_key_file"] = str(path)
    return Keys.load(ServerSettings(**settings))


def test_a_key_says_who_is_asking_and_what_it_may(tmp_path):
    keys = load(
        tmp_path, FILE, api_key=("first", "second"), admin_api_key=("root",), key_tokens_per_minute=50
    )
    found = {key: keys.authenticate(key) for key in ("alices-key", "bobs-key", "first", "second", "root")}
    assert [client.name for client in found.values()] == ["alice", "bob", "api-1", "api-2", "admin-1"]
    assert [client.is_admin for client in found.values()] == [False, True, False, False, True]
    assert found["alices-key"].limits == ClientLimits(requests_per_minute=6, tokens_per_minute=50)
    assert found["bobs-key"].limits == ClientLimits(tokens_per_minute=2000)
    for wrong in (None, "", "alices-ke", "alices-key ", "Alices-key", BOB_SHA256, "é", "\udcff"):
        with pytest.raises(AuthenticationError) as refused:
            keys.authenticate(wrong)
        assert refused.value.reason == "unauthenticated"
        if wrong:
            assert wrong not in str(refused.value).split("; send")[0]


def test_without_keys_everybody_is_let_in_and_nobody_is_an_admin():
    keys = load(key_requests_per_minute=9)
    for key in (None, "none", "anything"):
        client = keys.authenticate(key)
        assert not client.is_known
        assert client.limits.requests_per_minute == 9
        with pytest.raises(PermissionDeniedError, match="--admin-api-key"):
            client.check_admin()
    with_admin = load(admin_api_key=("root",))
    assert not with_admin.authenticate("none").is_admin
    with_admin.authenticate("root").check_admin()


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("", ["list of entries"]),
        ("name: a", ["list of entries"]),
        ("- alice", ["entry 1", "mapping"]),
        ("- key: k", ["entry 1", "name"]),
        ("- {name: 'a b', key: k}", ["entry 1", "'a b'"]),
        ("- {name: a}", ["entry 1", "key_sha256"]),
        (f"- {{name: a, key: k, key_sha256: {BOB_SHA256}}}", ["either"]),
        ("- {name: a, key_sha256: abc}", ["64"]),
        ("- {name: a, key: 'hush hush'}", ["without spaces"]),
        ("- {name: a, key: 123}", ["key is ***", "text"]),
        ("- {name: a, key: hush, limit: 5}", ["'limit'", "tokens_per_minute"]),
        ("- {name: a, key: hush, requests_per_minute: 0}", ["requests_per_minute is 0", "1 or more"]),
        ("- {name: a, key: hush, requests_per_minute: many}", ["requests_per_minute", "'many'"]),
        ("- {name: a, key: x}\n- {name: a, key: hush}", ["entry 2", "'a' is taken"]),
        ("- {name: a, key: hush}\n- {name: b, key: hush}", ["entry 2", "same key"]),
        ("- {name: anonymous, key: hush}", ["taken"]),
        ("- {name: a, key: hush", ["not YAML"]),
    ],
)
def test_a_key_file_is_read_strictly_and_never_quoted(tmp_path, file, words):
    with pytest.raises(ConfigError) as refused:
        load(tmp_path, file)
    assert all(word in str(refused.value) for word in words), str(refused.value)
    assert "hush" not in str(refused.value)


def test_a_missing_key_file_is_no_open_server(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load(api_key_file=str(tmp_path / "none"))


def test_a_key_file_that_others_may_read_is_warned_of(tmp_path, caplog):
    load(tmp_path, FILE)
    assert not caplog.records
    (tmp_path / "keys.yaml").chmod(0o644)
    with caplog.at_level(logging.WARNING):
        Keys.load(ServerSettings(api_key_file=str(tmp_path / "keys.yaml")))
    assert "chmod 600" in caplog.text
    assert "alices-key" not in caplog.text


def test_keys_are_nowhere_in_what_is_kept_or_shown():
    settings = ServerSettings(api_key=("hush-1",), admin_api_key=("hush-2",))
    keys = Keys.load(settings)
    assert "hush" not in repr(settings) + repr(vars(keys)) + repr(keys.authenticate("hush-1"))


def test_keys_are_compared_in_constant_time_and_all_of_them():
    """By the code itself: the comparison is `hmac.compare_digest`, in a loop that nothing ends early."""
    tree = ast.parse(inspect.getsource(keys_module))
    (function,) = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == "authenticate"]
    (loop,) = [node for node in ast.walk(function) if isinstance(node, ast.For)]
    inside = list(ast.walk(loop))
    assert not [node for node in inside if isinstance(node, (ast.Break, ast.Return, ast.Raise, ast.Compare))]
    calls = [ast.unparse(node.func) for node in inside if isinstance(node, ast.Call)]
    assert "hmac.compare_digest" in calls


@pytest.mark.parametrize(
    ("authorization", "x_api_key", "expected"),
    [
        ("Bearer abc", None, "abc"),
        ("bearer  abc ", None, "abc"),
        (None, "xyz", "xyz"),
        ("Bearer abc", "xyz", "abc"),
        ("Basic abc", "xyz", "xyz"),
        ("Basic abc", None, None),
        ("abc", None, None),
        (None, None, None),
    ],
)
def test_where_a_key_is_presented(authorization, x_api_key, expected):
    assert presented_key(authorization, x_api_key) == expected


def test_the_key_file_on_the_page_is_one(tmp_path):
    page = (Path(__file__).parents[3] / "docs" / "security.md").read_text()
    example = page.split("```yaml\n")[1].split("```")[0]
    keys = load(tmp_path, example.replace("5e884898da28...", BOB_SHA256))
    client = keys.authenticate("bobs-key")
    assert (client.name, client.is_admin) == ("dashboard", True)
    assert client.limits == ClientLimits(
        max_concurrent_requests=4, requests_per_minute=60, tokens_per_minute=100_000
    )
    assert keys.authenticate("sk-3f9d...").name == "alice"
