"""docs/configuration.md lists every setting, with its default and what it is for."""

from pathlib import Path

from gradus.cli.serve import SETTINGS
from gradus.options import settings_of
from gradus.server.settings import ServerSettings
from tests.cli.test_sources import configuration

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def row(setting):
    value = setting.default
    shown = "" if value is None or value == () else str(value).lower() if setting.kind is bool else f"{value}"
    return f"| `{setting.name}` | {shown} | {setting.option.help} |"


def table():
    return "\n".join(["| setting | default | |", "|---|---|---|", *map(row, SETTINGS.values())]) + "\n"


def test_the_page_ends_with_the_table_of_what_is_declared():
    """Where it fails after a change of a setting, the table to put there is what it prints."""
    text = PAGE.read_text()
    print(table())
    assert text.partition("## Every setting\n\n")[2] == table()


def test_the_example_is_a_file_that_works(tmp_path):
    example = PAGE.read_text().split("```yaml\n")[1].split("```")[0]
    values = configuration(file=example, tmp=tmp_path)
    from_file = {name: given.value for name, given in values.items() if "gradus.yaml line" in given.source}
    assert from_file == {
        "model": "demo",
        "port": 8080,
        "max_model_len": 4000,
        "api_key_file": "/etc/gradus/keys.yaml",
        "allowed_origins": ("https://chat.example.org",),
    }


def test_limits_that_refuse_are_explained():
    text = PAGE.read_text()
    for name in settings_of(ServerSettings):
        if name.startswith(("key_", "max_num_queued")) or name.endswith("_timeout"):
            assert text.count(f"`{name}`") >= 2, name
