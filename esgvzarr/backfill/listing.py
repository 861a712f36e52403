"""List the datasets of a backfill's sources, page by page, and read the record of each dataset when
its turn comes.

A source is an index, a THREDDS catalogue with all catalogues that it refers to, a directory of
mapfiles, one document of a kind that ``link`` accepts, or a list of dataset ids. Its content shows
its kind.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import unquote, urlsplit

from ..directories import entries
from ..drs import PROJECTS
from ..errors import SourceError, TransportError
from ..indexes import Index, address_at, kinds
from ..link.address import open_index
from ..link.task import IndexAddress
from ..model import DatasetId, DatasetRecord
from ..settings import Settings
from ..sources import (
    from_index,
    of_own_version,
    read_source,
    recognise,
    with_local_paths,
)
from ..sources.thredds import MAX_DEPTH
from ..sources.thredds_page import Catalogue, CatalogueDataset, parse_catalogue
from ..transport import Transport, host_of, is_url
from .queue import Page, Planned

_IN_QUOTES = re.compile(r"'[^']*'")
"""A value in CQL2 text."""
_NAME = re.compile(r"[A-Za-z_][\w:.\-]*")
_WORDS_OF_CQL2 = {"and", "or", "not", "like", "in", "between", "is", "null", "true", "false"}
_WORDS_OF_CQL2 |= {"timestamp", "date", "interval", "casei", "accenti"}


@dataclass(frozen=True, slots=True)
class Listing:
    """The datasets and further pages that one page lists."""

    datasets: tuple[Planned, ...] = ()
    pages: tuple[Page, ...] = ()


@dataclass(frozen=True, slots=True)
class Described:
    """A dataset as its place describes it."""

    record: DatasetRecord
    shown: Mapping[str, Any] | None
    """The index's record of the dataset, if the place is an index."""


