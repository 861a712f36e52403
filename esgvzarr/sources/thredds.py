"""THREDDS catalogues (InvCatalog XML) -> ``DatasetRecord``.

``parse_catalogue`` says what one page holds and touches nothing; ``read_catalogue`` reads pages,
following ``catalogRef``, until it has the dataset. Catalogues come from strangers: no entities,
bounded depth, bounded number of pages, allowed hosts only.
"""

from __future__ import annotations

import heapq
import itertools
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import quote, unquote, urldefrag, urljoin, urlsplit, urlunsplit

from ..errors import SourceError, TransportError
from ..model import DatasetId, DatasetRecord, FileRecord
from ..transport import LONGEST_DOCUMENT, Transport, host_of, is_url
from ..transport.urls import parse_url
from .names import is_data_name, is_netcdf_name

MAX_PAGES = 100
"""Catalogue pages that are read in search of one dataset."""
MAX_DEPTH = 20
"""``catalogRef`` steps from the page given: a tree of directories has one level for each facet."""
_MAX_NESTING = 50
_MAX_SERVICES = 1000
MAX_ELEMENTS = 1_000_000
"""XML elements of one page: of a hundred thousand files, or of links to as many datasets."""
MAX_BYTES = 256 * 2**20
"""Of all pages together."""
_HREF = "{http://www.w3.org/1999/xlink}href"
_TITLE = "{http://www.w3.org/1999/xlink}title"
_LEGAL = "%:/?#[]@!$&'()*+,;=~"


@dataclass(frozen=True, slots=True)
class CatalogueDataset:
    """One ``dataset`` element: a file, a dataset of files, or a folder of them."""

    id: str
    name: str
    properties: Mapping[str, str]
    file: FileRecord | None
    """What it is itself, where it is a NetCDF file that is served over HTTP."""
    datasets: tuple[CatalogueDataset, ...]
    path: str = ""
    """Of its own data on the server, whatever they are and however they are served."""

    def walk(self) -> Iterator[CatalogueDataset]:
        """Itself and all datasets in it, outermost first."""
        yield self
        for dataset in self.datasets:
            yield from dataset.walk()

    @property
    def files(self) -> tuple[FileRecord, ...]:
        """All files in it, at whatever depth."""
        return tuple(dataset.file for dataset in self.walk() if dataset.file is not None)

    @property
    def dataset_id(self) -> DatasetId | None:
        """The DSID that it states: as its ID, its name, or in the ESGF publisher's properties."""
        version = self.properties.get("dataset_version", "")
        for text in (
            self.id,
            self.name,
            f"{self.properties.get('dataset_id')}.v{version.removeprefix('v')}",
        ):
            if (found := _dsid(text)) is not None:
                return found
        return None


