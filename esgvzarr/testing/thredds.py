"""A THREDDS data server for clients of an ESGF data node: file server, catalogues, and faults."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from email.utils import formatdate
from pathlib import Path
from urllib.parse import quote

from .catalogue import (
    catalogue_of_dataset,
    catalogue_of_directory,
    catalogue_of_references,
    describe_file,
)
from .faults import LOGIN_PAGE, Fault, FaultPlan
from .loopback import Asked, FileSlice, LoopbackServer, Response, text_response

_CATALOG = "/thredds/catalog/"
_SINGLE_RANGE = re.compile(r"bytes=(\d+)-(\d*)\Z")
_CONTENT_TYPES = {".json": "application/json", ".html": "text/html; charset=utf-8"}
"""Media types of served files; other files are NetCDF."""


class ThreddsServer(LoopbackServer):
    """Serves the files below ``root`` while the context is open.

    The file server accepts HEAD and GET with single ranges ``a-b`` and ``a-``. Like TDS, it answers
    500 to suffix and multiple ranges, 400 to a directory and 404 to dot-files; it states the date
    of files and no ETag. Catalogues are below ``/thredds/catalog/``.

    >>> with ThreddsServer(tmp_path) as server:
    ...     server.fault(Latency(0.1), "*.nc") ...     requests.get(server.url_of("tas.nc"))

    Args:
        root: directory that is served.
        tls: serve https; ``ca_bundle`` is the PEM file to verify it with.
        cors: allow web pages of any origin to read the answers. TDS does not.
        prefix: URL path of ``root``.
    """

    def __init__(
        self,
        root: Path,
        *,
        tls: bool = False,
        cors: bool = False,
        prefix: str = "/thredds/fileServer/esg_dataroot",
    ) -> None:
        super().__init__(tls=tls, cors=cors)
        self.root = Path(root)
        self.prefix = "/" + prefix.strip("/")
        self._base, _, self._root_name = self.prefix.rpartition("/")
        self._datasets: dict[str, str] = {}
        self._faults = FaultPlan()

    @property
    def login_url(self) -> str:
        """An HTML page on a host name that clients take for another host."""
        return f"{self.scheme}://{self.other_host}/login"

    @property
    def catalog_url(self) -> str:
        """The root catalogue."""
        return f"{self.url}{_CATALOG}catalog.xml"

    def url_of(self, path: str | Path) -> str:
        """Return the URL of a file, given below ``root`` or absolute."""
        return f"{self.url}{quote(f'{self.prefix}/{self._relative(path)}')}"

    def add_dataset(self, dataset_id: str, files: Iterable[str | Path]) -> str:
        """Make the catalogue of a dataset (``<master_id>.v<version>``) as the ESGF publisher does,
        and return its URL.
        """
        described = [
            describe_file(self.root / file, f"{self._root_name}/{self._relative(file)}")
            for file in files
        ]
        path = f"{_CATALOG}esgcet/{len(self._datasets) + 1}/{dataset_id}.xml"
        self._datasets[path] = catalogue_of_dataset(dataset_id, f"{self._base}/", described)
        return self.url + path

    def fault(self, fault: Fault, paths: str = "*", methods: Collection[str] = ()) -> None:
        """From now on, apply ``fault`` to requests whose URL path matches a glob, and with these
        methods (all, if empty).

        The latest fault that matches applies.
        """
        self._faults.add(fault, paths, methods)

    def heal(self) -> None:
        """Remove all faults."""
        self._faults.clear()

    def answer(self, asked: Asked) -> Response:
        """Return the answer, with faults applied."""
        return self._faults.answer(asked, self._usual_answer)

    def _usual_answer(self, asked: Asked) -> Response:
        path = asked.path
        if path == "/login":
            return text_response(200, LOGIN_PAGE, "text/html; charset=utf-8")
        if path.startswith(self.prefix + "/"):
            return answer_file(self.root, path.removeprefix(self.prefix + "/"), asked.range)
        text = self._catalogue(path)
        return (
            text_response(404)
            if text is None
            else text_response(200, text, "application/xml;charset=UTF-8")
        )

    def _catalogue(self, path: str) -> str | None:
        if path in self._datasets:
            return self._datasets[path]
        if path in ("/thredds/catalog.xml", f"{_CATALOG}catalog.xml"):
            names = [self._root_name, *(["esgcet"] if self._datasets else [])]
            return catalogue_of_references(
                "THREDDS", [(name, f"{_CATALOG}{name}/catalog.xml") for name in names]
            )
        if path == f"{_CATALOG}esgcet/catalog.xml":
            hrefs = ((path.removeprefix(f"{_CATALOG}esgcet/")) for path in self._datasets)
            return catalogue_of_references("esgcet", [(Path(href).stem, href) for href in hrefs])
        below = re.match(rf"{_CATALOG}{re.escape(self._root_name)}/(.*/)?catalog\.xml\Z", path)
        return self._directory_catalogue((below.group(1) or "").rstrip("/")) if below else None

    def _directory_catalogue(self, relative: str) -> str | None:
        directory = self.root / relative
        if _is_hidden(relative) or not directory.is_dir():
            return None
        shown = sorted(entry for entry in directory.iterdir() if not entry.name.startswith("."))
        files = [
            (entry.name, f"{self._root_name}/{self._relative(entry)}", entry.stat().st_size)
            for entry in shown
            if entry.is_file()
        ]
        subdirectories = [entry.name for entry in shown if entry.is_dir()]
        return catalogue_of_directory(
            relative or self._root_name, f"{self._base}/", subdirectories, files
        )

    def _relative(self, path: str | Path) -> str:
        return (self.root / path).relative_to(self.root).as_posix()


def answer_file(root: Path, relative: str, range_header: str | None) -> Response:
    """Return the answer of TDS's file server to a request for a file below ``root``."""
    path = root / relative
    if _is_hidden(relative) or not path.exists():
        return text_response(404)
    if path.is_dir():
        return text_response(400, "not a file")
    stat = path.stat()
    headers = {
        "Content-Type": _CONTENT_TYPES.get(path.suffix, "application/x-netcdf"),
        "Accept-Ranges": "bytes",
        "Last-Modified": formatdate(stat.st_mtime, usegmt=True),
    }
    if range_header is None:
        return Response(200, headers, FileSlice(path, 0, stat.st_size))
    single = _SINGLE_RANGE.match(range_header)
    if single is None:
        return text_response(500, f"Range not understood: {range_header}")
    first = int(single.group(1))
    last = min(int(single.group(2) or stat.st_size), stat.st_size - 1)
    if first > last:
        return text_response(416, Content_Range=f"bytes */{stat.st_size}")
    headers["Content-Range"] = f"bytes {first}-{last}/{stat.st_size}"
    return Response(206, headers, FileSlice(path, first, last + 1 - first))


def _is_hidden(relative: str) -> bool:
    return any(part.startswith(".") for part in relative.split("/"))