class SourceReader:
    """Reads pages and records. Threads may share it.

    Args:
        settings: settings with the hosts that the operator named.
        transport: made from the same settings.
        query: in the language of the index that is searched.
        template: for lists of ids: URL or path of the description of a dataset, which contains
            ``{dataset_id}`` or ``{path}`` (its facets, separated by ``/``).
        address: the index in which ids of a list are looked up if there is no template.
    """

    def __init__(
        self,
        settings: Settings,
        transport: Transport,
        *,
        query: str = "",
        template: str = "",
        address: IndexAddress | None = None,
    ) -> None:
        self._settings = settings
        self._transport = transport
        self._query = query
        self._template = template
        self._address = address
        self._indexes: dict[str, Index] = {}
        prefixes = list(settings.data_paths.values())
        self._own_node = host_of(prefixes[0]) if prefixes else ""

    def read(self, page: Page) -> Listing:
        """Return what a page lists.

        Raises:
            EsgvzarrError: the page cannot be read, or lists nothing.
        """
        if _kind_of(page.locator):
            return self._search(page)
        if os.path.isdir(page.locator):
            return Listing(pages=tuple(_maps_below(page)))
        address = address_at(page.locator)
        if address is not None:
            return Listing(pages=(_page_of(address),))
        url = page.locator
        if is_url(url) and urlsplit(url).path.endswith(
            ".html"
        ):  # The page on which TDS shows its catalogues to people.
            url = f"{url.partition('?')[0].removesuffix('.html')}.xml"
        content = self._transport.read_document(url)
        address = address_at(url, content)
        if address is not None:
            return Listing(pages=(_page_of(address),))
        return self._list(content, Page(url, depth=page.depth))

    def refuse_query(self) -> NoReturn:
        """Raise the error for a query that matches nothing.

        Raises:
            SourceError: always. If the query names a property that the datasets of the index do not
                have, the error names the most similar one.
        """
        known: Sequence[str] = ()
        for index in self._indexes.values():
            known = known or index.property_names()
        todo = "The datasets have all properties of the query: check its values."
        unknown = [name for name in names_in_query(self._query) if known and name not in known]
        if unknown:
            near = nearest(unknown[0], known)
            todo = f"The datasets of the index have no property {unknown[0]!r}."
            todo += f" Did you mean {near!r}?" if near else ""
        raise SourceError(
            f"--filter {self._query}",
            "matches no dataset",
            expected="a query that matches at least one dataset",
            todo=todo if known else "",
            code="source-none",
        )

    def describe(self, planned: Planned) -> Described:
        """Return the record of a dataset, read from the place that listed it.

        Raises:
            EsgvzarrError: the record no longer exists, or does not describe the whole dataset.
        """
        dataset_id = DatasetId.parse(planned.dataset_id)
        kind = _kind_of(planned.locator)
        if not kind:
            record = read_source(
                [planned.locator], dataset_id, self._transport, self._settings.data_paths
            )
            return Described(record, None)
        index = self._index(planned.locator)
        documents = index.documents(dataset_id, planned.data_node)
        if not documents:
            raise SourceError(
                planned.dataset_id, f"is not in the index {planned.locator}", code="source-none"
            )
        record = with_local_paths(from_index(documents, dataset_id), self._settings.data_paths)
        return Described(of_own_version(record, self._transport), documents[-1])

    def _index(self, locator: str) -> Index:
        kind, _, location = locator.partition(":")
        if locator not in self._indexes:
            config = self._address.config if self._address else ""
            self._indexes[locator] = open_index(
                IndexAddress(kind, location, config), self._transport, self._settings
            )
        return self._indexes[locator]

    def _search(self, page: Page) -> Listing:
        hits = self._index(page.locator).search(self._query, page.cursor)
        pages = (Page(page.locator, hits.next_page, page.depth),) if hits.next_page else ()
        return Listing(
            tuple(Planned(name, node, page.locator) for name, node in hits.datasets), pages
        )

    def _list(self, content: bytes, page: Page) -> Listing:
        """Return what a document lists: a source of any kind, or ids."""
        try:
            kind = recognise(content, page.locator)
        except SourceError:
            names = _ids(content)
            if names is None:
                raise
            return Listing(tuple(map(self._by_template, names)))
        if kind == "catalogue":
            return self._catalogue(parse_catalogue(content, page.locator), page.depth)
        if kind == "netcdf":
            raise SourceError(
                page.locator,
                "is a file",
                expected="a source that names datasets",
                code="source-unrecognised",
            )
        names = _named_in(content, kind)
        return Listing(
            tuple(Planned(name, self._own_node, page.locator) for name in dict.fromkeys(names))
        )

    def _by_template(self, name: str) -> Planned:
        if self._template:
            path = name.replace(".", "/")
            locator = self._template.replace("{dataset_id}", name).replace("{path}", path)
            return Planned(name, host_of(locator) if is_url(locator) else self._own_node, locator)
        if self._address is None:
            raise SourceError(
                name,
                "has no known description",
                expected="--template, or an index",
                todo="Set --template 'https://.../{dataset_id}.xml', or --config with an index.",
                code="source-none",
            )
        return Planned(name, "", locator_of(self._address))

    def _catalogue(self, catalogue: Catalogue, depth: int) -> Listing:
        named = {
            str(name): dataset
            for dataset in catalogue.walk()
            if (name := dataset.dataset_id or _folder_id(dataset))
        }
        datasets = [
            Planned(name, host_of(dataset.files[0].url), catalogue.url)
            for name, dataset in named.items()
        ]
        pages = []
        for ref in catalogue.references:
            name = _dsid(ref.title) or _dsid(
                unquote(urlsplit(ref.url).path).rpartition("/")[2].removesuffix(".xml")
            )
            if name is not None and self._is_allowed(ref.url):
                datasets.append(Planned(str(name), host_of(ref.url), ref.url))
            else:
                pages.append(Page(ref.url, depth=depth + 1))
        if pages and depth >= MAX_DEPTH:
            raise SourceError(
                catalogue.url,
                f"refers to more catalogues, {depth} below the first",
                code="source-catalogue",
            )
        return Listing(tuple(datasets), tuple(pages))

    def _is_allowed(self, url: str) -> bool:
        """Whether the operator named the host. Pages of other hosts are refused when their turn
        comes.
        """
        try:
            self._transport.check_allowed(url)
        except TransportError:
            return False
        return True