@dataclass(frozen=True, slots=True)
class CatalogueRef:
    """A link to another catalogue page."""

    url: str
    title: str


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What one catalogue page holds."""

    url: str
    datasets: tuple[CatalogueDataset, ...]
    """The outermost ones."""
    references: tuple[CatalogueRef, ...]

    def walk(self) -> Iterator[CatalogueDataset]:
        """All datasets that hold or are files, outermost first."""
        for top in self.datasets:
            yield from (dataset for dataset in top.walk() if dataset.files)

    @property
    def dataset_ids(self) -> set[DatasetId]:
        """The DSIDs that the page states, of datasets on it and of pages that it leads to."""
        named = [dataset.dataset_id for dataset in self.walk()]
        named += [_dsid(ref.title) or _dsid(_stem(ref.url)) for ref in self.references]
        return {found for found in named if found is not None}


def read_catalogue(
    url: str, transport: Transport, dataset_id: DatasetId | None = None
) -> DatasetRecord:
    """The dataset that a catalogue page holds or leads to.

    Without ``dataset_id`` it is the one that the address names (``.../<DSID>.xml``), else the only
    one on the page. Of the pages that a page refers to, those that name the dataset or its facets
    are read first.

    Raises:
        SourceError: not a catalogue, or no such dataset in the pages that were read.
        TransportError: the page given cannot be read.
    """
    url = catalogue_address(url)
    asked = dataset_id or _dsid(_stem(url))
    if asked is None:
        return _record(*_only_dataset(parse_catalogue(transport.read_document(url), url)), url)
    return _search(url, transport, asked)


def _search(url: str, transport: Transport, asked: DatasetId) -> DatasetRecord:
    """Read the nearest page first, and of equally near ones the deepest."""
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


def parse_catalogue(xml: bytes, url: str) -> Catalogue:
    """What one catalogue page says; ``url`` is where it was read from.

    Raises:
        SourceError: not a catalogue, or one that is built to harm.
    """
    root = _parse_xml(xml, url)
    page = _Page(url, urljoin(url, root.get("base", "")), _http_services(root, url))
    try:
        datasets = tuple(page.dataset(element, None, 1) for element in root.findall("{*}dataset"))
        references = tuple(map(page.reference, root.findall(".//{*}catalogRef")))
    except ValueError as error:
        raise SourceError(
            url, f"holds an address that is invalid: {error}", code="source-catalogue"
        ) from error
    return Catalogue(url, datasets, tuple(ref for ref in references if is_url(ref.url)))


class _Bounded(ET.TreeBuilder):
    """Refuses more elements than a page has, and the document type declaration, the only place
    where entities can be declared.
    """

    _elements = 0

    def start(self, tag: str, attrs: dict[str, str]) -> ET.Element:
        self._elements += 1
        if self._elements > MAX_ELEMENTS:
            raise ValueError(f"has more than {MAX_ELEMENTS} elements")
        return super().start(tag, attrs)

    def doctype(self, name: str, pubid: str | None, system: str | None) -> NoReturn:
        raise ValueError(f"declares the document type {name!r}")


def _parse_xml(xml: bytes, url: str) -> ET.Element:
    try:
        root = ET.fromstring(xml, ET.XMLParser(target=_Bounded()))  # noqa: S314 - no DOCTYPE, so no entities
    except (ET.ParseError, ValueError, LookupError) as error:
        raise SourceError(
            url,
            f"is not a THREDDS catalogue: {error}",
            expected="InvCatalog XML",
            todo="Is it an HTML or a login page?",
            code="source-catalogue",
        ) from error
    if root.tag.rpartition("}")[2] != "catalog":
        raise SourceError(
            url,
            f"its root element is {root.tag!r}",
            expected="a THREDDS <catalog>",
            code="source-catalogue",
        )
    return root


@dataclass(frozen=True, slots=True)
class _Service:
    base: str
    suffix: str


def _http_services(root: ET.Element, url: str) -> dict[str, _Service]:
    """The HTTPServer of each service, itself or inside its Compound; services without one are left
    out.
    """
    services = root.findall(".//{*}service")
    if len(services) > _MAX_SERVICES:
        raise SourceError(
            url,
            f"has {len(services)} services",
            expected=f"at most {_MAX_SERVICES}",
            code="source-catalogue",
        )
    found: dict[str, _Service] = {}
    for service in services:
        for leaf in (service, *service.findall(".//{*}service")):
            if leaf.get("serviceType", "").lower() in ("httpserver", "http"):
                found.setdefault(
                    service.get("name", ""), _Service(leaf.get("base", ""), leaf.get("suffix", ""))
                )
    return found


@dataclass(frozen=True, slots=True)
class _Page:
    """What the elements of a page are read against."""

    url: str
    base: str
    services: Mapping[str, _Service]

    def reference(self, element: ET.Element) -> CatalogueRef:
        """A ``catalogRef`` element."""
        href = quote(element.get(_HREF) or "", safe=_LEGAL)
        title = element.get(_TITLE) or element.get("name") or ""
        return CatalogueRef(urldefrag(urljoin(self.base, href)).url, title)

    def dataset(self, element: ET.Element, inherited: str | None, nesting: int) -> CatalogueDataset:
        """A ``dataset`` element with all in it; ``inherited`` is the service name that its parents
        hand down.
        """
        if nesting > _MAX_NESTING:
            raise SourceError(
                self.url, f"datasets are nested deeper than {_MAX_NESTING}", code="source-catalogue"
            )
        handed_down = _text(element, "{*}metadata[@inherited='true']/{*}serviceName") or inherited
        service = (
            element.get("serviceName")
            or _text(element, "{*}serviceName")
            or _text(element, "{*}metadata/{*}serviceName")
            or handed_down
        )
        stated = (*element.findall("{*}property"), *element.findall("{*}metadata/{*}property"))
        properties = {item.get("name", ""): item.get("value", "") for item in stated}
        children = tuple(
            self.dataset(child, handed_down, nesting + 1) for child in element.findall("{*}dataset")
        )
        accesses = self._accesses(element, service)
        stated_size = properties.get("size") or _text(element, "{*}dataSize[@units='bytes']")
        file = self._file(accesses, stated_size, properties)
        paths = [path for path, _ in accesses if path]
        return CatalogueDataset(
            element.get("ID", ""),
            element.get("name", ""),
            properties,
            file,
            children,
            paths[0] if paths else "",
        )

    def _file(
        self, accesses: Sequence[tuple[str, str]], size: str, properties: Mapping[str, str]
    ) -> FileRecord | None:
        url = self._file_url(accesses)
        if url is None or not is_netcdf_name(urlsplit(url).path):
            return None
        self._check_url(url)
        if size and not (size.isascii() and size.isdigit()):
            raise SourceError(
                self.url,
                f"{url} has size {size!r}",
                expected="a number of bytes",
                code="source-catalogue",
            )
        return FileRecord(
            unquote(urlsplit(url).path.rpartition("/")[2]),
            url,
            int(size) if size else None,
            properties.get("checksum") or None,
            properties.get("checksum_type") or None,
            properties.get("tracking_id") or None,
        )

    def _check_url(self, url: str) -> None:
        try:
            parse_url(url)
        except TransportError as error:
            todo = ""
            if not is_url(self.url):
                todo = "Give the catalogue by its URL: its services are relative to it."
            found = f"file {url} is not at an http(s) URL: it {error.found}"
            raise SourceError(
                self.url, found, expected=error.expected, todo=todo, code="source-url"
            ) from error

    def _accesses(self, element: ET.Element, service: str | None) -> list[tuple[str, str]]:
        """``urlPath`` and service, of the dataset itself and of each ``access`` in it."""
        accesses = [(element.get("urlPath") or "", service or "")]
        for access in element.findall("{*}access"):
            own = access.get("serviceName") or _text(access, "{*}serviceName") or service
            accesses.append((access.get("urlPath") or "", own or ""))
        return accesses

    def _file_url(self, accesses: Sequence[tuple[str, str]]) -> str | None:
        """Base of the HTTPServer service + ``urlPath`` + suffix."""
        for path, name in accesses:
            http = self.services.get(name)
            if path and http:
                return urljoin(self.base, quote(f"{http.base}{path}{http.suffix}", safe=_LEGAL))
        return None


def _text(element: ET.Element, path: str) -> str:
    return (element.findtext(path) or "").strip()


def _find(
    catalogue: Catalogue, asked: DatasetId, *, may_be_unnamed: bool
) -> CatalogueDataset | None:
    """The dataset on a page that states the DSID, or is the folder of it.

    A page of one folder and no further links that states no DSID at all is taken at the word of its
    address, or, where it ``may_be_unnamed``, at the word of the user who gave the page.
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
    named = _dsid(_stem(catalogue.url))
    is_named = named == asked or (named is None and may_be_unnamed)
    return _only_folder(catalogue, datasets) if is_named else None


