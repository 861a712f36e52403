"""Find a dataset by its id: indexes of ESGF are asked, all at the same time.

An index is written as

- ``https://host/path``: a STAC API,
- ``https://host/esg-search``: an ESGF index node (Solr),
- ``globus:<UUID>``: an index of Globus Search,
- a directory, or a URL that ends in ``catalog.json``: a static STAC catalogue.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import orjson

from ..directories import entries
from ..errors import SourceError
from ..indexes.hrefs import is_address, located

if TYPE_CHECKING:
    import aiohttp

VARIABLE = "ESGF_INDEXES"
"""Environment variable with indexes, separated by blanks."""
SETTINGS_FILE = Path("esgvzarr") / "indexes"
"""Path below the user's directory of settings; it holds one index per line."""
DEFAULTS = (
    "globus:a8ef4320-9e5a-4793-837b-c45161ca1845",
    "https://discovery.east.esgf.io",
    "https://discovery.west.esgf.io",
)
"""The indexes of intake-esgf 2026.9.28: the Globus index ESGF2-US-1.5-Catalog, and ESGF's STAC
APIs.
"""
TIMEOUT_S = 30.0
"""Seconds for one index. The others do not wait longer for it."""
_MOST_BYTES = 64 * 2**20
_MOST_ENTRIES = 100
_GLOBUS = "https://search.api.globus.org"
_VERSION = re.compile(r"\.v(\d+)$")
_KEYS = ("reference_file", "icechunk")
"""Keys of assets that are references, the preferred one first."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A dataset as one index shows it."""

    dataset_id: str
    hrefs: tuple[str, ...]
    """URLs of its references, the preferred one first."""
    mirrors: Mapping[str, tuple[str, ...]]
    """URL of a file -> the URLs of the same bytes on other hosts."""
    files: tuple[str, ...]
    """URLs of its files, as far as the index states them."""

    @property
    def version(self) -> int:
        """The version; 0 if the id has none."""
        found = _VERSION.search(self.dataset_id)
        return int(found[1]) if found else 0


def chosen_indexes(asked: str | Iterable[str] | None) -> tuple[str, ...]:
    """Return the indexes to ask: the argument, else the environment, else the settings file, else
    the defaults.
    """
    if asked:
        return (asked,) if isinstance(asked, str) else tuple(asked)
    if os.environ.get(VARIABLE):
        return tuple(os.environ[VARIABLE].split())
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    path = Path(home) / SETTINGS_FILE
    if path.is_file():
        lines = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
        return tuple(line for line in lines if line) or DEFAULTS
    return DEFAULTS


def find(dataset_id: str, indexes: Sequence[str]) -> Entry:
    """Return the dataset, with all its references that the indexes show.

    Args:
        dataset_id: the id with its version; without a version, the newest one is returned.
        indexes: the indexes; all are asked at the same time.

    Raises:
        SourceError: no index shows the dataset, it has no link, or no index answers.
    """
    from fsspec.asyn import get_loop, sync

    answers = sync(get_loop(), _ask_all, dataset_id, tuple(indexes))
    entries: list[Entry] = []
    failures = []
    for index, answer in zip(indexes, answers, strict=True):
        if isinstance(answer, str):
            failures.append(f"{index}: {answer}")
        else:
            entries += [entry for entry in answer if _is(entry.dataset_id, dataset_id)]
    if not entries:
        raise _not_found(dataset_id, indexes, failures)
    newest = max(entry.version for entry in entries)
    entry = _merged([entry for entry in entries if entry.version == newest])
    if not entry.hrefs:
        files = f"{len(entry.files)} NetCDF files" if entry.files else "no URLs of its files"
        raise SourceError(
            entry.dataset_id,
            f"has no virtual-Zarr link in {', '.join(indexes)}; they show {files}",
            expected="an asset reference_file",
            todo="Download the files, with intake-esgf for instance, or ask the data node to "
            "publish references.",
            code="source-no-link",
        )
    return entry


