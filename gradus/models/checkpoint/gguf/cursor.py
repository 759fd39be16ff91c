"""Reads GGUF's basic values from bytes of a stranger: every length is checked before it is used.

Arrays of strings are not decoded: a vocabulary has hundreds of thousands, of which a caller may want none.
"""

import struct
from array import array
from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from gradus.errors import CheckpointError
from gradus.models.checkpoint.gguf.types import ValueType

MAX_STRING_BYTES = 64 << 20
MAX_ARRAY_LENGTH = 1 << 22  # the largest published vocabularies have a fifteenth of it

_SCALARS = {
    ValueType.UINT8: struct.Struct("<B"),
    ValueType.INT8: struct.Struct("<b"),
    ValueType.UINT16: struct.Struct("<H"),
    ValueType.INT16: struct.Struct("<h"),
    ValueType.UINT32: struct.Struct("<I"),
    ValueType.INT32: struct.Struct("<i"),
    ValueType.FLOAT32: struct.Struct("<f"),
    ValueType.UINT64: struct.Struct("<Q"),
    ValueType.INT64: struct.Struct("<q"),
    ValueType.FLOAT64: struct.Struct("<d"),
}
_ARRAYS = {kind: np.dtype(f"<{layout.format[1:]}") for kind, layout in _SCALARS.items()}
_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")


class StringArray(Sequence[str]):
    """An array of strings, decoded when they are asked for.

    Raises:
        CheckpointError: at access, a string that is no UTF-8.
    """

    def __init__(self, data: memoryview, bounds: Sequence[int], where: str) -> None:
        """`data`: strings one after the other, each after its length, a u64.

        `bounds`: where each begins, length included, and where the last ends.
        """
        self._data = data
        self._bounds = array("q", bounds)
        self._where = where

    def __len__(self) -> int:
        return len(self._bounds) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return self._decode(self.raw(index), index)

    def __iter__(self) -> Iterator[str]:
        data = bytes(self._data[self._bounds[0] : self._bounds[-1]])  # slices of bytes are made faster
        first = begin = self._bounds[0]
        for index, end in enumerate(self._bounds[1:]):
            yield self._decode(data[begin - first + _U64.size : end - first], index)
            begin = end

    def raw(self, index: int) -> bytes:
        """A string's bytes, UTF-8 or not."""
        index = range(len(self))[index]
        return bytes(self._data[self._bounds[index] + _U64.size : self._bounds[index + 1]])

    def _decode(self, text: bytes, index: int) -> str:
        try:
            return text.decode()
        except UnicodeDecodeError as error:
            raise CheckpointError(f"{self._where}: string {index:,} is not UTF-8: {error}") from error


Value = bool | int | float | str | NDArray[Any] | StringArray


class Cursor:
    """A position in a file's bytes.

    Raises:
        CheckpointError: from every method, where the bytes end too early or hold something impossible.
    """

    def __init__(self, data: memoryview, where: str) -> None:
        self.data = data
        self.position = 0
        self._where = where

    @property
    def num_left(self) -> int:
        return len(self.data) - self.position

    def u32(self, what: str) -> int:
        return int(self._unpack(_U32, what))

    def u64(self, what: str) -> int:
        return int(self._unpack(_U64, what))

    def count(self, what: str, unit_bytes: int, most: int) -> int:
        """How many things of at least `unit_bytes` bytes each follow."""
        count = self.u64(what)
        if count > most or count * unit_bytes > self.num_left:
            raise self.error(
                f"{what} is {count:,}; at most {most:,} are read, and the {self.num_left:,} bytes left hold "
                f"{self.num_left // unit_bytes:,}"
            )
        return count

    def string(self, what: str, most: int = MAX_STRING_BYTES) -> str:
        length = self.count(f"the length of {what}", 1, most)
        try:
            return self._take(length, what).tobytes().decode()
        except UnicodeDecodeError as error:
            raise self.error(f"{what} is not UTF-8: {error}") from error

    def value(self, what: str) -> Value:
        """A type and a value of that type."""
        kind = self._value_type(what)
        return self._array(what) if kind == ValueType.ARRAY else self._single(kind, what)

    def error(self, problem: str) -> CheckpointError:
        return CheckpointError(f"{self._where}: {problem}")

    def _single(self, kind: ValueType, what: str) -> Value:
        if kind == ValueType.STRING:
            return self.string(what)
        if kind == ValueType.BOOL:
            return bool(self._bools(1, what)[0])
        value: int | float = self._unpack(_SCALARS[kind], what)
        # The shortest decimal that is this f32: what the number was before it was stored.
        return float(str(np.float32(value))) if kind == ValueType.FLOAT32 else value

    def _array(self, what: str) -> Value:
        kind = self._value_type(f"the elements of {what}")
        if kind == ValueType.ARRAY:
            raise self.error(f"{what} is an array of arrays, which no model that Gradus reads has")
        unit = 8 if kind == ValueType.STRING else 1 if kind == ValueType.BOOL else _ARRAYS[kind].itemsize
        count = self.count(f"the length of {what}", unit, MAX_ARRAY_LENGTH)
        if kind == ValueType.STRING:
            return self._strings(count, what)
        if kind == ValueType.BOOL:
            return self._bools(count, what)
        return np.frombuffer(self._take(count * unit, what), dtype=_ARRAYS[kind])

    def _strings(self, count: int, what: str) -> StringArray:
        data, position, length_at = self.data, self.position, _U64.unpack_from
        bounds = [position]
        try:
            for _ in range(count):
                position += 8 + length_at(data, position)[0]
                bounds.append(position)
        except (struct.error, OverflowError):  # the position before was beyond the end
            position = len(data) + 1
        if position > len(data):
            raise self.error(
                f"{what} ends beyond the file, which has {len(data):,} bytes: string {len(bounds) - 2:,} of "
                f"{count:,} does, or its length"
            )
        self.position = position
        return StringArray(data, bounds, f"{self._where}: {what}")

    def _bools(self, count: int, what: str) -> NDArray[np.bool_]:
        values = np.frombuffer(self._take(count, what), dtype=np.uint8)
        if values.size and values.max() > 1:
            raise self.error(f"{what} is a bool of value {values.max()}; it must be 0 or 1")
        return values.astype(np.bool_)

    def _value_type(self, what: str) -> ValueType:
        number = self.u32(f"the type of {what}")
        if number not in ValueType.__members__.values():
            raise self.error(f"the type of {what} is {number}; there are 0 to {max(ValueType)}")
        return ValueType(number)

    def _unpack(self, layout: struct.Struct, what: str) -> Any:
        return layout.unpack(self._take(layout.size, what))[0]

    def _take(self, num_bytes: int, what: str) -> memoryview:
        if num_bytes > self.num_left:
            raise self.error(
                f"truncated at {what}: {num_bytes:,} bytes are needed at byte {self.position:,}, "
                f"{self.num_left:,} are left"
            )
        taken = self.data[self.position : self.position + num_bytes]
        self.position += num_bytes
        return taken