def names_in_query(query: str) -> list[str]:
    """Return the properties that a query names, in CQL2 text or as ``facet=value&facet=value``."""
    if "&" in query or re.fullmatch(r"[\w:.\-]+=[^' ]*", query):
        return [pair.partition("=")[0] for pair in query.split("&")]
    bare = _IN_QUOTES.sub(" ", query)
    return [name for name in _NAME.findall(bare) if name.lower() not in _WORDS_OF_CQL2]


def nearest(name: str, known: Sequence[str]) -> str:
    """Return the property that is most similar to a name: the same after a prefix, else by its
    letters.
    """
    for one in known:
        if one.rpartition(":")[2] == name.rpartition(":")[2]:
            return one
    bare = {one.rpartition(":")[2]: one for one in known}
    similar = difflib.get_close_matches(name.rpartition(":")[2], bare, n=1)
    return bare[similar[0]] if similar else ""


def _kind_of(locator: str) -> str:
    kind = locator.partition(":")[0]
    return kind if kind in kinds() else ""


def locator_of(address: IndexAddress) -> str:
    """Return the locator of an index, as in `Page`."""
    return f"{address.kind}:{address.location}"


def _page_of(address: IndexAddress) -> Page:
    return Page(locator_of(address))


def _maps_below(page: Page) -> Iterator[Page]:
    for entry in entries(Path(page.locator)):
        is_directory = entry.is_dir() and not entry.is_symlink()
        if is_directory or entry.name.endswith(".map"):
            yield Page(str(entry), depth=page.depth + 1)


def _ids(content: bytes) -> list[str] | None:
    """Return the ids in a list of dataset ids, one in each line; None if the text is no such
    list.
    """
    try:
        lines = [line.strip() for line in content.decode("utf-8-sig").splitlines() if line.strip()]
        return [str(DatasetId.parse(line)) for line in lines] or None
    except (SourceError, UnicodeDecodeError):
        return None


def _named_in(content: bytes, kind: str) -> list[str]:
    """Return the datasets of a mapfile, an item, or records. Errors in their records are reported
    when the records are read.
    """
    if kind == "mapfile":
        lines = content.decode("utf-8", "replace").splitlines()
        cells = [line.partition("|")[0].strip() for line in lines if line.strip()]
        return [str(_dsid(cell) or cell) for cell in cells]
    document = json.loads(content)
    if kind == "item":
        return [str(document.get("id"))]
    return _named_in_records(list(document.values()) if isinstance(document, Mapping) else document)


def _named_in_records(documents: Sequence[Any]) -> list[str]:
    """Return the datasets of publication records."""
    names = []
    for document in documents:
        record = document.get("dataset", document) if isinstance(document, Mapping) else {}
        if record.get("type") in ("Dataset", ["Dataset"]):
            name = record.get("instance_id")
            names.append(str(name[0] if isinstance(name, list) else name))
    return names


def _folder_id(dataset: CatalogueDataset) -> DatasetId | None:
    """Return the id of a scanned folder of files, from its path below the directory of its
    project.
    """
    if not any(child.file for child in dataset.datasets):
        return None
    for text in (
        dataset.id,
        dataset.name,
        *(child.id.rpartition("/")[0] for child in dataset.datasets),
    ):
        parts = text.strip("/").split("/")
        start = next((number for number, part in enumerate(parts) if part in PROJECTS), None)
        found = _dsid(".".join(parts[start:])) if start is not None else None
        if found is not None:
            return found
    return None


def _dsid(text: str) -> DatasetId | None:
    try:
        return DatasetId.parse(text)
    except SourceError:
        return None
