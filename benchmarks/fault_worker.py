"""A process of ``benchmarks.faults`` that does what it is told, until it is killed. Heavy imports
come before it is forked.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
import resource
import signal
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import fsspec.implementations.http
import fsspec.implementations.reference
import h5py
import netCDF4
import pystac
import xarray
import zarr

from esgvzarr import cli, indexes, proof, settings
from esgvzarr.errors import EsgvzarrError
from esgvzarr.link import lifecycle, remove
from esgvzarr.link.resume import Selection, resume
from esgvzarr.model import DatasetId
from esgvzarr.output import placing

for name in (
    *(("esgcet.stac.stac_client", "globus_sdk") if find_spec("esgcet") else ()),
    "dask.base",
    "kerchunk.xarray_backend",
    "urllib3",
    *(
        f"esgvzarr.{name}"
        for name in (
            "formats.hdf5",
            "formats.netcdf3",
            "indexes.stac",
            "indexes.solr",
            "indexes.globus",
            "indexes.catalog",
            "link.dry_run",
            "generate",
            "link.add",
            "esgpublish",
            "output.kerchunk",
        )
    ),
):
    import_module(name)
xarray.backends.list_engines()
_HEAVY = (fsspec, h5py, netCDF4, pystac, zarr, proof)


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be done."""

    verb: str
    dataset_id: str
    config: Path
    directory: Path
    """With the dataset's files."""
    catalog: Path | None = None
    """The static catalogue, where that is the index."""
    file_limit: int = 0
    """Bytes that no file may grow beyond; 0 for no limit."""


Done = tuple[str, str, str]
"""Dataset, what became of it (``raised``: an error of esgvzarr), code."""


def work(pipe: Any) -> None:
    """Do one order after the other; say what becomes of each, and before that whatever is warned
    of.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    told = _Told(pipe)
    logging.getLogger("esgvzarr").addHandler(told)
    while (order := pipe.recv()) is not None:
        try:
            with limited(order.file_limit):
                done = _do(order)
        except EsgvzarrError as error:
            done = [(order.dataset_id, "raised", error.code)]
        except Exception:  # noqa: BLE001  (a crash is what this looks for)
            pipe.send(("crashed", traceback.format_exc()))
            continue
        pipe.send(("done", done))


class _Told(logging.Handler):
    def __init__(self, pipe: Any) -> None:
        super().__init__(logging.WARNING)
        self._pipe = pipe

    def emit(self, record: logging.LogRecord) -> None:
        self._pipe.send(("warned", record.getMessage()))


@contextlib.contextmanager
def limited(file_limit: int) -> Iterator[None]:
    """Let no file grow beyond the limit meanwhile."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit or before[0], before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _do(order: Order) -> list[Done]:
    if order.catalog is not None:
        return _CATALOG_VERBS[order.verb](order)
    own = settings.read_settings(order.config)
    source = [str(order.directory)]
    if order.verb.startswith("resume"):
        outcomes = resume(Selection([] if order.verb == "resume all" else [order.dataset_id]), own)
        return [(outcome.dataset_id, outcome.state, outcome.code) for outcome in outcomes]
    dataset_id = DatasetId.parse(order.dataset_id)
    if order.verb in ("link", "force"):
        outcomes = [
            lifecycle.link_source(
                lifecycle.LinkRequest(source, order.config, dataset_id, order.verb == "force"), own
            )
        ]
    else:
        outcomes = [remove.unpublish(dataset_id, order.config, own, delete=order.verb == "delete")]
    return [(outcome.dataset_id, outcome.state, outcome.code) for outcome in outcomes]


def _generate(order: Order) -> list[Done]:
    """The program's own way, for there is no other: by what it prints, which goes to no file that
    the limit would hold.
    """
    arguments = [
        order.directory,
        "--dataset-id",
        order.dataset_id,
        "--config",
        order.config,
        "--output-dir",
        order.directory,
    ]
    said = io.StringIO()
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(said),
        contextlib.suppress(SystemExit),
    ):
        force = ["--force"] if order.verb == "force" else []
        cli.main(["generate", *map(str, arguments), "--catalog", str(order.catalog), *force])
    code = re.search(r"\[([a-z0-9-]+)\]", said.getvalue())
    return [(order.dataset_id, "raised" if code else "written", code[1] if code else "")]


def _unlist(order: Order) -> list[Done]:
    index: Any = indexes.connect("catalog", directory=order.catalog)
    dataset_id = DatasetId.parse(order.dataset_id)
    for link in index.links(dataset_id):
        index.remove_link(dataset_id, link)
    path = order.directory / f"{order.dataset_id}.json"
    placing.remove_leftovers(path)  # of a generate that was killed, as unpublish does it
    placing.remove_reference(path)
    return [(order.dataset_id, "deleted", "")]


_CATALOG_VERBS: dict[str, Callable[[Order], list[Done]]] = {
    "link": _generate,
    "force": _generate,
    "resume": _generate,
    "unpublish": _unlist,
    "delete": _unlist,
}