def _not_found(dataset_id: str, indexes: Sequence[str], failures: Sequence[str]) -> SourceError:
    if len(failures) == len(indexes):
        return SourceError(
            dataset_id,
            f"no index answers: {'; '.join(failures)}",
            expected="an answer",
            todo=f"Try again later, or name another index: indexes=[...], or {VARIABLE}.",
            code="source-index-down",
            retryable=True,
        )
    return SourceError(
        dataset_id,
        "; ".join([f"is not in {', '.join(indexes)}", *failures]),
        expected="the id of a dataset that was published",
        todo=f"Check the spelling of the id, or name another index: indexes=[...], or {VARIABLE}.",
        code="source-not-found",
    )


def _is(found: str, asked: str) -> bool:
    return found == asked or (not _VERSION.search(asked) and _VERSION.sub("", found) == asked)


def _merged(entries: Sequence[Entry]) -> Entry:
    """Merge what all indexes show of one dataset, with the first index first."""
    hrefs = dict.fromkeys(chain.from_iterable(entry.hrefs for entry in entries))
    files = dict.fromkeys(chain.from_iterable(entry.files for entry in entries))
    mirrors = dict[str, tuple[str, ...]]()
    for entry in entries:
        for url, others in entry.mirrors.items():
            mirrors[url] = tuple(dict.fromkeys((*mirrors.get(url, ()), *others)))
    return Entry(entries[0].dataset_id, tuple(hrefs), mirrors, tuple(files))


async def _ask_all(dataset_id: str, indexes: Sequence[str]) -> list[list[Entry] | str]:
    import aiohttp

    limit = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=limit, trust_env=True) as session:
        return list(await asyncio.gather(*(_ask(session, index, dataset_id) for index in indexes)))


async def _ask(session: aiohttp.ClientSession, index: str, dataset_id: str) -> list[Entry] | str:
    """Return what one index shows, or why it does not answer."""
    import aiohttp

    try:
        if index.startswith("globus:"):
            return await _ask_globus(session, index.removeprefix("globus:"), dataset_id)
        if "://" not in index or index.endswith("catalog.json"):
            return await _ask_catalogue(session, index, dataset_id)
        if index.rstrip("/").endswith("esg-search"):
            return await _ask_solr(session, index.rstrip("/"), dataset_id)
        return await _ask_stac(session, index.rstrip("/"), dataset_id)
    except (
        aiohttp.ClientError,
        SourceError,
        TimeoutError,
        OSError,
        ValueError,
        KeyError,
        TypeError,
    ) as error:
        return str(error) or type(error).__name__


async def _ask_stac(session: aiohttp.ClientSession, api: str, dataset_id: str) -> list[Entry]:
    query = {"limit": str(_MOST_ENTRIES)}
    if _VERSION.search(dataset_id):
        query["ids"] = dataset_id
    else:
        query["filter"] = f"title = '{dataset_id}'"
    address = f"{api}/search?filter-lang=cql2-text&{urlencode(query)}"
    found = await _json(session.get(address))
    return [entry_of_item(item, f"{api}/search") for item in found["features"]]


async def _ask_solr(session: aiohttp.ClientSession, node: str, dataset_id: str) -> list[Entry]:
    query = {"type": "Dataset", "format": "application/solr+json", "limit": str(_MOST_ENTRIES)}
    query[_field(dataset_id)] = dataset_id
    found = await _json(session.get(f"{node}/search?{urlencode(query)}"))
    return [_entry_of_document(document, node) for document in found["response"]["docs"]]


async def _ask_globus(session: aiohttp.ClientSession, uuid: str, dataset_id: str) -> list[Entry]:
    service = os.environ.get("GLOBUS_SDK_SERVICE_URL_SEARCH", _GLOBUS).rstrip("/")
    one = {"type": "match_any", "field_name": _field(dataset_id), "values": [dataset_id]}
    query = {"q": "", "filters": [one], "limit": _MOST_ENTRIES}
    found = await _json(session.post(f"{service}/v1/index/{uuid}/search", json=query))
    parts = chain.from_iterable(hit["entries"] for hit in found["gmeta"])
    return [_entry_of_document(part["content"], service) for part in parts]


