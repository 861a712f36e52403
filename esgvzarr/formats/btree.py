"""Find the chunk index of an HDF5 dataset, and read it level by level.

libhdf5 reads the nodes of a chunk index one after the other, and over HTTP each takes a round trip;
here the nodes of one level are fetched at once. Only version 1 B-trees are read, which netCDF-4
writes by default; libhdf5 reads all other indexes. The caller compares the result with libhdf5's
own chunk count and storage size.

Rules: HDF5 File Format Specification version 3.0, sections III.A.1 (version 1 B-trees), IV.A.1
(object headers), IV.A.2.i (data layout message), IV.A.2.q (object header continuation).
"""

from __future__ import annotations

import struct
from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from .content import Needs, SparseContent, fetch

UNDEFINED = 0xFFFFFFFFFFFFFFFF
_LAYOUT = 0x08
_CONTINUATION = 0x10
_NODE_PREFIX = 24
_NODE_ENTRIES = 64
"""Twice the default of "indexed storage internal node K"; libhdf5 reads files with another K."""
_MOST_BLOCKS = 100
_DEEPEST = 16


class IndexUnknown(Exception):
    """The index is of a kind that is not read here: libhdf5 must read it."""


class IndexDisordered(Exception):
    """The index lists a chunk that libhdf5 does not find by its place: the file is damaged."""


@dataclass(frozen=True, slots=True)
class ChunkIndex:
    """The chunks of one dataset, as its index states them."""

    starts: np.ndarray
    """(chunk, dimension) int64: index of the first element of the chunk."""
    offsets: np.ndarray
    """(chunk,) int64: first byte in the file."""
    sizes: np.ndarray
    """(chunk,) int64: size in bytes, as stored."""
    filter_masks: np.ndarray
    """(chunk,) int64: bit n is set if filter n of the pipeline was skipped."""


@dataclass(frozen=True, slots=True)
class _Level:
    """All nodes of one level, in the order of the tree."""

    number: int
    """Number of the level; 0 for the leaves."""
    entries: np.ndarray
    """(entry,): the entries of all nodes, one node after the other."""
    ends: np.ndarray
    """(entry, dimension + 1) int64: where the range of an entry ends, according to the next key."""
    used: np.ndarray
    """(node,) int64: number of entries; at least 1, unless the whole index is empty."""

    @property
    def starts(self) -> np.ndarray:
        """(entry, dimension + 1) int64: where the range of an entry begins."""
        return _whole_keys(self.entries)


@dataclass(frozen=True, slots=True)
class _Messages:
    """One block of messages of an object header."""

    start: int
    stop: int
    prefix: struct.Struct
    """Unpacks type and size of a message; its size is that of a message's whole prefix."""


def read_index(
    content: SparseContent, header: int, rank: int
) -> Generator[Needs, None, ChunkIndex]:
    """Read the chunk index of the dataset with ``rank`` dimensions whose object header begins at
    byte ``header``.

    Raises:
        IndexUnknown: the index is of another kind, or does not follow the specification.
        IndexDisordered: its keys are not in order, so that libhdf5 does not find all chunks by
            their places.
    """
    root = yield from _find_root(content, header, rank)
    if root == UNDEFINED:
        return _index(np.empty(0, _entry(rank)))
    above: _Level | None = None
    addresses = np.array([root], np.int64)
    for _ in range(_DEEPEST):
        level = yield from _read_level(content, addresses, rank)
        if above is not None and level.number != above.number - 1:
            raise IndexUnknown(f"level {level.number} below level {above.number}")
        _check_order(level, above)
        if level.number == 0:
            return _index(level.entries)
        above = level
        addresses = level.entries["child"].astype(np.int64)
    raise IndexUnknown("deeper than any real index")


def _whole_keys(entries: np.ndarray) -> np.ndarray:
    """Return (entry, dimension + 1) int64: the keys in the form in which they are compared.

    Only the key that ends the index has a last number other than 0.
    """
    columns = (entries["starts"], entries["zero"][:, np.newaxis])
    return np.concatenate(columns, axis=1).astype(np.int64)


def _check_order(level: _Level, above: _Level | None) -> None:
    """Check that a search by place, from the root down, finds each entry.

    Raises:
        IndexDisordered: it does not find an entry.
    """
    starts = level.starts
    if level.entries["zero"].any():
        raise IndexDisordered(f"a key of level {level.number} does not end with 0")
    if not _before(starts[:-1], starts[1:]).all() or not _before(starts, level.ends).all():
        raise IndexDisordered(f"keys of level {level.number} are not in order")
    if above is None:
        return
    if len(level.used) != len(above.entries) or level.used.min() < 1:
        raise IndexUnknown("a node without entries")
    last = np.cumsum(level.used) - 1
    first = last - level.used + 1
    if _before(starts[first], above.starts).any() or not _before(starts[last], above.ends).all():
        raise IndexDisordered(f"level {level.number} has keys that level {above.number} excludes")


