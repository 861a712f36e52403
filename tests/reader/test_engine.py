"""``engine="esgvzarr"``: one lazy array for each variable over all segments, found by entry point,
with the numbers of the files.
"""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
import xarray
from trust import oracle

import esgvzarr
from esgvzarr import EsgvzarrError
from esgvzarr.combine import reading as advice
from esgvzarr.errors import SourceError, TransportError
from esgvzarr.output import named, provenance_at, reading_of
from esgvzarr.reader import backends
from esgvzarr.reader.source import open_source
from esgvzarr.testing import DATASET_ID, DEFECTS, FileSpec, ThreddsServer, write_files

SEGMENTED = (
    "partial_chunks_compressed",
    "chunk_longer_than_file",
    "packing_differs",
    "fill_value_differs",
    "dtype_differs",
    "byte_order_differs",
    "shuffle_differs",
    "compression_differs",
    "fletcher32_differs",
    "format_differs",
    "chunk_shape_differs",
    "overlap_chunk_shape_differs",
)
NAME = f"{DATASET_ID}.json"
FIVES: dict[str, object] = {"compression": "zlib", "chunks": (5, 4, 6)}
"""Files of twelve months in chunks of five."""


def published(paths: list[Path], directory: Path, server: ThreddsServer | None = None) -> str:
    """Where the references of these files are: a path, or the URL of a document of URLs."""
    text = oracle.make(paths)[1].decode()
    if server:
        for path in paths:
            text = text.replace(str(path), server.url_of(path))
    (directory / NAME).write_text(text)
    return server.url_of(directory / NAME) if server else str(directory / NAME)


def fives(directory: Path) -> list[Path]:
    return write_files(directory, [FileSpec(start=12 * n, **FIVES) for n in range(3)])  # type: ignore[arg-type]


@pytest.mark.parametrize("name", SEGMENTED)
def test_every_step_is_what_its_file_alone_decodes_to(tmp_path: Path, name: str) -> None:
    paths = DEFECTS[name].make(tmp_path)
    href = published(paths, tmp_path)
    for chunks in (None, {}):
        with xarray.open_dataset(
            href, engine="esgvzarr", chunks=chunks, decode_times=oracle.CFTIME
        ) as joined:
            assert oracle.joined_differences(joined, paths) == []


@pytest.mark.parametrize("name", ["partial_chunks_compressed", "packing_differs", "dtype_differs"])
def test_the_dataset_equals_open_mfdataset_of_the_files(tmp_path: Path, name: str) -> None:
    paths = DEFECTS[name].make(tmp_path)
    ours = xarray.open_dataset(published(paths, tmp_path), engine="esgvzarr")
    theirs = xarray.open_mfdataset(
        sorted(paths), data_vars="minimal", coords="minimal", compat="override", join="override"
    )
    for variable in theirs.variables:
        a, b = ours.variables[variable], theirs.variables[variable]
        assert a.dtype == b.dtype
        assert a.dims == b.dims
        assert a.values.tobytes() == b.values.tobytes()
    assert set(ours.coords) == set(theirs.coords)


