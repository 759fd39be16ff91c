"""Where the cache is and how large, by the environment."""

from pathlib import Path

import pytest

from gradus.disk_cache.folder import DEFAULT_MAX_BYTES, cache_folder, cache_size
from gradus.errors import ConfigError


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"GRADUS_CACHE": "/x/y", "XDG_CACHE_HOME": "/z", "HOME": "/h"}, "/x/y"),
        ({"GRADUS_CACHE": "~/c", "HOME": "/h"}, "/h/c"),
        ({"GRADUS_CACHE": "", "XDG_CACHE_HOME": "/z", "HOME": "/h"}, "/z/gradus"),
        ({"XDG_CACHE_HOME": "relative", "HOME": "/h"}, "/h/.cache/gradus"),
        ({"HOME": "/h"}, "/h/.cache/gradus"),
    ],
)
def test_the_folder_follows_the_environment(monkeypatch, environment, expected):
    for name in ("GRADUS_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(expected)


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch):
    for name in ("GRADUS_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    with pytest.raises(ConfigError, match="GRADUS_CACHE"):
        cache_folder()


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("17", 17), ("1k", 1000), ("1.5M", 3 << 19), ("20G", 20 << 30), ("2T", 2 << 40)],
)
def test_sizes_have_units(monkeypatch, text, size):
    monkeypatch.setenv("GRADUS_CACHE_SIZE", text)
    assert cache_size() == size


@pytest.mark.parametrize("text", ["", "G", "many", "-1", "nan", "inf", "1e300G", "1 GB"])
def test_what_is_no_size_is_refused(monkeypatch, text):
    monkeypatch.setenv("GRADUS_CACHE_SIZE", text or "x")
    with pytest.raises(ConfigError, match="20G"):
        cache_size()


def test_the_default_size(monkeypatch):
    monkeypatch.delenv("GRADUS_CACHE_SIZE", raising=False)
    assert cache_size() == DEFAULT_MAX_BYTES