def _before(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return (row,): whether a place of ``one`` comes before that of ``other`` in the order of the
    grid.
    """
    if not one.size:
        return np.ones(len(one), np.bool_)
    signs = np.sign(other - one)
    decisive = np.argmax(signs != 0, axis=1)
    found: np.ndarray = signs[np.arange(len(signs)), decisive] > 0
    return found


def _index(entries: np.ndarray) -> ChunkIndex:
    return ChunkIndex(
        *(entries[name].astype(np.int64) for name in ("starts", "child", "size", "mask"))
    )


def _entry(rank: int) -> np.dtype[np.void]:
    """Return the type of a key and the child after it. Keys hold one more offset than the dataset
    has dimensions; it is always 0.
    """
    return np.dtype(
        [
            ("size", "<u4"),
            ("mask", "<u4"),
            ("starts", "<u8", (rank,)),
            ("zero", "<u8"),
            ("child", "<u8"),
        ]
    )


def _read_level(
    content: SparseContent, addresses: np.ndarray, rank: int
) -> Generator[Needs, None, _Level]:
    """Read the nodes at ``addresses``, which are all of one level."""
    entry = _entry(rank)
    size = _NODE_PREFIX + _NODE_ENTRIES * entry.itemsize + entry.itemsize - 8
    # A node has one key more than children; libhdf5 reads the whole node.
    if len(addresses) == 0 or addresses.min() <= 0 or addresses.max() + _NODE_PREFIX > content.size:
        raise IndexUnknown("a node lies outside the file")
    places = [(int(start), min(int(start) + size, content.size)) for start in addresses]
    yield from fetch(content, places)
    nodes = np.frombuffer(
        b"".join(content.read(*place).ljust(size + 8, b"\0") for place in places), np.uint8
    ).reshape(-1, size + 8)  # As if the last key had a child too.
    heads = np.ascontiguousarray(nodes[:, :8])
    if (
        (heads[:, :4].tobytes() != b"TREE" * len(nodes))
        or (heads[:, 4] != 1).any()
        or np.ptp(heads[:, 5])
    ):
        raise IndexUnknown("not nodes of one level of a chunk index")
    used = heads[:, 6:8].copy().view("<u2")[:, 0]
    if used.max() > _NODE_ENTRIES:
        raise IndexUnknown("nodes larger than the default")
    keys = np.ascontiguousarray(nodes[:, _NODE_PREFIX:]).view(entry)
    in_use = np.arange(_NODE_ENTRIES) < used[:, None]
    return _Level(
        int(heads[0, 5]),
        keys[:, :-1][in_use],
        _whole_keys(keys[:, 1:][in_use]),
        used.astype(np.int64),
    )


def _find_root(content: SparseContent, header: int, rank: int) -> Generator[Needs, None, int]:
    """Return the address of the root node, from the data layout message of an object header."""
    blocks = [(yield from _first_block(content, header))]
    for _ in range(_MOST_BLOCKS):
        if not blocks:
            break
        block = blocks.pop(0)
        if not 0 < block.start <= block.stop <= content.size:
            raise IndexUnknown("an object header outside the file")
        yield from fetch(content, [(block.start, block.stop)])
        for kind, message in _messages(content.read(block.start, block.stop), block.prefix):
            if kind == _LAYOUT:
                return _root_of(message, rank)
            if kind == _CONTINUATION and len(message) >= 16:
                blocks.append(_continued(block, *struct.unpack_from("<QQ", message)))
    raise IndexUnknown("no data layout message")


def _first_block(content: SparseContent, header: int) -> Generator[Needs, None, _Messages]:
    if not 0 < header <= content.size - 32:
        raise IndexUnknown("an object header outside the file")
    yield from fetch(content, [(header, header + 32)])
    prefix = content.read(header, header + 32)
    if prefix[0] == 1:
        return _Messages(
            header + 16,
            header + 16 + int.from_bytes(prefix[8:12], "little"),
            struct.Struct("<HH4x"),
        )
    if prefix[:4] != b"OHDR":
        raise IndexUnknown("no object header")
    flags = prefix[5]
    at = 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
    width = 1 << (flags & 3)
    start = header + at + width
    kind = struct.Struct("<BHx2x" if flags & 4 else "<BHx")
    return _Messages(start, start + int.from_bytes(prefix[at : at + width], "little"), kind)


def _continued(block: _Messages, start: int, length: int) -> _Messages:
    """Return a continuation block. In version 2 headers it stands between a signature and a
    checksum.
    """
    if block.prefix.format == "<HH4x":
        return _Messages(start, start + length, block.prefix)
    return _Messages(start + 4, start + length - 4, block.prefix)


def _messages(block: bytes, prefix: struct.Struct) -> list[tuple[int, bytes]]:
    messages = []
    at = 0
    while at + prefix.size <= len(block):
        kind, size = prefix.unpack_from(block, at)
        at += prefix.size
        messages.append((kind, block[at : at + size]))
        at += size
    return messages


def _root_of(layout: bytes, rank: int) -> int:
    """Return the root's address from a layout message of version 3, class 2 (chunked): rank + 1,
    then the address of a version 1 B-tree.
    """
    if len(layout) < 11 or layout[:2] != b"\x03\x02" or layout[2] != rank + 1:
        raise IndexUnknown("another layout, or another index")
    return int.from_bytes(layout[3:11], "little")