@pytest.mark.parametrize(
    "key",
    [
        (5,),
        (-1, slice(None), 2),
        (slice(3, 30, 4),),
        (slice(30, 3, -4), slice(None, None, -1)),
        (slice(0, 0),),
        (np.array([35, 0, 13, 13]),),
        (np.array([], int),),
        (slice(11, 13), np.array([3, 1]), 0),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["partial_chunks_compressed", "packing_differs"])
def test_any_selection_is_that_of_the_whole(
    tmp_path: Path, name: str, key: tuple[object, ...]
) -> None:
    href = published(DEFECTS[name].make(tmp_path), tmp_path)
    whole = xarray.open_dataset(href, engine="esgvzarr")["tas"].variable.load()
    lazy = xarray.open_dataset(href, engine="esgvzarr")["tas"].variable
    assert lazy[key].equals(whole[key])  # type: ignore[index]


def test_points_that_are_picked_one_by_one_are_those_of_the_whole(tmp_path: Path) -> None:
    href = published(fives(tmp_path), tmp_path)
    steps = xarray.DataArray([30, 2, 14], dims="point")
    columns = xarray.DataArray([1, 5, 0], dims="point")
    lazy = xarray.open_dataset(href, engine="esgvzarr")["tas"].isel(time=steps, lon=columns)
    whole = xarray.open_dataset(href, engine="esgvzarr")["tas"].load()
    assert lazy.equals(whole.isel(time=steps, lon=columns))


def test_dask_gets_the_true_irregular_chunks_in_two_layers(tmp_path: Path) -> None:
    data = xarray.open_dataset(published(fives(tmp_path), tmp_path), engine="esgvzarr", chunks={})
    assert data["tas"].chunks == ((5, 5, 2) * 3, (4,), (6,))
    assert data["tas"].encoding["preferred_chunks"]["time"] == (5, 5, 2) * 3
    assert len(data["tas"].data.dask.layers) == 2


def test_the_empty_root_says_first_how_it_is_opened(tmp_path: Path) -> None:
    root = xarray.open_dataset(published(fives(tmp_path), tmp_path), engine="kerchunk")
    assert not root.variables
    assert list(root.attrs)[:2] == ["esgvzarr_recipe", "esgvzarr_segments"]
    attributes = repr(root).split("Attributes:", 1)[1]
    assert "xarray.open_dataset(href, engine='esgvzarr')" in attributes.splitlines()[1]


def test_stock_readers_get_advised_tasks_in_one_layer_and_without_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, thredds_server: ThreddsServer
) -> None:
    monkeypatch.setattr(advice, "MOST", 24 * 4 * 24)  # two years at once
    monkeypatch.setattr(advice, "LEAST", 20 * 4 * 24)
    paths = write_files(tmp_path, [FileSpec(start=12 * n, chunks=(1, 4, 6)) for n in range(5)])
    href = published(paths, tmp_path, thredds_server)
    reading = reading_of(provenance_at(tmp_path / NAME))
    assert (reading.dimension, reading.steps, reading.segments) == ("time", 24, 0)
    keywords = named("json").open_kwargs("http", reading)
    assert keywords == {
        "engine": "kerchunk",
        "chunks": {"time": 24},
        "open_dataset_options": {"chunked_array_type": "none"},
    }
    thredds_server.requests.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        stock = xarray.open_dataset(href, **keywords)
    asked = [request.method for request in thredds_server.requests]
    assert asked == ["HEAD", "GET"]  # of the document, once, and of nothing else
    assert stock["tas"].data.chunks[0] == (24, 24, 12)
    assert len(stock["tas"].data.dask.layers) == 2
    thredds_server.requests.clear()
    ours = esgvzarr.open_dataset(href)
    assert [request.method for request in thredds_server.requests] == ["GET"]
    assert ours["tas"].chunks == stock["tas"].data.chunks
    assert ours.equals(stock)
    assert oracle.differences(oracle.make(paths)[1], paths) == []


def test_references_in_memory_open_too(tmp_path: Path) -> None:
    href = published(fives(tmp_path), tmp_path)
    refs = json.loads(Path(href).read_bytes())
    data = xarray.open_dataset(refs, engine="esgvzarr")
    again = pickle.loads(pickle.dumps(data))  # noqa: S301
    assert again.equals(xarray.open_dataset(href))


@pytest.mark.parametrize("name", ["tas/.zattrs", ".zattrs"])
def test_nan_in_the_json_of_strangers_is_read_as_stock_readers_do(
    name: str, tmp_path: Path
) -> None:
    """kerchunk and VirtualiZarr write it into attributes, where strict JSON has no such number."""
    href = published(fives(tmp_path)[:1], tmp_path)
    document = json.loads(Path(href).read_bytes())
    document["refs"][name] = json.dumps({**json.loads(document["refs"][name]), "odd": float("nan")})
    Path(href).write_text(json.dumps({**document, "also": float("nan")}))
    ours = xarray.open_dataset(href, engine="esgvzarr")
    stock = xarray.open_dataset(href, engine="kerchunk")
    assert ours.identical(stock)
    assert "NaN" in document["refs"][name]


