"""Paged KV-cache accounting: which blocks exist, who holds them, which content they carry.

Knows block ids and content hashes. Knows nothing of tensors, models or devices; the backend owns the memory
that a block id stands for.
"""

from array import array
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import NewType

from gradus.errors import GradusError

BlockId = int
BlockHash = NewType("BlockHash", bytes)

NO_PARENT = BlockHash(b"")
HASH_BYTES = 32  # so long that a collision need not be thought about: equal hashes are equal content


class OutOfBlocksError(GradusError):
    """More blocks were taken than are free; ask `can_allocate` first."""


class BlockAccountingError(GradusError):
    """The pool's books do not balance: a defect of the engine, never of a request."""


def root_hash(cache_salt: str) -> BlockHash:
    """What a sequence's first block has as its parent: nothing, or what its salt alone gives.

    The salt's hash is of a kind of its own, so that no salt can be made to look like a block.
    """
    if not cache_salt:
        return NO_PARENT
    salt = cache_salt.encode("utf-8", "surrogatepass")
    return BlockHash(blake2b(salt, digest_size=HASH_BYTES, person=b"cache salt").digest())


def hash_block(parent: BlockHash, token_ids: Sequence[int]) -> BlockHash:
    """The hash of a full block: of its own tokens and, through `parent`, of all those before them."""
    return BlockHash(blake2b(parent + array("i", token_ids).tobytes(), digest_size=HASH_BYTES).digest())


class BlockPool:
    """Reference-counted blocks with a content index.

    A block is *held* while its reference count is above zero, else *free*. A free block keeps its content,
    and can be found by it, until it is allocated again; free blocks are allocated least recently used first,
    those without findable content before all others. Every operation is O(1) per block.
    """

    def __init__(self, num_blocks: int) -> None:
        self.num_blocks = num_blocks
        self.peak_used = 0  # blocks held at once at most so far
        self._ref_counts = [0] * num_blocks
        self._hashes: list[BlockHash | None] = [None] * num_blocks
        self._block_of: dict[BlockHash, BlockId] = {}
        self._free: OrderedDict[BlockId, None] = OrderedDict.fromkeys(range(num_blocks))  # next to go first

    @property
    def num_free(self) -> int:
        return len(self._free)

    @property
    def num_used(self) -> int:
        return self.num_blocks - len(self._free)

    @property
    def num_cached(self) -> int:
        """Blocks, held or free, that a lookup can find."""
        return len(self._block_of)

    def ref_count(self, block: BlockId) -> int:
        return self._ref_counts[block]

    def can_allocate(self, num_blocks: int, keeping: Iterable[BlockId] = ()) -> bool:
        """Whether `num_blocks` can be taken after the blocks `keeping` have been touched."""
        num_kept = sum(not self._ref_counts[block] for block in keeping)
        return num_blocks + num_kept <= len(self._free)

    def allocate(self, num_blocks: int) -> list[BlockId]:
        """Take `num_blocks` free blocks, whose content is forgotten.

        Raises:
            OutOfBlocksError: if fewer are free; ask `can_allocate` first.
        """
        if num_blocks > len(self._free):
            raise OutOfBlocksError(f"{num_blocks} KV blocks were asked for and {len(self._free)} are free")
        blocks = [self._free.popitem(last=False)[0] for _ in range(num_blocks)]
        for block in blocks:
            self._forget(block)
            self._ref_counts[block] = 1
        self.peak_used = max(self.peak_used, self.num_used)
        return blocks

    def touch(self, blocks: Iterable[BlockId]) -> None:
        """Hold blocks once more, whether they are held already or free."""
        for block in blocks:
            if self._ref_counts[block] == 0:
                del self._free[block]
            self._ref_counts[block] += 1
        self.peak_used = max(self.peak_used, self.num_used)

    def free(self, blocks: Sequence[BlockId]) -> None:
        """Let go of a sequence's blocks. Its tail is evicted first: its head serves more other sequences."""
        for block in reversed(blocks):
            count = self._ref_counts[block] - 1
            if count < 0:
                raise BlockAccountingError(f"block {block} was freed and nobody held it")
            self._ref_counts[block] = count
            if count == 0:
                self._free[block] = None
                if self._hashes[block] is None:
                    self._free.move_to_end(block, last=False)

    def register(self, block: BlockId, content: BlockHash) -> None:
        """Make a held block findable by its content, unless another one carries the same already."""
        if self._ref_counts[block] == 0:
            raise BlockAccountingError(f"block {block} was given content and nobody holds it")
        if self._hashes[block] is None and content not in self._block_of:
            self._hashes[block] = content
            self._block_of[content] = block

    def lookup(self, content: BlockHash) -> BlockId | None:
        return self._block_of.get(content)

    def reset_cache(self) -> None:
        """Forget every block's content, for when what the backend holds cannot be trusted."""
        self._hashes = [None] * self.num_blocks
        self._block_of.clear()

    def check_integrity(self, block_tables: Iterable[Sequence[BlockId]] = ()) -> None:
        """Compare the books with the block tables that exist; none where the engine is idle.

        Raises:
            BlockAccountingError: names the first block that is wrong.
        """
        holders = Counter(block for table in block_tables for block in table)
        for block, count in enumerate(self._ref_counts):
            if count != holders[block]:
                raise BlockAccountingError(f"block {block} counts {count} holders and has {holders[block]}")
            if (count == 0) != (block in self._free):
                raise BlockAccountingError(f"block {block} has {count} holders and its free mark is wrong")
            content = self._hashes[block]
            if content is not None and self._block_of.get(content) != block:
                raise BlockAccountingError(f"block {block} has content under which another block is found")
        num_with_content = sum(content is not None for content in self._hashes)
        if num_with_content != len(self._block_of) or len(self._free) > self.num_blocks:
            raise BlockAccountingError(
                f"{num_with_content} blocks have content and {len(self._block_of)} are findable"
            )

    def _forget(self, block: BlockId) -> None:
        content = self._hashes[block]
        if content is not None:
            self._hashes[block] = None
            del self._block_of[content]
