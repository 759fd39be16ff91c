"""A cache of the test's own, and one entry."""

import pytest

from gradus.disk_cache.store import DiskCache, EntryKey


@pytest.fixture
def cache(tmp_path):
    return DiskCache(tmp_path / "cache", max_bytes=1 << 30)


@pytest.fixture
def key():
    return EntryKey("packed", "A model: int4", {"files": ["/a/b"]}, {"layout": 1, "files": [(1, 2, "x")]})