def _only_folder(
    catalogue: Catalogue, datasets: Sequence[CatalogueDataset]
) -> CatalogueDataset | None:
    """The one folder of a page that states no DSID and links to no other page."""
    if catalogue.references or any(dataset.dataset_id for dataset in datasets):
        return None
    folders = list(filter(_holds_files, datasets)) or datasets
    return folders[0] if len(folders) == 1 else None


def _outermost(datasets: Iterable[CatalogueDataset]) -> list[CatalogueDataset]:
    """Those that are in no other one of them; outermost first, as they come."""
    found: list[CatalogueDataset] = []
    for dataset in datasets:
        inner = itertools.chain.from_iterable(outer.walk() for outer in found)
        if not any(dataset is one for one in inner):
            found.append(dataset)
    return found


def _holds_files(dataset: CatalogueDataset) -> bool:
    return any(child.file for child in dataset.datasets)


def _check_once(datasets: Sequence[CatalogueDataset], asked: DatasetId, page: str) -> None:
    """Two elements of one DSID are two parts of it, or two states: one alone is not the dataset."""
    if len(datasets) > 1:
        counts = " and ".join(str(len(dataset.files)) for dataset in datasets)
        raise SourceError(
            page,
            f"lists {asked} in {len(datasets)} dataset elements, of {counts} files",
            expected="one element with all files",
            todo="Let the catalogue be written anew, or give the mapfile or publication records.",
            code="source-incomplete",
        )


