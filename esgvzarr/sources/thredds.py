"""Read THREDDS catalogues (InvCatalog XML) into ``DatasetRecord``.

``parse_catalogue`` parses one page without input or output; ``read_catalogue`` reads pages,
following ``catalogRef``, until it finds the dataset. Catalogues are not trusted: no entities,
bounded depth, a bounded number of pages, allowed hosts only.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Sequence
from urllib.parse import urldefrag, urlsplit, urlunsplit

from ..errors import SourceError, TransportError
from ..model import DatasetId, DatasetRecord
from ..transport import LONGEST_DOCUMENT, Transport, host_of, is_url
from .names import is_data_name, is_netcdf_name
from .thredds_page import (
    Catalogue,
    CatalogueDataset,
    CatalogueRef,
    dsid_of,
    parse_catalogue,
    stem_of,
)

MAX_PAGES = 100
"""The most catalogue pages that are read to find one dataset."""
MAX_DEPTH = 20
"""The most ``catalogRef`` steps from the given page: a tree of directories has one level for each
facet.
"""
MAX_BYTES = 256 * 2**20
"""The most bytes of all pages together."""


def read_catalogue(
    url: str, transport: Transport, dataset_id: DatasetId | None = None
) -> DatasetRecord:
    """Return the dataset that a catalogue page holds or links to.

    Without ``dataset_id`` it is the dataset that the address names (``.../<DSID>.xml``), else the
    only one on the page. Linked pages that name the dataset or its facets are read first.

    Raises:
        SourceError: the page is not a catalogue, or the read pages do not hold the dataset.
        TransportError: the given page cannot be read.
    """
    url = catalogue_address(url)
    asked = dataset_id or dsid_of(stem_of(url))
    if asked is None:
        return _record(*_only_dataset(parse_catalogue(transport.read_document(url), url)), url)
    return _search(url, transport, asked)


def _search(url: str, transport: Transport, asked: DatasetId) -> DatasetRecord:
    """Read the nearest page first, and the deepest of equally near ones."""
    queue = [(0, 0, 0, url)]
    seen = {url}
    unread = list[SourceError | TransportError]()
    left = MAX_BYTES
    for _ in range(MAX_PAGES):
        if not queue:
            break
        _, height, _, page = heapq.heappop(queue)
        try:
            xml = transport.read_document(page, limit=min(left, LONGEST_DOCUMENT))
            left -= len(xml)
            catalogue = parse_catalogue(xml, page)
        except (SourceError, TransportError) as error:
            if page == url:
                raise
            unread.append(error)
            continue
        dataset = _find(catalogue, asked, may_be_unnamed=page == url)
        if dataset is not None:
            return _record(asked, dataset, page)
        for ref in catalogue.references:
            if -height < MAX_DEPTH and ref.url not in seen:
                seen.add(ref.url)
                heapq.heappush(queue, (_distance(ref, asked), height - 1, len(seen), ref.url))
    raise _not_found(url, asked, len(seen) - len(queue), unread)


def _find(
    catalogue: Catalogue, asked: DatasetId, *, may_be_unnamed: bool
) -> CatalogueDataset | None:
    """Return the dataset on a page that states the DSID, or is its folder.

    A page of one folder and no further links may state no DSID. Then its address must name the
    dataset, or the user must have given this page (``may_be_unnamed``).
    """
    datasets = list(catalogue.walk())
    stating = _outermost(dataset for dataset in datasets if dataset.dataset_id == asked)
    if stating:
        _check_once(stating, asked, catalogue.url)
        return stating[0]
    folders_of_it = _outermost(dataset for dataset in datasets if _is_folder_of(dataset, asked))
    if folders_of_it:
        _check_once(folders_of_it, asked, catalogue.url)
        _check_has_all_files(catalogue, asked)
        return folders_of_it[0]
    named = dsid_of(stem_of(catalogue.url))
    is_named = named == asked or (named is None and may_be_unnamed)
    return _only_folder(catalogue, datasets) if is_named else None


def _only_folder(
    catalogue: Catalogue, datasets: Sequence[CatalogueDataset]
) -> CatalogueDataset | None:
    """Return the only folder of a page that states no DSID and links to no other page."""
    if catalogue.references or any(dataset.dataset_id for dataset in datasets):
        return None
    folders = list(filter(_holds_files, datasets)) or datasets
    return folders[0] if len(folders) == 1 else None


def _outermost(datasets: Iterable[CatalogueDataset]) -> list[CatalogueDataset]:
    """Return the datasets that are in no other one of them, in their order."""
    found: list[CatalogueDataset] = []
    for dataset in datasets:
        inner = itertools.chain.from_iterable(outer.walk() for outer in found)
        if not any(dataset is one for one in inner):
            found.append(dataset)
    return found


def _holds_files(dataset: CatalogueDataset) -> bool:
    return any(child.file for child in dataset.datasets)


def _check_once(datasets: Sequence[CatalogueDataset], asked: DatasetId, page: str) -> None:
    """Refuse several elements of one DSID: they may be parts or states of it, and one alone is not
    the whole dataset.
    """
    if len(datasets) > 1:
        counts = " and ".join(str(len(dataset.files)) for dataset in datasets)
        raise SourceError(
            page,
            f"lists {asked} in {len(datasets)} dataset elements, of {counts} files",
            expected="one element with all files",
            todo="Write the catalogue again, or give the mapfile or publication records.",
            code="source-incomplete",
        )


def _is_folder_of(dataset: CatalogueDataset, asked: DatasetId) -> bool:
    """Whether the path of a scanned folder is that of the DSID:
    ``.../<facet>/<facet>/.../v<version>``.
    """
    paths = (
        text.strip("/").replace("/", ".") for text in (dataset.id, dataset.name) if "/" in text
    )
    return any(f".{path}".endswith(f".{asked}") for path in paths)


def _check_has_all_files(catalogue: Catalogue, asked: DatasetId) -> None:
    if catalogue.references:
        raise SourceError(
            catalogue.url,
            f"the folder of {asked} holds further folders, first {catalogue.references[0].title!r}",
            expected="all files of the dataset on one page",
            todo="Give its mapfile or publication records.",
            code="source-incomplete",
        )


def _only_dataset(catalogue: Catalogue) -> tuple[DatasetId, CatalogueDataset]:
    stated: dict[DatasetId, list[CatalogueDataset]] = {}
    for dataset in catalogue.walk():
        if dataset.dataset_id is not None:
            stated.setdefault(dataset.dataset_id, []).append(dataset)
    if len(stated) != 1:
        names = ", ".join(sorted(map(str, stated))[:10])
        raise SourceError(
            catalogue.url,
            f"holds {len(stated)} datasets with files and a DSID {names}".rstrip(),
            expected="one",
            todo="Give --dataset-id <DSID>, or the dataset's own catalogue page.",
            code="source-several",
        )
    found, datasets = stated.popitem()
    datasets = _outermost(datasets)
    _check_once(datasets, found, catalogue.url)
    return found, datasets[0]


def _record(dataset_id: DatasetId, dataset: CatalogueDataset, page: str) -> DatasetRecord:
    _check_nothing_left(dataset_id, dataset, page)
    files = dataset.files
    hosts = sorted({host_of(file.url) for file in files})
    if len(hosts) > 1 or len({file.url for file in files}) < len(files):
        found = f"lists files of {dataset_id} on {', '.join(hosts)}, or the same file twice"
        raise SourceError(
            page, found, expected="one data node, each file once", code="source-several"
        )
    replica = dataset.properties.get("replica", "").lower() == "true"
    return DatasetRecord(
        dataset_id, hosts[0], files, replica=replica, pid=dataset.properties.get("pid") or None
    )


def _check_nothing_left(dataset_id: DatasetId, dataset: CatalogueDataset, page: str) -> None:
    """Check that no data of the dataset are left out. The path shows the type of a file whose name
    is only a title.
    """
    for child in dataset.walk():
        name = child.path.rpartition("/")[2] or ("" if child.datasets else child.name)
        if child.file is not None or not is_data_name(name):
            continue
        if is_netcdf_name(name):
            raise SourceError(
                page,
                f"no HTTPServer serves {name} of {dataset_id}",
                expected="every file served over HTTP",
                todo="esgvzarr can only reference files that are served over HTTP, and "
                "references must show the whole dataset.",
                code="source-url",
            )
        raise SourceError(
            page,
            f"lists {name} as data of {dataset_id}, which is not a plain NetCDF file",
            expected="NetCDF files only",
            todo="References must show the whole dataset: publish the file as plain NetCDF.",
            code="source-incomplete",
        )


def _distance(ref: CatalogueRef, asked: DatasetId) -> int:
    """Return 0 if the page is named after the dataset, 1 if after one of its facets, 2
    otherwise.
    """
    names = {ref.title, stem_of(ref.url), ref.url.rpartition("/")[0].rpartition("/")[2]}
    if str(asked) in names:
        return 0
    return 1 if names & {*asked.master_id.split("."), f"v{asked.version}"} else 2


def _not_found(
    url: str, asked: DatasetId, pages: int, unread: list[SourceError | TransportError]
) -> SourceError:
    found = f"has no {asked} in the {pages} pages read"
    if unread:
        found += f"; {len(unread)} could not be read, the first: {unread[0]}"
    return SourceError(
        url,
        found,
        expected=(
            f"a dataset with that ID, its files served by an HTTPServer, within {MAX_PAGES} pages"
        ),
        todo="Give the dataset's own catalogue page.",
        code="source-none",
        retryable=any(error.retryable for error in unread),
    )


def catalogue_address(url: str) -> str:
    """Return ``catalog.xml`` for ``catalog.html``, which is the same catalogue shown to people."""
    if not is_url(url):
        return url
    host_of(url)  # Raises if it is not a URL.
    parts = urlsplit(url)
    if not parts.path.endswith(".html"):
        return urldefrag(url).url
    return urlunsplit(
        (parts.scheme, parts.netloc, parts.path.removesuffix(".html") + ".xml", "", "")
    )
