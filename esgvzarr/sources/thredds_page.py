"""Parse one page of a THREDDS catalogue: its datasets, their files with URLs, and the pages that it
links to.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import quote, unquote, urldefrag, urljoin, urlsplit

from ..errors import SourceError, TransportError
from ..model import DatasetId, FileRecord
from ..transport import is_url
from ..transport.urls import parse_url
from .names import is_netcdf_name

_MAX_NESTING = 50


_MAX_SERVICES = 1000
MAX_ELEMENTS = 1_000_000
"""The most XML elements of one page: a hundred thousand files, or links to as many datasets."""
_HREF = "{http://www.w3.org/1999/xlink}href"
_TITLE = "{http://www.w3.org/1999/xlink}title"
_LEGAL = "%:/?#[]@!$&'()*+,;=~"


@dataclass(frozen=True, slots=True)
class CatalogueDataset:
    """One ``dataset`` element: a file, a dataset of files, or a folder."""

    id: str
    name: str
    properties: Mapping[str, str]
    file: FileRecord | None
    """The file that the element itself is, if it is a NetCDF file served over HTTP."""
    datasets: tuple[CatalogueDataset, ...]
    path: str = ""
    """``urlPath`` of its own data on the server, of any type and service."""

    def walk(self) -> Iterator[CatalogueDataset]:
        """Yield the dataset and all datasets in it, outermost first."""
        yield self
        for dataset in self.datasets:
            yield from dataset.walk()

    @property
    def files(self) -> tuple[FileRecord, ...]:
        """Return all files in it, at any depth."""
        return tuple(dataset.file for dataset in self.walk() if dataset.file is not None)

    @property
    def dataset_id(self) -> DatasetId | None:
        """Return the DSID that it states: as its ID, its name, or in the properties of the ESGF
        publisher.
        """
        version = self.properties.get("dataset_version", "")
        for text in (
            self.id,
            self.name,
            f"{self.properties.get('dataset_id')}.v{version.removeprefix('v')}",
        ):
            if (found := dsid_of(text)) is not None:
                return found
        return None


@dataclass(frozen=True, slots=True)
class CatalogueRef:
    """A link to another catalogue page."""

    url: str
    title: str


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The content of one catalogue page."""

    url: str
    datasets: tuple[CatalogueDataset, ...]
    """The outermost datasets."""
    references: tuple[CatalogueRef, ...]

    def walk(self) -> Iterator[CatalogueDataset]:
        """Yield all datasets that hold or are files, outermost first."""
        for top in self.datasets:
            yield from (dataset for dataset in top.walk() if dataset.files)

    @property
    def dataset_ids(self) -> set[DatasetId]:
        """Return the DSIDs that the page states, of datasets on it and of linked pages."""
        named = [dataset.dataset_id for dataset in self.walk()]
        named += [dsid_of(ref.title) or dsid_of(stem_of(ref.url)) for ref in self.references]
        return {found for found in named if found is not None}


def parse_catalogue(xml: bytes, url: str) -> Catalogue:
    """Parse one catalogue page; ``url`` is its address.

    Raises:
        SourceError: the page is not a catalogue, or exceeds a limit.
    """
    root = _parse_xml(xml, url)
    page = _Page(url, urljoin(url, root.get("base", "")), _http_services(root, url))
    try:
        datasets = tuple(page.dataset(element, None, 1) for element in root.findall("{*}dataset"))
        references = tuple(map(page.reference, root.findall(".//{*}catalogRef")))
    except ValueError as error:
        raise SourceError(
            url, f"holds an invalid address: {error}", code="source-catalogue"
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
            todo="Check the URL: it may be an HTML page or a login page.",
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
    """Return the HTTPServer of each service, itself or inside a Compound; services without one are
    left out.
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
    """What the elements of a page refer to."""

    url: str
    base: str
    services: Mapping[str, _Service]

    def reference(self, element: ET.Element) -> CatalogueRef:
        """Read a ``catalogRef`` element."""
        href = quote(element.get(_HREF) or "", safe=_LEGAL)
        title = element.get(_TITLE) or element.get("name") or ""
        return CatalogueRef(urldefrag(urljoin(self.base, href)).url, title)

    def dataset(self, element: ET.Element, inherited: str | None, nesting: int) -> CatalogueDataset:
        """Read a ``dataset`` element with everything in it; ``inherited`` is the service name of
        its parents.
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
                todo = (
                    "Give the catalogue by its URL: the addresses of its services are relative "
                    "to it."
                )
            found = f"file {url} is not at an http(s) URL: it {error.found}"
            raise SourceError(
                self.url, found, expected=error.expected, todo=todo, code="source-url"
            ) from error

    def _accesses(self, element: ET.Element, service: str | None) -> list[tuple[str, str]]:
        """Return ``urlPath`` and service, of the dataset itself and of each ``access`` in it."""
        accesses = [(element.get("urlPath") or "", service or "")]
        for access in element.findall("{*}access"):
            own = access.get("serviceName") or _text(access, "{*}serviceName") or service
            accesses.append((access.get("urlPath") or "", own or ""))
        return accesses

    def _file_url(self, accesses: Sequence[tuple[str, str]]) -> str | None:
        """Return the URL: base of the HTTPServer service + ``urlPath`` + suffix."""
        for path, name in accesses:
            http = self.services.get(name)
            if path and http:
                return urljoin(self.base, quote(f"{http.base}{path}{http.suffix}", safe=_LEGAL))
        return None


def _text(element: ET.Element, path: str) -> str:
    return (element.findtext(path) or "").strip()


def stem_of(url: str) -> str:
    """Return the name of a page without ``.xml``: the DSID, if pages are named after datasets."""
    return unquote(urlsplit(url).path).rpartition("/")[2].removesuffix(".xml")


def dsid_of(text: str) -> DatasetId | None:
    """Return the text as a DSID; None if it is none."""
    try:
        return DatasetId.parse(text)
    except SourceError:
        return None
