"""The block pool against a model of it that is too simple to be wrong."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gradus.engine.block_pool import (
    NO_PARENT,
    BlockAccountingError,
    BlockHash,
    BlockPool,
    OutOfBlocksError,
    hash_block,
)


def content(name: int) -> BlockHash:
    return hash_block(NO_PARENT, [name])


class PoolMachine(RuleBasedStateMachine):
    """The model: the holders' block lists, a content per block, the free blocks in eviction order."""

    @initialize(num_blocks=st.integers(1, 8))
    def build(self, num_blocks: int) -> None:
        self.pool = BlockPool(num_blocks)
        self.tables: list[list[int]] = []
        self.content_of: dict[int, BlockHash] = {}
        self.free = list(range(num_blocks))

    def held(self, block: int) -> int:
        return sum(table.count(block) for table in self.tables)

    @rule(num_blocks=st.integers(0, 9))
    def allocate(self, num_blocks: int) -> None:
        assert self.pool.can_allocate(num_blocks) == (num_blocks <= len(self.free))
        if num_blocks > len(self.free):
            with pytest.raises(OutOfBlocksError):
                self.pool.allocate(num_blocks)
            return
        blocks = self.pool.allocate(num_blocks)
        assert blocks == self.free[:num_blocks]
        del self.free[:num_blocks]
        for block in blocks:
            self.content_of.pop(block, None)
        self.tables.append(blocks)

    @precondition(lambda self: self.tables)
    @rule(data=st.data())
    def free_table(self, data: st.DataObject) -> None:
        table = self.tables.pop(data.draw(st.integers(0, len(self.tables) - 1)))
        self.pool.free(table)
        for block in reversed(table):
            if self.held(block) == 0:
                self.free.insert(len(self.free) if block in self.content_of else 0, block)

    @precondition(lambda self: self.tables)
    @rule(data=st.data(), name=st.integers(0, 5))
    def register(self, data: st.DataObject, name: int) -> None:
        held = sorted({block for table in self.tables for block in table})
        if not held:
            return
        block = data.draw(st.sampled_from(held))
        self.pool.register(block, content(name))
        if block not in self.content_of and content(name) not in self.content_of.values():
            self.content_of[block] = content(name)

    @rule(names=st.lists(st.integers(0, 5), unique=True, max_size=3))
    def share(self, names: list[int]) -> None:
        found = [self.pool.lookup(content(name)) for name in names]
        blocks = [block for block in found if block is not None]
        num_kept = sum(block in self.free for block in blocks)
        assert self.pool.can_allocate(len(self.free) - num_kept, keeping=blocks)
        assert not self.pool.can_allocate(len(self.free) - num_kept + 1, keeping=blocks)
        self.pool.touch(blocks)
        self.free = [block for block in self.free if block not in blocks]
        self.tables.append(blocks)

    @rule()
    def reset_cache(self) -> None:
        self.pool.reset_cache()
        self.content_of.clear()

    @invariant()
    def books_agree(self) -> None:
        if not hasattr(self, "pool"):
            return
        self.pool.check_integrity(self.tables)
        assert self.pool.num_free == len(self.free)
        assert self.pool.num_used == self.pool.num_blocks - len(self.free)
        assert self.pool.num_cached == len(self.content_of)
        for name in range(6):
            blocks = [block for block, held in self.content_of.items() if held == content(name)]
            assert self.pool.lookup(content(name)) == (blocks[0] if blocks else None)
        for block in range(self.pool.num_blocks):
            assert self.pool.ref_count(block) == self.held(block)

    def teardown(self) -> None:
        if hasattr(self, "pool"):
            for table in self.tables:
                self.pool.free(table)
            self.pool.check_integrity()


TestPool = PoolMachine.TestCase
TestPool.settings = settings(max_examples=150, stateful_step_count=40)


def test_a_block_hash_covers_all_tokens_before():
    first = hash_block(NO_PARENT, [1, 2])
    assert hash_block(first, [3, 4]) == hash_block(hash_block(NO_PARENT, [1, 2]), [3, 4])
    assert hash_block(first, [3, 4]) != hash_block(hash_block(NO_PARENT, [1, 5]), [3, 4])
    assert hash_block(NO_PARENT, [1, 2]) != hash_block(NO_PARENT, [2, 1])
    assert hash_block(NO_PARENT, [1]) != hash_block(NO_PARENT, [256])


def test_the_least_recently_used_content_goes_first():
    pool = BlockPool(3)
    tables = [pool.allocate(1) for _ in range(3)]
    for name, table in enumerate(tables):
        pool.register(table[0], content(name))
    for name in (1, 0, 2):
        pool.free(tables[name])
    pool.touch(tables[1])
    pool.free(tables[1])  # used again: now the last to go
    pool.allocate(2)
    assert [pool.lookup(content(name)) is not None for name in range(3)] == [False, True, False]


def test_blocks_without_content_go_before_all_others():
    pool = BlockPool(2)
    cached, plain = pool.allocate(1), pool.allocate(1)
    pool.register(cached[0], content(0))
    pool.free(cached)
    pool.free(plain)
    assert pool.allocate(1) == plain
    assert pool.lookup(content(0)) == cached[0]


def test_freeing_twice_and_naming_a_free_block_are_refused():
    pool = BlockPool(2)
    table = pool.allocate(1)
    pool.free(table)
    with pytest.raises(BlockAccountingError, match="nobody held"):
        pool.free(table)
    with pytest.raises(BlockAccountingError, match="nobody holds"):
        pool.register(table[0], content(0))


def test_check_integrity_finds_a_leak_and_a_foreign_block():
    pool = BlockPool(2)
    table = pool.allocate(1)
    with pytest.raises(BlockAccountingError, match=f"block {table[0]} counts 1 holders and has 0"):
        pool.check_integrity()
    with pytest.raises(BlockAccountingError):
        pool.check_integrity([table, [1 - table[0]]])
    pool.check_integrity([table])


def test_the_peak_is_what_was_held_at_once():
    pool = BlockPool(8)
    first, second = pool.allocate(3), pool.allocate(2)
    pool.free(second)
    pool.touch(first)  # held twice is held once
    assert (pool.num_used, pool.peak_used) == (3, 5)
    pool.allocate(4)
    assert pool.peak_used == 7
