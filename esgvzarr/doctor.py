"""Whether a data node can do what publishing and reading need, and what to do where it cannot.

Each check is a small function over a ``Node``, and yields rows; an error that it raises is its last
row. Nothing is sent that would change an index, nobody is asked to log in, and the one file that is
written is removed again.
"""

from __future__ import annotations

import json
import os
import shutil
import ssl
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from . import esgpublish
from .drs import PROJECTS
from .errors import EsgvzarrError, SettingsError, SourceError
from .esg_yaml import read_config
from .formats import recognise
from .generate import make_transport
from .indexes import Index
from .link.add import place
from .link.address import address_of_config, open_index
from .link.ledger import Ledger
from .link.states import DONE
from .link.task import IndexAddress
from .model import DatasetId, DatasetRecord, FileRecord
from .output.placing import remove_leftovers, remove_reference, staging, write_reference, writing
from .settings import Settings
from .transport import Answer, Transport, host_of, is_url

_MOST_DIRECTORIES = 5000
"""In which a NetCDF file is looked for."""
_HEADS = 5
_SLOW_S = 0.3
_CLOCK_S = 60.0
_FEW_DAYS = 14
_LITTLE_ROOM = 2**30
_ORIGIN = "https://example.org"
_ENDPOINTS = ("scope_endpoint", "token_endpoint", "device_endpoint")
NGINX_CORS = (
    "add_header Access-Control-Allow-Origin * always;\n"
    'add_header Access-Control-Expose-Headers "Content-Range, Content-Length, Accept-Ranges" '
    "always;"
)
"""For the location that serves the files. MDN, "Cross-Origin Resource Sharing"; nginx,
ngx_http_headers_module.
"""
TDS_CORS = (
    "<CORS><enabled>true</enabled><allowedMethods>GET</allowedMethods>"
    "<allowedOrigin>*</allowedOrigin></CORS>"
)
"""For ``threddsConfig.xml``. TDS administrator's guide, "threddsConfig.xml", CORS."""

