"""Where settings come from: which source wins, and how a wrong name or value is refused in each of them."""

import json
import os
import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gradus.cli import serve
from gradus.cli.main import build_parser
from gradus.cli.sources import show
from gradus.errors import ConfigError
from gradus.options import settings_of
from gradus.server.settings import ServerSettings
from tests.cli.harness import gradus

SECRETS = [name for name, setting in serve.SETTINGS.items() if setting.option.is_secret]

# A few settings of each kind, with values that all sources can write and that differ from the defaults.
VALUES = {
    "port": st.integers(1, 7999),
    "max_num_seqs": st.integers(1, 63),
    "enable_prefix_caching": st.just(False),
    "enforce_eager": st.just(True),
    "scheduling": st.just("separated"),
    "shutdown_timeout": st.floats(5.5, 100),
    "ssl_keyfile": st.text("abcxyz-", min_size=1).filter(lambda text: not text.startswith("-")),
    "allowed_origins": st.lists(st.sampled_from(["http://a", "http://b"]), min_size=1).map(tuple),
}


def configuration(*flags, environment=None, file=None, tmp=None):
    """What `gradus serve` makes of its three sources."""
    if file is not None:
        path = tmp / "gradus.yaml"
        path.write_text(file if isinstance(file, str) else yaml.safe_dump(file))
        flags = (*flags, "--config", str(path))
    args = build_parser("serve").parse_args(["serve", *flags])
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("GRADUS_")]:
            patch.delenv(name)
        for name, value in (environment or {}).items():
            patch.setenv(name, value)
        return serve.configuration(args)


def refusal(*flags, **sources):
    with pytest.raises(ConfigError) as refused:
        configuration(*flags, **sources)
    return str(refused.value)


def as_flags(values):
    flags = []
    for name, value in values.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            flags.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            for item in value if isinstance(value, tuple) else (value,):
                flags.append(f"--{flag}={item}")
    return flags


def as_text(value):
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


subsets = st.fixed_dictionaries({}, optional=VALUES)


@given(flags=subsets, environment=subsets, file=subsets)
def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path_factory, flags, environment, file):
    listed = {name: list(value) if isinstance(value, tuple) else value for name, value in file.items()}
    values = configuration(
        *as_flags(flags),
        environment={f"GRADUS_{name.upper()}": as_text(value) for name, value in environment.items()},
        file=listed,
        tmp=tmp_path_factory.getbasetemp(),
    )
    assert set(values) == set(serve.SETTINGS)
    for name, setting in serve.SETTINGS.items():
        layers = [("flag", flags), ("environment", environment), (str(tmp_path_factory), file)]
        source, expected = next(
            ((kind, layer[name]) for kind, layer in layers if name in layer), ("default", setting.default)
        )
        assert values[name].value == expected
        if source in ("flag", "environment", "default"):
            assert values[name].source.startswith(source)
        else:
            assert "gradus.yaml line" in values[name].source


def test_a_model_has_several_names(tmp_path):
    for flags in (["a", "b"], ["a", "--served-model-name", "b"], ["a,b"]):
        assert configuration("--served-model-name", *flags)["served_model_name"].value == ("a", "b")
    assert configuration(environment={"GRADUS_SERVED_MODEL_NAME": "a,b"})["served_model_name"].value == (
        "a",
        "b",
    )
    for file in ({"served_model_name": ["a", "b"]}, {"served_model_name": "a, b"}):
        assert configuration(file=file, tmp=tmp_path)["served_model_name"].value == ("a", "b")


def test_names_may_have_dashes_or_underscores(tmp_path):
    assert gradus("serve", "--max_num_seqs=7", "--show_config").stdout.count("max_num_seqs: 7 ") == 1
    assert configuration(file={"max-num-seqs": 9}, tmp=tmp_path)["max_num_seqs"].value == 9


