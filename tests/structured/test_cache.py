"""The cache against a list that is searched from its end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradus.structured.cache import LruCache


@given(st.integers(1, 5), st.sampled_from([None, 0, 5, 12]), st.lists(st.integers(0, 8), max_size=60))
def test_the_cache_makes_what_the_most_recent_keys_do_not_have(max_entries, max_weight, keys):
    """A key is its own weight."""
    cache: LruCache[int, str] = LruCache(max_entries, max_weight)
    recent: list[int] = []  # least recently used first
    num_made = 0
    for key in keys:
        made = []
        value = cache.get_or_make(key, lambda key=key, made=made: made.append(key) or f"value {key}", key)
        num_made += len(made)
        assert value == f"value {key}"
        assert made == ([] if key in recent else [key])
        recent = ([k for k in recent if k != key] + [key])[-max_entries:]
        while max_weight is not None and sum(recent) > max_weight and len(recent) > 1:
            recent.pop(0)
        assert len(cache) == len(recent)
        assert all(k in cache for k in recent)


def test_who_fails_to_make_a_value_leaves_none():
    cache: LruCache[int, str] = LruCache(2)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            cache.get_or_make(1, lambda: 1 / 0)
    assert cache.get_or_make(1, lambda: "made") == "made"
