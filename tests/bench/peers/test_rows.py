"""The comparison's rows."""

import pytest

from gradus.bench.peers.rows import PEER_ENGINES, ROWS, find_rows
from gradus.errors import ConfigError


def test_rows_are_found_by_name_in_the_order_given():
    assert [row.name for row in find_rows("wide, ttft")] == ["wide", "ttft"]
    assert find_rows(None) == list(ROWS.values())
    with pytest.raises(ConfigError, match="decode-4bit"):
        find_rows("wide,no-such-row")


def test_every_row_compares_gradus_with_a_peer():
    for row in ROWS.values():
        assert row.ours.engine.startswith("gradus")
        assert row.peers
        assert all(peer.engine in PEER_ENGINES for peer in row.peers)
        over_http = [side.engine.endswith("-server") for side in row.sides]
        assert len(set(over_http)) == 1, f"{row.name} compares a server with what is none"


@pytest.mark.parametrize(
    ("name", "lower"), [("ttft", True), ("memory", True), ("startup", True), ("wide", False)]
)
def test_which_direction_is_better(name, lower):
    assert ROWS[name].lower_is_better is lower