def test_opening_takes_one_get_and_one_step_takes_one_chunk(
    tmp_path: Path, thredds_server: ThreddsServer
) -> None:
    href = published(fives(tmp_path), tmp_path, thredds_server)
    thredds_server.requests.clear()
    data = xarray.open_dataset(href, engine="esgvzarr")
    assert [request.method for request in thredds_server.requests] == ["GET"]
    thredds_server.requests.clear()
    data["tas"].isel(time=17).load()
    assert [request.status for request in thredds_server.requests] == [206]


@pytest.mark.filterwarnings("ignore:Unable to decode time axis")
def test_times_of_two_sorts_in_two_segments_become_one_sort(tmp_path: Path) -> None:
    specs = [FileSpec(), FileSpec(start=12 * 500, dtype="f8", units="days since 1850-01-01")]
    href = published(write_files(tmp_path, specs), tmp_path)
    times = xarray.open_dataset(href, engine="esgvzarr")["time"]
    assert {type(time) for time in times.values} == {type(times.values[0])}
    assert [times.dt.year.values[0], times.dt.year.values[-1]] == [1850, 2350]


def test_numbers_as_stored_can_be_had_too(tmp_path: Path) -> None:
    paths = DEFECTS["partial_chunks_compressed"].make(tmp_path)
    href = published(paths, tmp_path)
    stored = xarray.open_dataset(href, engine="esgvzarr", decode_cf=False)
    assert stored["time"].dtype.kind in "if"
    assert "units" in stored["time"].attrs
    assert "_FillValue" in stored["tas"].attrs


@pytest.mark.parametrize("output", ["json.zst", "parquet"])
def test_other_outputs_open_by_their_names(tmp_path: Path, output: str) -> None:
    pytest.importorskip({"json.zst": "zstandard", "parquet": "fastparquet"}[output])
    paths = fives(tmp_path)
    place = tmp_path / f"{DATASET_ID}{named(output).suffix}"
    named(output).write(oracle.make(paths)[0], place)
    opened = xarray.open_dataset(str(place))
    assert opened.encoding["source"] == str(place)
    assert opened["tas"].equals(
        xarray.open_dataset(published(paths, tmp_path), engine="esgvzarr")["tas"]
    )


def test_the_engine_is_found_by_the_name_alone_and_takes_no_files_of_others(tmp_path: Path) -> None:
    from esgvzarr.reader.backends import EsgvzarrBackend

    href = published(fives(tmp_path), tmp_path)
    assert xarray.open_dataset(href).sizes["time"] == 36
    guess = EsgvzarrBackend().guess_can_open
    assert guess(f"https://node.example.org/a/{NAME}")
    for other in ("combined.json", "a/tas_Amon_X_gn_185001.nc", "data.zarr", f"{DATASET_ID}.nc", 7):
        assert not guess(other)


def test_a_dataset_goes_to_another_process_and_reads_there(tmp_path: Path) -> None:
    data = xarray.open_dataset(published(fives(tmp_path), tmp_path), engine="esgvzarr", chunks={})
    sent = pickle.dumps(data)
    program = (
        "import pickle, sys; d = pickle.load(sys.stdin.buffer); print(float(d.tas.sum(dtype='f8')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], input=sent, capture_output=True, check=True
    )
    assert float(done.stdout) == float(data["tas"].sum(dtype="f8"))


def test_another_process_does_not_read_a_document_that_was_replaced(tmp_path: Path) -> None:
    href = published(fives(tmp_path), tmp_path)
    sent = pickle.dumps(open_source(href))
    Path(href).write_bytes(Path(href).read_bytes() + b" ")
    with pytest.raises(SourceError, match="changed after the dataset was opened") as raised:
        pickle.loads(sent)  # noqa: S301
    assert raised.value.code == "source-changed"


