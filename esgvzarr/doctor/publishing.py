"""Check what publishing needs: esgcet, the ledger, a served directory, vocabulary, index and
login.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .. import esgpublish
from ..drs import PROJECTS
from ..errors import EsgvzarrError, SettingsError
from ..indexes import Index
from ..link.add import place
from ..link.address import address_of_config, open_index
from ..link.ledger import Ledger
from ..link.states import DONE
from ..link.task import IndexAddress
from ..model import DatasetId, DatasetRecord
from ..output import named
from ..output.disk_errors import writing
from ..output.parts import side_path
from ..output.placing import remove_leftovers, remove_reference, staging, write_reference
from ..settings import Settings
from ..transport import Answer, Transport, host_of, is_url
from .node import Check, Diagnosis, Health, Node, as_diagnosis, days_left

_LITTLE_ROOM = 2**30
_ENDPOINTS = ("scope_endpoint", "token_endpoint", "device_endpoint")


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
    if not ledger.path.exists():  # Do not create the ledger.
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
            "esgvzarr status lists them; esgvzarr resume continues them.",
        )
    else:
        yield Diagnosis("ledger", "good", f"{ledger.path}, {len(latest)} datasets")


def _ledger_to_be(path: Path) -> Diagnosis:
    """Check whether a ledger can be made, by a file without a name in the nearest existing
    directory.
    """
    parent = next(above for above in path.parents if above.exists())
    try:
        with tempfile.TemporaryFile(dir=parent):
            pass
    except OSError as error:
        found = f"{path} cannot be made: {error.strerror}"
        return Diagnosis("ledger", "bad", found, "Set `ledger` to a path of this user.")
    return Diagnosis("ledger", "good", f"{path} will be made")


def _probes(probe: DatasetId, directory: Path, settings: Settings) -> list[Path]:
    """Return the paths of the files to write: one for the first output, and one for each output
    that may have a side file.
    """
    paths = []
    for number, name in enumerate(settings.all_outputs):
        output = named(name)
        if number == 0 or output.side_suffix:
            paths.append(directory / f"{probe}{output.suffix}")
    return paths


def _written_and_fetched(
    transport: Transport, path: Path, base: str, data: bytes
) -> dict[str, Answer]:
    """Return the server's answers for a test file and a test side file in the directory. Both are
    removed again.

    Args:
        transport: fetches them.
        path: where to write.
        base: URL of the directory.
        data: what to write.

    Raises:
        StoreError: the file cannot be written.
    """
    side = side_path(path)
    answers = {}
    try:
        with staging(path) as staged, writing(path):
            staged.write_bytes(data)
            if side is not None:
                staged.with_name(side.name).write_bytes(data)
            write_reference(staged, path)
        for file in filter(None, (path, side)):
            url = f"{base}/{file.name}"
            answers[url] = transport.ask(url)
    finally:
        with suppress(EsgvzarrError):  # Nothing was written.
            remove_reference(path)
            remove_leftovers(path)
    return answers


def _directory(node: Node) -> Iterator[Diagnosis]:
    """Write, fetch and remove a test file, as publishing would, and a side file."""
    probe = DatasetId("esgvzarr.doctor", f"{time.time_ns()}")
    try:
        directory, href = place(
            DatasetRecord(probe, host_of(node.file.url), (node.file,)), node.settings
        )
    except SettingsError as error:
        yield as_diagnosis("directory", error)
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
    answers = {}
    for path in _probes(probe, directory, node.settings):
        answers.update(_written_and_fetched(node.transport, path, href.rpartition("/")[0], data))
    free = shutil.disk_usage(directory).free
    bad = [url for url, got in answers.items() if got.status != 200 or got.data != data]
    answer = answers[href]
    if bad:
        found = f"files in {directory} are not served at {bad[0]}"
        yield Diagnosis(
            "directory",
            "bad",
            f"{found}: status {answers[bad[0]].status}",
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
        todo = "Readers download the reference file again each time they open it."
        return Diagnosis(
            "caching", "note", f"reference files are sent with Cache-Control: {said}", todo
        )
    return Diagnosis(
        "caching",
        "good",
        f"the header for caches is {said}"
        if said
        else "answers have no Cache-Control; caches compare ETag or Last-Modified",
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
    """Check that the index answers as an index of its kind."""
    address, index = _opened(node)
    index.check()
    yield Diagnosis("index", "good", f"{address.kind}: {address.location} answers")


def _opened(node: Node) -> tuple[IndexAddress, Index]:
    assert node.config is not None  # noqa: S101
    address = address_of_config(node.config)
    return address, open_index(address, node.transport, node.settings)


def _login(node: Node) -> Iterator[Diagnosis]:
    """Report what is known of a stored login; no login is started."""
    _, index = _opened(node)
    login = index.check_login()
    if not login.kept:
        yield Diagnosis("login", "note", login.found, login.todo)
    elif login.ends is None:
        yield Diagnosis("login", "good", f"{login.found} is valid")
    else:
        yield days_left("login", login.found, login.ends, login.todo)


def _endpoints(node: Node) -> Iterator[Diagnosis]:
    stac = node.document.get("stac_config")
    api = stac.get("stac_transaction_api") if isinstance(stac, Mapping) else None
    if not isinstance(stac, Mapping) or not isinstance(api, Mapping):
        return
    if api.get("verify") is False:
        yield Diagnosis(
            "endpoints",
            "bad",
            "stac_transaction_api.verify is off: any server that answers gets the tokens",
            "Remove the key.",
        )
    taken = []
    if "base_url" in api and "globus" not in str(stac.get("stac_client")):
        taken = sorted(set(_ENDPOINTS) - set(api))
    if taken:
        found = (
            f"stac_transaction_api has its own base_url, but no {', '.join(taken)}: esgcet "
            "takes those of the production index"
        )
        yield Diagnosis("endpoints", "note", found, "Set all of them, if this is another index.")
    yield from _transaction_api(node, str(api.get("base_url") or ""))


def _transaction_api(node: Node, base: str) -> Iterator[Diagnosis]:
    """Check that the transaction API that ``esg.yaml`` names answers."""
    if not is_url(base):
        return
    node.transport.allow(host_of(base), named=True)
    status = node.transport.ask(base).status
    health: Health = "bad" if status >= 500 else "good"
    yield Diagnosis("endpoints", health, f"the transaction API {base} answers with {status}")


MACHINE_CHECKS: tuple[Check, ...] = (_esgcet, _ledger)
"""Checks that need no published file."""
DIRECTORY_CHECKS: tuple[Check, ...] = (_directory,)
"""Checks that need a published file, whose place shows where its references go."""
INDEX_CHECKS: tuple[Check, ...] = (_vocabulary, _index, _login, _endpoints)
"""Checks that need esgcet's ``esg.yaml``."""
