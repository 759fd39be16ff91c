"""The prefix cache keeps salts apart: a hit is within one salt, and as long as without any."""

from array import array
from hashlib import blake2b

from hypothesis import given
from hypothesis import strategies as st

from gradus.engine.block_pool import HASH_BYTES, NO_PARENT, hash_block, root_hash
from tests.engine.harness import BLOCK_SIZE, make_core, make_request, run_and_check

SALTS = st.sampled_from(["", "a", "b", "ab"])
PROMPTS = st.lists(st.integers(1, 2), min_size=1, max_size=3 * BLOCK_SIZE)


def common_blocks(one, other):
    """Leading full blocks that two sequences share, in tokens."""
    length = 0
    while one[length : length + BLOCK_SIZE] == other[length : length + BLOCK_SIZE]:
        if length + BLOCK_SIZE > min(len(one), len(other)):
            break
        length += BLOCK_SIZE
    return length


@given(st.lists(st.tuples(PROMPTS, SALTS), min_size=2, max_size=8))
def test_a_hit_is_the_longest_within_its_own_salt_and_never_another_ones(requests):
    core = make_core(num_blocks=256)
    known = []
    for i, (prompt, salt) in enumerate(requests):
        request = make_request(f"r{i}", prompt, max_tokens=2, cache_salt=salt)
        recorder = run_and_check(core, [request])  # the tokens are the oracle's, whatever was found
        found = recorder.last[f"r{i}", 0].metrics.num_cached_prompt_tokens
        best = max((common_blocks(prompt[:-1], old) for old, theirs in known if theirs == salt), default=0)
        assert found == best
        known.append((prompt + recorder.token_ids[f"r{i}", 0][:-1], salt))


def test_choices_of_a_salted_request_share_its_prompt():
    core = make_core()
    prompt = list(range(1, 10))
    recorder = run_and_check(core, [make_request("r", prompt, n=3, temperature=1.0, cache_salt="a")])
    assert [recorder.last["r", i].metrics.num_cached_prompt_tokens for i in (1, 2)] == [8, 8]


def test_no_salt_costs_nothing_and_no_salt_looks_like_a_block():
    assert root_hash("") == NO_PARENT
    tokens = [65, 66, 67, 68]
    as_text = array("i", tokens).tobytes().decode()
    assert blake2b(as_text.encode(), digest_size=HASH_BYTES).digest() == hash_block(NO_PARENT, tokens)
    assert root_hash(as_text) != hash_block(NO_PARENT, tokens)
    assert len({root_hash(salt) for salt in ("", "a", "b", "ab", "a\0", "\udcff")}) == 6