def test_a_dataset_loads_inside_of_a_running_loop(tmp_path: Path) -> None:
    async def load() -> xarray.Dataset:
        data = xarray.open_dataset(published(fives(tmp_path), tmp_path), engine="esgvzarr")
        return await data.load_async() if hasattr(data, "load_async") else data.load()

    assert asyncio.run(load())["tas"].shape == (36, 4, 6)


def test_a_file_that_is_gone_is_an_error_and_never_a_number(
    tmp_path: Path, thredds_server: ThreddsServer
) -> None:
    paths = fives(tmp_path)
    data = xarray.open_dataset(published(paths, tmp_path, thredds_server), engine="esgvzarr")
    paths[1].unlink()
    with pytest.raises(TransportError, match=paths[1].name):
        data["tas"].load()
    assert data["tas"].isel(time=0).load().notnull().all()


def test_a_server_that_ignores_ranges_is_an_error_and_never_a_number(
    tmp_path: Path, thredds_server: ThreddsServer
) -> None:
    from esgvzarr.testing import NoRanges

    paths = fives(tmp_path)
    data = xarray.open_dataset(published(paths, tmp_path, thredds_server), engine="esgvzarr")
    thredds_server.fault(NoRanges(), "*.nc")
    with pytest.raises(TransportError, match="for a range of"):
        data["tas"].isel(time=0).load()


def test_a_document_from_elsewhere_never_reads_a_file_of_this_machine(
    tmp_path: Path, thredds_server: ThreddsServer
) -> None:
    published(fives(tmp_path), tmp_path)  # with paths
    data = xarray.open_dataset(thredds_server.url_of(tmp_path / NAME), engine="esgvzarr")
    with pytest.raises(TransportError) as raised:
        data["tas"].isel(time=0).load()
    assert raised.value.code == "transport-host-refused"


def run(program: str, *arguments: str, missing: str = "") -> str:
    """A program in a process of its own, where some package is not installed."""
    gone = "".join(f"sys.modules[{name!r}] = None; " for name in missing.split())
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {gone}{program}", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=dict(os.environ),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_readers_need_nothing_that_makes_references(tmp_path: Path) -> None:
    href = published(fives(tmp_path), tmp_path)
    program = (
        "import xarray; d = xarray.open_dataset(sys.argv[1], engine='esgvzarr'); d.load(); "
        "print(*sys.modules)"
    )
    loaded = set(run(program, href, missing="kerchunk h5py netCDF4 pydantic urllib3 dask").split())
    makers = ("generate", "combine", "formats", "proof", "link", "indexes", "transport", "settings")
    assert not loaded & {f"esgvzarr.{name}" for name in makers}


def test_the_engine_knows_the_ends_of_the_names_of_all_our_outputs() -> None:
    """It lists them itself, since it imports no output before it opens one."""
    points = entry_points(group="esgvzarr.outputs")
    own = {point.load().suffix for point in points if point.value.startswith("esgvzarr.")}
    assert set(backends._SUFFIXES) == own


def test_looking_for_an_engine_imports_next_to_nothing_of_ours() -> None:
    program = "import xarray; xarray.backends.list_engines(); print(*sys.modules)"
    ours = {name for name in run(program).split() if name.startswith("esgvzarr")}
    assert ours == {"esgvzarr", "esgvzarr.version", "esgvzarr.reader", "esgvzarr.reader.backends"}


@pytest.mark.parametrize("opener", [esgvzarr.open_dataset, xarray.open_dataset], ids=["us", "xr"])
def test_a_group_that_is_not_there_is_named(
    tmp_path: Path, opener: Callable[..., xarray.Dataset]
) -> None:
    href = published(fives(tmp_path), tmp_path)
    with pytest.raises(EsgvzarrError, match="has no group 'sfc'"):
        opener(href, group="sfc")


def test_a_tree_of_one_dataset_is_its_root(tmp_path: Path) -> None:
    href = published(fives(tmp_path), tmp_path)
    tree = xarray.open_datatree(href, engine="esgvzarr", chunks={})
    assert not tree.children
    assert tree["tas"].chunks[0] == (5, 5, 2) * 3
    assert tree["tas"].equals(esgvzarr.open_datatree(href)["tas"])
