"""The demo: publish real CMIP6 files with the real esgpublish, on a data node and a STAC index on
this machine, and open them with xarray.

Every step prints what it did and where the result is; all files stay in one directory.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import ProofError, PublisherError, SettingsError
from .model import DatasetId

if TYPE_CHECKING:
    import numpy as np
    import xarray
    from rich.console import Console

    from .testing.node import DataNode
    from .testing.stac import StacServer

MONTHLY = "CMIP6.CMIP.EC-Earth-Consortium.EC-Earth3.historical.r1i1p1f1.Amon.ta.gr.v20200310"
"""A dataset of 65 files, one for each year."""
EPOCHS_DIFFER = "CMIP6.CMIP.BCC.BCC-CSM2-MR.historical.r1i1p1f1.Amon.ta.gn.v20181126"
"""A dataset of 3 files of unequal length; each counts its days from another date."""
DAILY = "CMIP6.CMIP.CAS.FGOALS-g3.historical.r1i1p1f1.day.ta.gn.v20190826"
DATASETS = (MONTHLY, EPOCHS_DIFFER, DAILY)
_STEPS = ("scanning", "proving", "writing", "linking")
"""The words of `esgvzarr publish` for its steps."""
_PACKAGES = ("esgcet", "cql2", "fastapi", "jsonpatch", "pystac_client", "stac_fastapi", "uvicorn")


MAP = "CMIP6.CMIP.MOHC.UKESM1-0-LL.historical.r1i1p1f2.Amon.tas.gn.v20190406"
"""A dataset that is made here, for a map: the real files are cut down to a few grid points."""


def run(console: Console, directory: Path | None = None, *, keep_serving: bool = False) -> None:
    """Publish real CMIP6 files, and open them as a search user does.

    Args:
        console: prints each step.
        directory: a new or empty directory, which keeps all files. If None, a new one is made below
            the system's temporary directory.
        keep_serving: add a dataset with a fine grid, and keep data node, pages and index running
            until Ctrl-C.

    Raises:
        PublisherError: esgcet, or another package of the extra ``demo``, is not installed; or
            esgpublish failed.
        SourceError: the files cannot be downloaded.
        ProofError: the references do not read back as the files do.
    """
    check_packages()
    from .testing.node import DataNode
    from .testing.stac import StacServer

    started = time.monotonic()
    home = _new_directory(directory)
    console.print(f"Everything stays in [bold]{home}[/bold]\n")
    with StacServer(("CMIP6",)) as index, DataNode(home, index.url) as node:
        maps = _fill(console, node)
        _publish(console, node, maps)
        _open_as_search_user(console, node)
        _show_epochs(console, node)
        if keep_serving:
            _serve(console, node, index)
    _keep_local(console, node, 6 if keep_serving else 5)
    console.print(f"\nDone in {time.monotonic() - started:.0f} s.")


def check_packages() -> None:
    """Check that all packages of the extra ``demo`` are installed.

    Raises:
        PublisherError: a package is missing; the message names it.
    """
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise PublisherError(
            ", ".join(missing),
            "is not installed" if len(missing) == 1 else "are not installed",
            todo="pip install 'esgvzarr[demo]'",
            code="publisher-missing",
        )


def _new_directory(directory: Path | None) -> Path:
    if directory is None:
        return Path(tempfile.mkdtemp(prefix="esgvzarr-demo-"))
    try:
        directory.mkdir(parents=True, exist_ok=True)
        found = "is not empty" if any(directory.iterdir()) else ""
    except OSError as error:
        found = f"cannot be used: {error.strerror}"
    if any(letter.isspace() for letter in str(directory.resolve())):
        found = "has a blank in its path, which URLs may not contain"
    if found:
        raise SettingsError(
            str(directory),
            found,
            expected="a new or empty directory",
            todo="Give another directory.",
            code="settings-demo-dir",
        )
    return directory.resolve()


def _fill(console: Console, node: DataNode) -> list[Path]:
    """Copy the files to the data node, and write their mapfiles."""
    from .testing.samples import sample_datasets, sample_files

    with _step(console, 1, "Real CMIP6 files"):
        root = sample_files()
        datasets = sample_datasets(root)
        maps = [node.add_dataset(name, datasets[name]) for name in DATASETS]
    _say(
        console,
        f"  {sum(map(len, datasets.values()))} files of {len(datasets)} datasets, from PyPI: "
        f"{root}",
    )
    for name in DATASETS:
        _say(console, f"  taken: {len(datasets[name]):2} files of {name}")
    _say(
        console,
        f"  on the data node: {node.data}, served as {node.thredds.url}{node.thredds.prefix}/",
    )
    _say(console, f"  to register in the STAC index: {node.stac_url}, by {node.config}")
    return maps


def _publish(console: Console, node: DataNode, maps: Sequence[Path]) -> None:
    """Run ``esgvzarr publish``, which runs the real esgpublish, as a separate program."""
    from .link.ledger import Ledger
    from .settings import read_settings
    from .testing.node import command

    ledger = Ledger(read_settings(node.config).ledger)
    arguments = ["publish", "--strict", "--map", *map(str, maps), "--config", str(node.config)]
    log = node.directory / "esgpublish.log"
    _title(
        console,
        2,
        "esgvzarr publish: esgpublish registers, then references are made, proved, written, linked",
    )
    started = time.monotonic()
    status = _run_logged(console, command(*arguments), log)
    if status:
        said = log.read_text(encoding="utf-8").split("\n")
        found = f"ended with {status}: {next((line for line in reversed(said) if line), '')}"
        raise PublisherError("esgvzarr publish", found, expected="0", todo=f"Its log is {log}.")
    _say(console, f"  $ esgvzarr publish --strict --map {node.maps}/*.map --config {node.config}")
    for name in DATASETS:
        path = node.directory_of(name) / f"{name}.json"
        kept = ledger.entries(name)[-1]
        checks = len(json.loads(ledger.report(name))["checks"])
        _say(
            console,
            f"  {kept.state}, {checks} checks passed, {path.stat().st_size:,} bytes: {path}",
        )
    _say(
        console,
        f"  {len(maps)} datasets in {time.monotonic() - started:.1f} s; all that esgpublish "
        f"said: {log}",
    )


def _run_logged(console: Console, words: Sequence[str], log: Path) -> int:
    """Run a program, write its output to ``log``, and show its progress."""
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

    columns = (SpinnerColumn(), BarColumn(), TextColumn("{task.description}", markup=False))
    with (
        log.open("w", encoding="utf-8") as kept,
        Progress(*columns, console=console, transient=True) as progress,
        subprocess.Popen(
            words,
            cwd=log.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process,
    ):
        task = progress.add_task("esgpublish starts", total=len(_STEPS) * len(DATASETS))
        for line in process.stdout or ():
            kept.write(line)
            name, _, step = line.rstrip().partition(": ")
            if name in DATASETS and step.startswith(_STEPS):
                progress.update(task, advance=1, description=f"{name.split('.')[3]}: {step}")
    return process.returncode


def _open_as_search_user(console: Console, node: DataNode) -> None:
    """Find the item of the 65 files, open its reference, and compare the values with the files."""
    import numpy as np

    from .testing.samples import read_files

    with _step(
        console, 3, "A search user finds the dataset with pystac-client and opens it with xarray"
    ):
        asset = find_asset(node.stac_url, MONTHLY)
        open_kwargs = asset.extra_fields["xarray:open_kwargs"]
        dataset = _opened(console, node, asset.href, open_kwargs)
    arguments = ", ".join(f"{name}={value!r}" for name, value in open_kwargs.items())
    _say(console, f"  href = {asset.href}\n  xarray.open_dataset(href, {arguments})\n")
    _say(console, str(dataset))
    files = sorted(node.directory_of(MONTHLY).glob("*.nc"))
    shown = dataset["ta"].values
    truth = read_files(files, "ta")
    equal = shown.shape == truth.shape and bool(np.array_equal(shown, truth, equal_nan=True))
    _say(console, f"\n  mean of ta through the references:     {_mean(shown)!r} K")
    _say(console, f"  mean of the {len(files)} NetCDF files by netCDF4: {_mean(truth)!r} K")
    if not equal:
        raise ProofError(
            MONTHLY,
            "differs from its NetCDF files",
            expected="equal values",
            todo="Please report this as a bug.",
        )
    _say(console, f"  all {truth.size} values are equal", style="green")


def _opened(
    console: Console, node: DataNode, href: str, open_kwargs: dict[str, Any]
) -> xarray.Dataset:
    """Open a reference, and print the requests that the data node received."""
    import xarray

    node.thredds.clear()
    started = time.monotonic()
    dataset = xarray.open_dataset(href, **open_kwargs)
    asked = [request.path for request in node.thredds.requests]
    data = sum(path.endswith(".nc") for path in asked)
    _say(console, f"  opened in {time.monotonic() - started:.1f} s, with {data} requests for data")
    return dataset


def _show_epochs(console: Console, node: DataNode) -> None:
    """Open files with different reference dates as one dataset, and print its time axis."""
    import netCDF4

    from .testing.samples import decoded_times

    with _step(console, 4, "The same for files whose times count from different dates"):
        asset = find_asset(node.stac_url, EPOCHS_DIFFER)
        dataset = _opened(console, node, asset.href, asset.extra_fields["xarray:open_kwargs"])
        files = sorted(node.directory_of(EPOCHS_DIFFER).glob("*.nc"))
        times = list(itertools.chain.from_iterable(map(decoded_times, files)))
    for file in files:
        with netCDF4.Dataset(file) as opened:
            _say(console, f"  {file.name}: {opened['time'].size} months, {opened['time'].units}")
    shown = dataset["time"].values.tolist()
    if shown != times:
        raise ProofError(
            EPOCHS_DIFFER,
            "shows other times than its files",
            expected="equal dates",
            todo="Please report this as a bug.",
        )
    _say(console, f"  all {len(times)} dates are equal: {shown[0]} to {shown[-1]}", style="green")


def _serve(console: Console, node: DataNode, index: StacServer) -> None:
    """Link a dataset with a map, and print links to the pages, until Ctrl-C."""
    from .generate import index_pages
    from .link.attempt import kept_proof
    from .link.ledger import Ledger
    from .link.lifecycle import LinkRequest, link_source
    from .settings import read_settings
    from .testing.datasets import write_planet
    from .testing.items import make_item

    settings = read_settings(node.config)
    with _step(console, 5, "Pages to look at"):
        files = write_planet(node.directory / "made")
        node.add_dataset(MAP, files)
        directory = node.directory_of(MAP)
        hrefs = {file.name: node.thredds.url_of(directory / file.name) for file in files}
        index.add_item(make_item(MAP, hrefs, data_node=node.thredds.host))
        item = f"{node.stac_url}/collections/CMIP6/items/{MAP}"
        link_source(LinkRequest([item], node.config), settings)
        proof_of = partial(kept_proof, ledger=Ledger(settings.ledger))
        search_page = index_pages(node.data, settings, proof_of)
    for text, href in (
        ("a map", node.url_of(MAP).replace(".json", ".html")),
        ("the 65 files", node.url_of(MONTHLY).replace(".json", ".html")),
        ("all datasets", node.thredds.url_of(search_page) if search_page else ""),
        ("the index", f"{node.stac_url}/collections/CMIP6/items"),
    ):
        _say(console, f"  {text}: {href}")
    _say(console, "  The servers run until you press Ctrl-C.", style="bold")
    with suppress(KeyboardInterrupt):
        threading.Event().wait()


def _keep_local(console: Console, node: DataNode, number: int) -> None:
    """Write references to the local files, in a static STAC catalogue, which stay usable after the
    servers have ended.
    """
    from .generate import generate, make_transport
    from .link.add import catalogue
    from .settings import read_settings
    from .sources import read_source

    settings = read_settings(node.config)
    references = node.directory / "references"
    with (
        _step(console, number, "A static STAC catalogue on disk, which needs no server"),
        make_transport(settings) as transport,
    ):
        for name in DATASETS:
            record = read_source(
                [str(node.directory_of(name))], DatasetId.parse(name), transport, {}
            )
            catalogue(
                generate(record, references, transport, settings),
                record,
                node.directory / "catalog",
                settings,
            )
    _say(
        console,
        f"  {node.directory / 'catalog' / 'catalog.json'} lists references to the files as they "
        "lie here",
    )
    _say(console, "  The servers have ended. To open the 65 files from disk:\n")
    path = references / f"{MONTHLY}.json"
    _say(console, f'import xarray\nxarray.open_dataset("{path}", engine="kerchunk")')


def find_asset(stac_url: str, dataset_id: str) -> Any:
    """Return the reference asset of the item that a search for a dataset finds.

    Raises:
        ProofError: the search finds no such item, or the item has no reference.
    """
    import pystac_client

    collection = DatasetId.parse(dataset_id).project
    found = (
        pystac_client.Client.open(stac_url)
        .search(collections=[collection], ids=[dataset_id])
        .items()
    )
    for item in found:
        if "reference_file" in item.assets:
            return item.assets["reference_file"]
    raise ProofError(
        dataset_id,
        "is not found with a reference_file",
        expected="one item that has it",
        code="proof-not-found",
    )


def _mean(values: np.ndarray) -> float:
    import numpy as np

    return float(np.nanmean(values, dtype="f8"))


def _say(console: Console, text: str, style: str = "") -> None:
    """Print a line without folding, so that paths and URLs can be copied."""
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def _title(console: Console, number: int, text: str) -> None:
    console.print(f"\n[bold]{number}. {text}[/bold]", soft_wrap=True)


@contextmanager
def _step(console: Console, number: int, text: str) -> Iterator[None]:
    """Print a step that begins, and show that it is in progress."""
    _title(console, number, text)
    with console.status("working"):
        yield