Health = Literal["good", "note", "bad"]
"""``note``: it works, but something could be better or is unknown. ``bad``: something will not
work.
"""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What one check found."""

    check: str
    health: Health
    found: str
    todo: str = ""


class Node:
    """The data node that is looked at.

    Args:
        config: esgcet's ``esg.yaml``; None where there is none.
        settings: from the same file.
        transport: the hosts of what is looked at are allowed on it, wherever they are: all are the
            operator's.
        url: of a published NetCDF file; found where it is empty.
    """

    def __init__(
        self, config: Path | None, settings: Settings, transport: Transport, url: str = ""
    ) -> None:
        self.config = config
        self.settings = settings
        self.transport = transport
        self._url = url
        self.document: Mapping[str, Any] = read_config(config) if config else {}

    @cached_property
    def file(self) -> FileRecord:
        """A published NetCDF file of this node.

        Raises:
            SourceError: there is none.
        """
        found = self._named() if self._url else self._in_ledger() or self._on_disk()
        if found is None:
            raise SourceError(
                "a published file",
                "none was found in the ledger, data_paths or data_roots",
                expected="one to try",
                todo="Give its URL: esgvzarr doctor URL",
                code="source-no-file",
            )
        self.transport.allow(host_of(found.url), named=True)
        return found

    @cached_property
    def answers(self) -> list[Answer]:
        """What the server says to HEAD requests for the file, one after the other on one
        connection.
        """
        return [self.transport.ask(self.file.url, method="HEAD") for _ in range(_HEADS)]

    def _named(self) -> FileRecord:
        name = self._url.rsplit("/", 1)[-1]
        for directory, prefix in self._roots():
            if self._url.startswith(prefix) and os.path.isfile(
                path := directory + self._url.removeprefix(prefix)
            ):
                return FileRecord(name, self._url, path=path)
        return FileRecord(name, self._url)

    def _in_ledger(self) -> FileRecord | None:
        ledger = Ledger(self.settings.ledger)
        with suppress(EsgvzarrError):  # the ledger's own row says so
            for last in reversed(ledger.latest()):
                task = ledger.task(last.dataset_id)
                if task and task.record.files and is_url(task.record.files[0].url):
                    return task.record.files[0]
        return None

    def _on_disk(self) -> FileRecord | None:
        for directory, prefix in self._roots():
            for number, (folder, _, names) in enumerate(os.walk(directory)):
                if number > _MOST_DIRECTORIES:
                    break
                for name in names:
                    if name.endswith(".nc") and not name.startswith("."):
                        path = os.path.join(folder, name)
                        return FileRecord(name, prefix + path.removeprefix(directory), path=path)
        return None

    def _roots(self) -> Iterator[tuple[str, str]]:
        """(directory, URL prefix), neither with a ``/`` at its end."""
        for directory, prefix in self.settings.data_paths.items():
            yield directory.rstrip("/"), prefix.rstrip("/")


Check = Callable[[Node], Iterator[Diagnosis]]


def examine(config: Path | None, settings: Settings, url: str = "") -> list[Diagnosis]:
    """Look at a data node.

    Args:
        config: esgcet's ``esg.yaml``; None where there is none.
        settings: from the same file.
        url: of a published NetCDF file to try; one is found where it is empty.

    Raises:
        SettingsError: ``esg.yaml`` cannot be read.
    """
    with make_transport(settings) as transport:
        node = Node(config, settings, transport, url)
        rows = _rows((_esgcet, _ledger), node)
        try:
            rows.append(Diagnosis("file", "good", f"{node.file.url} is tried"))
        except EsgvzarrError as error:
            rows.append(_bad("file", error))
        else:
            checks = (_head, _ranges, _encoding, _tls, _clock, _latency, _browsers, _directory)
            rows += _rows(checks, node)
        if config is not None:
            of_index = (_vocabulary, _index, _login, _endpoints)
            rows += _rows(of_index, node)
    return rows


def _rows(checks: Sequence[Check], node: Node) -> list[Diagnosis]:
    """What the checks say. One that raises is a row too."""
    rows = []
    for check in checks:
        try:
            rows += list(check(node))
        except EsgvzarrError as error:
            rows.append(_bad(check.__name__.strip("_"), error))
    return rows


def _bad(check: str, error: EsgvzarrError) -> Diagnosis:
    expected = f" (expected {error.expected})" if error.expected else ""
    return Diagnosis(check, "bad", f"{error.subject}: {error.found}{expected}", error.todo)


def _esgcet(node: Node) -> Iterator[Diagnosis]:
    if node.config is None:
        yield Diagnosis(
            "esgcet", "note", "there is no esg.yaml: only esgvzarr generate and verify can be used"
        )
        return
    esgpublish.check_config(node.config)
    yield Diagnosis("esgcet", "good", f"esgcet {version('esgcet')}, {node.config}")
    with suppress(PackageNotFoundError):
        if tuple(map(int, version("pandas").split(".")[:2])) >= (3, 1):
            yield Diagnosis(
                "esgcet",
                "note",
                f"pandas {version('pandas')}: esglogin and esgunpublish fail",
                "pip install 'pandas<3.1'",
            )


def _ledger(node: Node) -> Iterator[Diagnosis]:
    ledger = Ledger(node.settings.ledger)
    if not ledger.path.exists():  # looking makes no file
        yield _ledger_to_be(ledger.path)
        return
    with ledger.claimed("esgvzarr doctor"):
        pass
    latest = ledger.latest()
    unfinished = [last for last in latest if last.state not in DONE]
    if unfinished:
        found = f"{len(unfinished)} of {len(latest)} datasets are not finished"
        yield Diagnosis(
            "ledger",
            "note",
            found,
            "esgvzarr status lists them; esgvzarr resume goes on with them.",
        )
    else:
        yield Diagnosis("ledger", "good", f"{ledger.path}, {len(latest)} datasets")


def _ledger_to_be(path: Path) -> Diagnosis:
    """Whether a ledger can be made; a file without a name is tried in the nearest directory."""
    parent = next(above for above in path.parents if above.exists())
    try:
        with tempfile.TemporaryFile(dir=parent):
            pass
    except OSError as error:
        found = f"{path} cannot be made: {error.strerror}"
        return Diagnosis("ledger", "bad", found, "Set `ledger` to a path of this user.")
    return Diagnosis("ledger", "good", f"{path} will be made")


def _head(node: Node) -> Iterator[Diagnosis]:
    answer = node.answers[0]
    if answer.status != 200:
        yield Diagnosis(
            "head",
            "bad",
            f"HEAD is answered with {answer.status}",
            "Readers ask for the size before anything else.",
        )
        return
    if "html" in answer.headers.get("Content-Type", ""):
        yield Diagnosis(
            "head",
            "bad",
            "HEAD is answered with an HTML page",
            "Is this a login? References are for open data.",
        )
        return
    said = answer.headers.get("Content-Length")
    path = node.file.path
    if said is None:
        yield Diagnosis(
            "head",
            "bad",
            "HEAD says no Content-Length",
            "Readers cannot tell the size of a file without it.",
        )
    elif path and os.path.isfile(path) and os.path.getsize(path) != int(said):
        found = f"HEAD says {said} bytes, {path} has {os.path.getsize(path)}"
        yield Diagnosis(
            "head",
            "bad",
            found,
            "Does the URL serve this directory? A cache may hold an older file.",
        )
    else:
        yield Diagnosis("head", "good", f"200, {said} bytes")


def _ranges(node: Node) -> Iterator[Diagnosis]:
    """As the transport judges ranges when references are made."""
    head = node.transport.read_heads([node.file.url], 8)[0]
    if not head.etag and not head.last_modified:
        found = "answers carry neither ETag nor Last-Modified"
        yield Diagnosis(
            "ranges",
            "note",
            found,
            "esgvzarr audit can then only tell a replaced file by its size or checksum.",
        )
    yield Diagnosis(
        "ranges", "good", f"206 to a single range, {recognise(head.data, node.file.url).name}"
    )


def _encoding(node: Node) -> Iterator[Diagnosis]:
    """A browser always accepts gzip, and a range of a gzip stream is not a range of the file (RFC
    9110, 14.2).
    """
    answer = node.transport.ask(
        node.file.url, headers={"Range": "bytes=0-7", "Accept-Encoding": "gzip, deflate, br"}
    )
    encoding = answer.headers.get("Content-Encoding", "identity")
    if encoding == "identity":
        yield Diagnosis("encoding", "good", "NetCDF files are sent as they are")
    else:
        yield Diagnosis(
            "encoding",
            "bad",
            f"NetCDF files are sent with {encoding}",
            "Turn compression off for *.nc: ranges break.",
        )


def _tls(node: Node) -> Iterator[Diagnosis]:
    if not node.file.url.startswith("https:"):
        yield Diagnosis(
            "tls",
            "note",
            "files are served over plain http",
            "Nothing then shows a reader that bytes were not changed.",
        )
        return
    ends = str(node.answers[0].certificate.get("notAfter", ""))
    yield _days_left("tls", "the server's certificate", ssl.cert_time_to_seconds(ends))


def _days_left(check: str, subject: str, ends: float, todo: str = "Renew it.") -> Diagnosis:
    days = int((ends - time.time()) // 86400)
    if days < 0:
        return Diagnosis(check, "bad", f"{subject} ended {-days} days ago", todo)
    return Diagnosis(
        check,
        "note" if days < _FEW_DAYS else "good",
        f"{subject} is good for {days} days",
        todo if days < _FEW_DAYS else "",
    )


def _clock(node: Node) -> Iterator[Diagnosis]:
    said = node.answers[-1].headers.get("Date")
    if said is None:
        yield Diagnosis("clock", "note", "answers carry no Date")
        return
    try:
        apart = abs((parsedate_to_datetime(said) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        yield Diagnosis("clock", "note", f"the Date of answers is {said!r}")
        return
    if apart > _CLOCK_S:
        found = f"this machine and the server are {apart:.0f} s apart"
        yield Diagnosis(
            "clock", "bad", found, "Run NTP on both: logins and Last-Modified depend on it."
        )
    else:
        yield Diagnosis("clock", "good", "agrees with the server's")


def _latency(node: Node) -> Iterator[Diagnosis]:
    median = statistics.median(answer.seconds for answer in node.answers[1:])
    most = node.settings.connections
    found = f"{median * 1000:.0f} ms a request; at most {most} are in flight at a time"
    slow = median > _SLOW_S
    yield Diagnosis(
        "latency",
        "note" if slow else "good",
        found,
        "Set data_paths, if the files are on this machine." if slow else "",
    )


def _browsers(node: Node) -> Iterator[Diagnosis]:
    """Fetch standard: a page reads an answer of another origin if that allows it, and of its
    headers those that it names.
    """
    answer = node.transport.ask(node.file.url, headers={"Range": "bytes=0-7", "Origin": _ORIGIN})
    allowed = answer.headers.get("Access-Control-Allow-Origin")
    exposed = answer.headers.get("Access-Control-Expose-Headers", "").lower()
    missing = [
        name
        for name in ("Content-Range", "Content-Length")
        if name.lower() not in exposed and "*" not in exposed
    ]
    lines = f"nginx:\n{NGINX_CORS}\nTDS, threddsConfig.xml:\n{TDS_CORS}"
    if allowed not in ("*", _ORIGIN):
        yield Diagnosis(
            "browsers", "note", "pages in a browser cannot read the files (CORS)", lines
        )
    elif missing:
        yield Diagnosis(
            "browsers",
            "note",
            f"pages in a browser do not see {' and '.join(missing)} (CORS)",
            lines,
        )
    else:
        yield Diagnosis("browsers", "good", "pages of any origin can read the files (CORS)")


def _directory(node: Node) -> Iterator[Diagnosis]:
    """Writes, fetches and removes a file, as publishing would."""
    probe = DatasetId("esgvzarr.doctor", f"{time.time_ns()}")
    try:
        directory, href = place(
            DatasetRecord(probe, host_of(node.file.url), (node.file,)), node.settings
        )
    except SettingsError as error:
        yield _bad("directory", error)
        return
    if not directory.is_dir():
        yield Diagnosis(
            "directory",
            "bad",
            f"{directory} is not a directory",
            "Make it, or set reference_dir and reference_url.",
        )
        return
    data = json.dumps({"esgvzarr": "doctor", "made": str(probe)}).encode()
    path = directory / href.rpartition("/")[2]
    try:
        with staging(path) as staged, writing(path):
            staged.write_bytes(data)
            write_reference(staged, path, href=href)
        answer = node.transport.ask(href)
    finally:
        with suppress(EsgvzarrError):  # nothing was written
            remove_reference(path)
            remove_leftovers(path)
    free = shutil.disk_usage(directory).free
    if answer.status != 200 or answer.data != data:
        found = f"what is written to {directory} is not served as {href}: status {answer.status}"
        yield Diagnosis(
            "directory",
            "bad",
            found,
            "Set reference_dir and reference_url to a directory that is writable and served.",
        )
    elif free < _LITTLE_ROOM:
        yield Diagnosis(
            "directory", "note", f"{directory} has room for {free >> 20} MiB more", "Make room."
        )
    else:
        yield Diagnosis("directory", "good", f"{directory} can be written, and is served")
    if answer.status == 200:
        yield _caching(answer)


def _caching(answer: Answer) -> Diagnosis:
    said = answer.headers.get("Cache-Control") or answer.headers.get("Expires") or ""
    if "no-store" in said:
        todo = "Readers fetch a reference file anew each time."
        return Diagnosis(
            "caching", "note", f"reference files are sent with Cache-Control: {said}", todo
        )
    return Diagnosis(
        "caching",
        "good",
        f"caches are told: {said}"
        if said
        else "caches are told nothing; ETag and Last-Modified serve",
    )


def _vocabulary(node: Node) -> Iterator[Diagnosis]:
    """esgcet cannot make a STAC item of a project whose schema version esgvoc does not know."""
    if esgpublish.index_kind(node.document) != "stac":
        return
    named = str(node.document.get("project"))
    project = named if named in PROJECTS else "CMIP6"
    version = esgpublish.schema_version(project)
    if version:
        yield Diagnosis("vocabulary", "good", f"{project} is registered with schema {version}")
        return
    found = f"esgvoc has no vocabulary of {project}: esgpublish cannot register its datasets"
    yield Diagnosis("vocabulary", "bad", found, f"esgvoc use {project.lower()}@latest")


def _index(node: Node) -> Iterator[Diagnosis]:
    """Whether the index answers as such an index does."""
    address, index = _opened(node)
    index.check()
    yield Diagnosis("index", "good", f"{address.kind}: {address.location} answers")


def _opened(node: Node) -> tuple[IndexAddress, Index]:
    assert node.config is not None  # noqa: S101
    address = address_of_config(node.config)
    return address, open_index(address, node.transport, node.settings)


def _login(node: Node) -> Iterator[Diagnosis]:
    """What is kept of a login; nobody is asked for one."""
    _, index = _opened(node)
    login = index.check_login()
    if not login.kept:
        yield Diagnosis("login", "note", login.found, login.todo)
    elif login.ends is None:
        yield Diagnosis("login", "good", f"{login.found} holds")
    else:
        yield _days_left("login", login.found, login.ends, login.todo)


def _endpoints(node: Node) -> Iterator[Diagnosis]:
    stac = node.document.get("stac_config")
    api = stac.get("stac_transaction_api") if isinstance(stac, Mapping) else None
    if not isinstance(stac, Mapping) or not isinstance(api, Mapping):
        return
    if api.get("verify") is False:
        yield Diagnosis(
            "endpoints",
            "bad",
            "stac_transaction_api.verify is off: tokens go to any server that answers",
            "Remove the key.",
        )
    taken = (
        sorted(set(_ENDPOINTS) - set(api))
        if "base_url" in api and "globus" not in str(stac.get("stac_client"))
        else []
    )
    if taken:
        found = (
            f"stac_transaction_api has a base_url of its own, but no {', '.join(taken)}: esgcet "
            "takes those of the production index"
        )
        yield Diagnosis("endpoints", "note", found, "Set all of them, if this is another index.")
    base = str(api.get("base_url") or "")
    if is_url(base):
        node.transport.allow(host_of(base), named=True)
        status = node.transport.ask(base).status
        health: Health = "bad" if status >= 500 else "good"
        yield Diagnosis("endpoints", health, f"the transaction API {base} answers with {status}")
