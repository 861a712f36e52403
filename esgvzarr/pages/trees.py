"""The groups and arrays that references state: read from a kerchunk document of Zarr version 2, or
through the readers of another output.

Rules: the kerchunk reference specification version 1; Zarr specification version 2; xarray's
``_ARRAY_DIMENSIONS``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from ..output import Artefact, provenance_at
from ..transport import host_of, is_url

if TYPE_CHECKING:
    import xarray


@dataclass(frozen=True, slots=True)
class StatedArray:
    """What references state about one array."""

    dimensions: tuple[str, ...]
    shape: tuple[int, ...]
    chunk_shape: tuple[int, ...]
    """Shape of the chunks; of chunks of different lengths, the largest."""
    attributes: Mapping[str, Any]


class Tree(Protocol):
    """Groups by their paths, and the arrays in each."""

    def attributes(self, group: str) -> Mapping[str, Any]:
        """Return the attributes of a group; empty if it does not exist."""
        ...

    def names(self, group: str) -> list[str]:
        """Return the names of the arrays of a group."""
        ...

    def array(self, group: str, name: str) -> StatedArray:
        """Return one array.

        Raises:
            KeyError: it does not exist.
        """
        ...


def hosts_of(path: Path) -> list[str]:
    """Return the hosts of the files that a local output was made from; empty if it states none. An
    Icechunk repository can be opened only if these hosts are allowed.
    """
    try:
        files = provenance_at(path).get("files", ())
        return [host_of(file["url"]) for file in files if is_url(file["url"])]
    except (OSError, ValueError, KeyError, TypeError):
        return []


class DocumentTree:
    """Groups and arrays of a kerchunk document with metadata of Zarr version 2."""

    def __init__(self, refs: Mapping[str, Any]) -> None:
        self._refs = refs

    def attributes(self, group: str) -> Mapping[str, Any]:
        """Return the attributes of a group; empty if it does not exist."""
        text = self._refs.get(f"{group}/.zattrs" if group else ".zattrs", "{}")
        return dict(orjson.loads(text) if isinstance(text, str) else text)

    def names(self, group: str) -> list[str]:
        """Return the names of the arrays of a group."""
        prefix = f"{group}/" if group else ""
        names = []
        for key in self._refs:
            if not key.endswith("/.zarray") or not key.startswith(prefix):
                continue
            name = key.removeprefix(prefix).removesuffix("/.zarray")
            if "/" not in name:
                names.append(name)
        return names

    def array(self, group: str, name: str) -> StatedArray:
        """Return one array."""
        path = f"{group}/{name}" if group else name
        stated = orjson.loads(self._refs[f"{path}/.zarray"])
        attributes = dict(self.attributes(path))
        dimensions = attributes.get("_ARRAY_DIMENSIONS", ())
        return StatedArray(
            tuple(map(str, dimensions)),
            tuple(stated["shape"]),
            tuple(stated["chunks"]),
            attributes,
        )


class OpenedTree:
    """Groups and arrays of an output that xarray opens as its readers do. Only the data of index
    coordinates are read.

    Args:
        artefact: the output.
        options: options of fsspec's reference file system, for outputs that are read through it.
    """

    def __init__(self, artefact: Artefact, options: Mapping[str, Any]) -> None:
        self._open = artefact.opener(options)
        self._opened: dict[str, xarray.Dataset] = {}

    def attributes(self, group: str) -> Mapping[str, Any]:
        """Return the attributes of a group."""
        return dict(self._group(group).attrs)

    def names(self, group: str) -> list[str]:
        """Return the names of the arrays of a group."""
        return list(map(str, self._group(group).variables))

    def array(self, group: str, name: str) -> StatedArray:
        """Return one array."""
        variable = self._group(group).variables[name]
        preferred = variable.encoding.get("preferred_chunks", {})
        chunk_shape = []
        for dimension, length in variable.sizes.items():
            stored = preferred.get(dimension, length)
            chunk_shape.append(max(stored) if isinstance(stored, tuple) else int(stored))
        return StatedArray(
            tuple(map(str, variable.dims)),
            variable.shape,
            tuple(chunk_shape),
            dict(variable.attrs),
        )

    def _group(self, path: str) -> xarray.Dataset:
        if path not in self._opened:
            self._opened[path] = self._open(path, decode_cf=False, chunks=None)
        return self._opened[path]