async def _ask_catalogue(
    session: aiohttp.ClientSession, place: str, dataset_id: str
) -> list[Entry]:
    """Read a catalogue as `esgvzarr generate` writes it: ``<collection>/<DSID>/<DSID>.json``."""
    collection = dataset_id.partition(".")[0]
    root = place.removesuffix("catalog.json").rstrip("/")
    if "://" not in place:
        return await asyncio.to_thread(_read_catalogue, Path(root) / collection, dataset_id)
    names = [dataset_id]
    if not _VERSION.search(dataset_id):
        listed = await _json(session.get(f"{root}/{collection}/collection.json"))
        hrefs = [link["href"] for link in listed["links"] if link.get("rel") == "item"]
        names = [href.rpartition("/")[2].removesuffix(".json") for href in hrefs]
        names = [name for name in names if _is(name, dataset_id)]
    addresses = [f"{root}/{collection}/{name}/{name}.json" for name in names]
    return [entry_of_item(await _json(session.get(url)), url) for url in addresses]


def _read_catalogue(directory: Path, dataset_id: str) -> list[Entry]:
    paths: list[Path] = []
    for one in entries(directory, f"{dataset_id}*"):
        paths += entries(one, f"{dataset_id}*.json")
    items = [(orjson.loads(path.read_bytes()), str(path)) for path in paths]
    return [
        entry_of_item(item, path) for item, path in items if _is(str(item.get("id")), dataset_id)
    ]


def _field(dataset_id: str) -> str:
    return "instance_id" if _VERSION.search(dataset_id) else "master_id"


async def _json(request: Any) -> Any:
    """Return the JSON of an answer, of limited size.

    Raises:
        ValueError: the answer is not JSON, is too large, or is an error.
    """
    async with request as response:
        if response.status >= 400:
            raise ValueError(f"HTTP {response.status}")
        text = bytearray()
        async for part in response.content.iter_chunked(2**16):
            text += part
            if len(text) > _MOST_BYTES:
                raise ValueError(f"answers more than {_MOST_BYTES} bytes")
    return orjson.loads(bytes(text))


def entry_of_item(item: Mapping[str, Any], place: str) -> Entry:
    """Return a dataset as a STAC item shows it.

    Args:
        item: the item as it was read.
        place: its URL or path, or the URL of the index that shows it; empty if unknown.

    Raises:
        SourceError: an item that is not local names local references.
    """
    assets = {key: one for key, one in (item.get("assets") or {}).items() if _is_asset(one)}
    hrefs = []
    for key in _KEYS:
        if key in assets:
            hrefs += [located(version["href"], place) for version in _versions(assets[key])]
    mirrors = dict[str, tuple[str, ...]]()
    files = []
    for key, asset in assets.items():
        if key not in _KEYS:
            files.append(str(asset["href"]))
            mirrors.update(_mirrors(list(_versions(asset))))
    return Entry(str(item["id"]), tuple(hrefs), mirrors, tuple(files))


def _is_asset(value: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("href"), str)


def _versions(asset: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield an asset, and its alternates on other data nodes."""
    yield asset
    others = asset.get("alternate")
    if isinstance(others, Mapping):
        yield from (other for other in others.values() if _is_asset(other))


def _mirrors(versions: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    """Return the other URLs of each URL, among versions of a file with equal size and checksum."""
    same: dict[tuple[Any, Any], list[str]] = {}
    for version in versions:
        facts = (version.get("file:size"), version.get("file:checksum"))
        if all(facts) and is_address(str(version["href"])):
            same.setdefault(facts, []).append(str(version["href"]))
    found = {}
    for urls in same.values():
        for url in urls:
            others = tuple(other for other in urls if other != url)
            if others:
                found[url] = others
    return found


def _entry_of_document(document: Mapping[str, Any], index: str) -> Entry:
    """Return a dataset as a Dataset document of Solr or Globus Search shows it."""
    parts = [str(url).split("|") for url in document.get("url", [])]
    hrefs = [located(part[0], index) for part in parts if part[-1] == "VirtualZarr"]
    return Entry(str(document["instance_id"]), tuple(hrefs), {}, ())