def _is_folder_of(dataset: CatalogueDataset, asked: DatasetId) -> bool:
    """Whether a scanned folder has the DSID as its path: ``.../<facet>/<facet>/.../v<version>``."""
    paths = (
        text.strip("/").replace("/", ".") for text in (dataset.id, dataset.name) if "/" in text
    )
    return any(f".{path}".endswith(f".{asked}") for path in paths)


def _check_has_all_files(catalogue: Catalogue, asked: DatasetId) -> None:
    if catalogue.references:
        raise SourceError(
            catalogue.url,
            f"the folder of {asked} has folders in it, {catalogue.references[0].title!r} first",
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
        found = f"lists files of {dataset_id} on {', '.join(hosts)}, or the same one twice"
        raise SourceError(
            page, found, expected="one data node, each file once", code="source-several"
        )
    replica = dataset.properties.get("replica", "").lower() == "true"
    return DatasetRecord(
        dataset_id, hosts[0], files, replica=replica, pid=dataset.properties.get("pid") or None
    )


def _check_nothing_left(dataset_id: DatasetId, dataset: CatalogueDataset, page: str) -> None:
    """A file may be named by a title: what it is says its path, where it has one."""
    for child in dataset.walk():
        name = child.path.rpartition("/")[2] or ("" if child.datasets else child.name)
        if child.file is not None or not is_data_name(name):
            continue
        if is_netcdf_name(name):
            raise SourceError(
                page,
                f"no HTTPServer serves {name} of {dataset_id}",
                expected="every file served over HTTP",
                todo="Only files served over HTTP are referenced, and all of a dataset or none.",
                code="source-url",
            )
        raise SourceError(
            page,
            f"lists {name} as data of {dataset_id}, which is not a plain NetCDF file",
            expected="NetCDF files only",
            todo="References show all of a dataset or none: publish the file as plain NetCDF.",
            code="source-incomplete",
        )


def _distance(ref: CatalogueRef, asked: DatasetId) -> int:
    """0: the page is named for the dataset; 1: for one of its facets; 2: neither."""
    names = {ref.title, _stem(ref.url), ref.url.rpartition("/")[0].rpartition("/")[2]}
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
    """``catalog.html`` is ``catalog.xml`` shown to people."""
    if not is_url(url):
        return url
    host_of(url)  # raises where it is no URL
    parts = urlsplit(url)
    if not parts.path.endswith(".html"):
        return urldefrag(url).url
    return urlunsplit(
        (parts.scheme, parts.netloc, parts.path.removesuffix(".html") + ".xml", "", "")
    )


def _stem(url: str) -> str:
    return unquote(urlsplit(url).path).rpartition("/")[2].removesuffix(".xml")


def _dsid(text: str) -> DatasetId | None:
    try:
        return DatasetId.parse(text)
    except SourceError:
        return None
