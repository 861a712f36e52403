"""Find the arrays whose chunks show by themselves that bytes have changed. No input or output.

If the checksum of a file differs from its record, either the bytes have changed or the record is
wrong. Deflate and bzip2 end each chunk with a checksum of its numbers, and so does fletcher32: if
all chunks of a file still match theirs, and the references read back whole, the file is the one
that was proved, and the record is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..output import Contents

_GUARDING = frozenset({"zlib", "gzip", "bz2", "fletcher32"})
"""Names in numcodecs of codecs that check what they decode."""


def unguarded(contents: Contents) -> list[str]:
    """Return the names of arrays with chunks in files that have no checksum of their own.

    Chunks in the output itself are compared with the files, and need none. If an output does not
    state its codecs as Zarr version 2 does, no array counts as checked.
    """
    return sorted(
        name
        for name, chunks in contents.arrays.items()
        if len(chunks.keys) and not _is_guarded(contents.metadata.get(f"{name}/.zarray"))
    )


def _is_guarded(said: str | None) -> bool:
    if said is None:
        return False
    array: Mapping[str, Any] = json.loads(said)
    codecs = [*(array.get("filters") or ()), array.get("compressor")]
    return any(codec is not None and codec["id"] in _GUARDING for codec in codecs)