@pytest.mark.parametrize(
    ("text", "number"), [("1k", 1000), ("1K", 1024), ("2M", 2 << 20), ("2m", 2_000_000), ("1.5k", 1500)]
)
def test_numbers_have_vllms_suffixes(tmp_path, text, number):
    for values in (
        configuration("--max-model-len", text),
        configuration(environment={"GRADUS_MAX_MODEL_LEN": text}),
        configuration(file={"max_model_len": text}, tmp=tmp_path),
    ):
        assert values["max_model_len"].value == number


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("port", "eighty", ["integer", "0", "65,535"]),
        ("port", "65536", ["65,535"]),
        ("max_num_seqs", "0", ["1 or more"]),
        ("max_num_seqs", "1.5", ["integer"]),
        ("max_num_seqs", "1.0001k", ["integer"]),
        ("shutdown_timeout", "soon", ["number"]),
        ("shutdown_timeout", "nan", ["number"]),
        ("enforce_eager", "maybe", ["true or false"]),
        ("scheduling", "random", ["mixed", "separated"]),
        ("block_size", "12", ["16", "128"]),
    ],
)
def test_a_wrong_value_is_named_with_its_source_and_what_works(tmp_path, name, text, words):
    variable = f"GRADUS_{name.upper()}"
    said = refusal(environment={variable: text})
    assert all(word in said for word in [variable, text, *words])
    said = refusal(file=f"\n{name}: {text}\n", tmp=tmp_path)
    assert all(word in said for word in [name, "gradus.yaml line 2", text, *words])
    if name not in ("enforce_eager", "scheduling", "block_size"):  # the parser knows the values of these
        said = refusal(f"--{name.replace('_', '-')}", text)
        assert all(word in said for word in [f"--{name.replace('_', '-')}", text, *words])


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("prot: 1", ["line 1", "'prot'", "port"]),
        ("port: 1\nhost: x\nport: 2", ["line 3", "port", "line 1"]),
        ("port: [1", ["not YAML"]),
        ("- port", ["port: 8000"]),
        ("port: true", ["port", "True", "integer"]),
        ("served_model_name: 7", ["served_model_name", "7", "quotes"]),
        ("enforce_eager: 1", ["enforce_eager", "true or false"]),
        ("[1, 2]: 3", ["[1, 2]", "no setting"]),
        ("allowed_origins: [1]", ["allowed_origins", "list of texts"]),
        ("port: !!python/object/apply:os.getpid []", ["not YAML"]),
    ],
)
def test_a_file_is_read_strictly(tmp_path, file, words):
    said = refusal(file=file, tmp=tmp_path)
    assert all(word in said for word in words), said


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    assert "none.yaml" in refusal("--config", str(tmp_path / "none.yaml"))
    assert "none.yaml" in refusal(environment={"GRADUS_CONFIG": str(tmp_path / "none.yaml")})
    assert configuration(file="# nothing\n", tmp=tmp_path)["port"].value == 8000


def test_the_environment_is_read_strictly():
    assert "GRADUS_PORT" in refusal(environment={"GRADUS_PROT": "1"})
    assert "without a value" in refusal(environment={"GRADUS_HOST": ""})
    assert "enableServiceLinks" in refusal(environment={"GRADUS_PORT": "tcp://10.0.0.1:80"})
    assert "enableServiceLinks" in refusal(environment={"GRADUS_SERVICE_HOST": "10.0.0.1"})
    others = {"GRADUS_CPU": "portable", "GRADUS_CACHE": "/x", "GRADUS_CACHE_SIZE": "1G"}
    assert configuration(environment=others)["port"].source == "default"


def test_what_is_shown_is_a_file_that_says_the_same(tmp_path):
    flags = ["--port", "7", "--no-prefix-caching", "--allowed-origins", "http://a", "--max-model-len", "2K"]
    printed = gradus("serve", "tiny", *flags, "--show-config")
    assert printed.returncode == 0, printed.stderr
    assert "port: 7 " in printed.stdout
    assert "# flag --port" in printed.stdout
    assert re.search("model: .* # argument MODEL", printed.stdout)
    shown = yaml.safe_load(printed.stdout)
    assert set(shown) == set(serve.SETTINGS)
    (tmp_path / "again.yaml").write_text(printed.stdout)
    again = configuration("--config", str(tmp_path / "again.yaml"))
    assert {name: each.value for name, each in again.items()} == {
        name: tuple(value) if isinstance(value, list) else value for name, value in shown.items()
    }


def test_every_setting_can_be_set_in_every_way():
    """A setting is one declaration; nothing but it is needed for a flag, a variable and a key."""
    for name, setting in settings_of(ServerSettings).items():
        if setting.choices:
            text = str(setting.choices[-1])
        else:
            text = {bool: "true", int: "3", float: "3", str: "x", tuple: "x"}[setting.kind]
        from_environment = configuration(environment={f"GRADUS_{name.upper()}": text})[name].value
        flag = f"--{name.replace('_', '-')}"
        from_flag = configuration(*([flag] if setting.kind is bool else [flag, text]))[name].value
        assert from_environment == from_flag == setting.parse(text)
        assert json.dumps(from_flag)


@pytest.mark.parametrize("name", SECRETS)
def test_a_shown_configuration_does_not_become_one_with_the_mask_as_its_secret(tmp_path, name):
    shown = show(serve.SETTINGS, configuration(environment={f"GRADUS_{name.upper()}": "hush"}))
    message = refusal(file=shown, tmp=tmp_path)
    assert f"{name} is ***" in message
    assert "stands for a secret that is not shown" in message
