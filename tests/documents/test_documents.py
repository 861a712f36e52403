"""Several datasets as one document: each group shows what its own files hold, value for value, or
the reason is named.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest
import ujson
import xarray
from trust import kerchunk_scan, oracle

import esgvzarr
from esgvzarr import EsgvzarrError, Transport
from esgvzarr.cli import main
from esgvzarr.documents import Spec, combine, read_spec
from esgvzarr.generate import verify_published
from esgvzarr.link.ledger import Ledger
from esgvzarr.model import Report
from esgvzarr.outcome import Written
from esgvzarr.settings import Settings
from esgvzarr.testing import FileSpec, Mom6Files, ThreddsServer, specs_of, write_files, write_mom6
from esgvzarr.testing.projects import CMIP5, write_cmip5

pytestmark = pytest.mark.filterwarnings(
    "ignore:Unable to decode time axis"  # dates of MOM6 before the calendar reform
)
Refs = dict[str, Any]
SMALL: dict[str, Any] = {"files": 3, "grid": (5, 6), "layers": 2}


@pytest.fixture(autouse=True)
def own_ledger(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    ledger = tmp_path_factory.mktemp("ledger") / "ledger.sqlite"
    monkeypatch.setenv("ESGVZARR_LEDGER", str(ledger))
    return ledger


def make(directory: Path, **spec: Any) -> Written:
    """The document of a spec, proved and written."""
    with Transport() as transport:
        return combine(
            Spec.model_validate({"name": "doc", **spec}),
            directory,
            transport,
            Settings(),
            force=True,
        )


def read(document: Path) -> Refs:
    """A document as a dict, its provenance too."""
    parsed = json.loads(document.read_text())
    return {**parsed, "provenance": json.loads(parsed["provenance"])}


def refusal(directory: Path, **spec: Any) -> str:
    """The code under which a spec is refused; nothing is written then."""
    before = set(directory.iterdir())
    with pytest.raises(EsgvzarrError) as raised:
        make(directory, **spec)
    assert set(directory.iterdir()) == before
    return raised.value.code


def of_mom6(files: Mom6Files) -> dict[str, Any]:
    return {
        "streams": {name: [*map(str, paths)] for name, paths in files.streams.items()},
        "static": str(files.static),
    }


def verified(path: Path, *, full: bool = False) -> Report:
    with Transport() as transport:
        return verify_published(str(path), [], transport, Settings(), full=full)


def stock(href: str, group: str, **options: Any) -> xarray.Dataset:
    """A group as stock xarray and kerchunk open it."""
    own = {"decode_times": oracle.CFTIME, **options}
    return xarray.open_dataset(
        href, engine="kerchunk", group=group, storage_options={"skip_instance_cache": True}, **own
    )


def unlike(
    shown: xarray.Dataset,
    paths: Sequence[Path],
    static: Sequence[Path] = (),
    *,
    drop: Sequence[str] = (),
) -> list[str]:
    """Everything in which a group is not its files one after the other, with the static files
    beside, as xarray reads these.
    """
    expected: dict[str, np.ndarray[Any, Any]] = {}
    for path in static:
        with xarray.open_dataset(path, decode_times=oracle.CFTIME) as file:
            expected |= {
                str(name): v.values for name, v in file.variables.items() if "time" not in v.dims
            }
    parts = [xarray.open_dataset(path, decode_times=oracle.CFTIME) for path in paths]
    for name, first in parts[0].variables.items():
        versions = [part.variables[name].values for part in parts]
        expected[str(name)] = np.concatenate(versions) if "time" in first.dims else versions[0]
    expected = {name: values for name, values in expected.items() if name not in drop}
    found = (
        [f"variables {set(expected) ^ set(map(str, shown.variables))}"]
        if set(expected) != set(shown.variables)
        else []
    )
    for name in set(expected) & set(map(str, shown.variables)):
        here = shown.variables[name].values
        there = expected[name]
        floats = here.dtype.kind == "f"
        if here.dtype != there.dtype or not np.array_equal(here, there, equal_nan=floats):
            found.append(name)
    return found


# ---- the job of the CESM-MOM6 notebook


@pytest.fixture(scope="module", params=["NETCDF4", "NETCDF3_64BIT_OFFSET"])
def notebook(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Mom6Files, str]:
    """Two streams of 24 files and the static file, and the document of them."""
    directory = tmp_path_factory.mktemp("mom6")
    files = write_mom6(directory / "run", grid=(8, 9), layers=2, format=request.param)
    outcome = make(directory, **of_mom6(files))
    assert outcome.report is not None
    assert outcome.report.passed
    return files, str(directory / "doc.json")


@pytest.mark.parametrize("group", ["sfc", "h"])
def test_the_notebooks_job_equals_the_files_in_both_groups(
    notebook: tuple[Mom6Files, str], group: str
) -> None:
    files, href = notebook
    with stock(href, group) as dataset:
        assert dataset.sizes["time"] == 24
        assert dataset["geolon"].dims == ("yh", "xh")
        assert unlike(dataset, files.streams[group], [files.static]) == []


def test_a_document_opens_as_one_datatree_with_stock_xarray(
    notebook: tuple[Mom6Files, str],
) -> None:
    files, href = notebook
    options = {"fo": href, "remote_options": {"asynchronous": True}, "skip_instance_cache": True}
    with xarray.open_datatree(
        "reference://", engine="zarr", storage_options=options, decode_times=oracle.CFTIME
    ) as tree:
        assert {node.path for node in tree.subtree} == {"/", "/sfc", "/h"}
        assert not tree.variables
        assert all(
            unlike(tree[name].to_dataset(), paths, [files.static]) == []
            for name, paths in files.streams.items()
        )


@pytest.mark.filterwarnings("ignore:Unable to decode time axis into full numpy.datetime64")
def test_the_recipe_in_a_document_is_true(notebook: tuple[Mom6Files, str]) -> None:
    _, href = notebook
    recipe = xarray.open_dataset(href, engine="kerchunk").attrs["esgvzarr_recipe"]
    names: dict[str, Any] = {"xarray": xarray, "href": href, "name": "h"}
    names["options"] = eval(re.search(r"options = (.*?\}\})", recipe)[1], names)  # type: ignore[index]  # noqa: S307
    one, tree = (eval(call, names) for call in re.findall(r"by (xarray.*?\))(?:,|;)", recipe))  # noqa: S307
    assert one.equals(tree["h"].to_dataset())
    assert one["thetao"].shape == (24, 2, 8, 9)


@pytest.mark.parametrize(
    ("output", "needs"),
    [("json.zst", "zstandard"), ("parquet", "fastparquet"), ("icechunk", "icechunk")],
)
def test_other_outputs_show_the_same_groups(output: str, needs: str, tmp_path: Path) -> None:
    pytest.importorskip(needs, minversion="2.0" if needs == "icechunk" else None)
    files = write_mom6(tmp_path / "run", **SMALL)
    settings = Settings(output=output)  # type: ignore[arg-type]
    with Transport() as transport:
        outcome = combine(
            Spec.model_validate({"name": "doc", **of_mom6(files)}), tmp_path, transport, settings
        )
        assert verify_published(outcome.reference.path, [], transport, settings, full=True).passed
    tree = esgvzarr.open_datatree(outcome.reference.path, chunks=None, decode_times=oracle.CFTIME)
    for name, paths in files.streams.items():
        assert unlike(tree[name].to_dataset(), paths, [files.static]) == []


def test_our_reader_opens_groups_and_the_tree(notebook: tuple[Mom6Files, str]) -> None:
    files, href = notebook
    tree = esgvzarr.open_datatree(href, chunks=None, decode_times=oracle.CFTIME)
    for name, paths in files.streams.items():
        assert unlike(tree[name].to_dataset(), paths, [files.static]) == []
    assert (
        esgvzarr.open_dataset(href, group="h", decode_times=oracle.CFTIME)["thetao"].chunks
        is not None
    )
    for asked in ("", "sea"):
        with pytest.raises(EsgvzarrError) as raised:
            esgvzarr.open_dataset(href, group=asked)
        assert raised.value.code == "source-group"


def test_cell_measures_are_coordinates_where_the_static_file_has_them(
    notebook: tuple[Mom6Files, str],
) -> None:
    _, href = notebook
    with stock(href, "sfc") as dataset:
        assert "areacello" in dataset["SSH"].coords
        assert (
            dataset["SSH"].encoding.get("cell_measures", dataset["SSH"].attrs.get("cell_measures"))
            == "area: areacello"
        )


def test_the_root_shows_no_part_as_if_it_were_all(notebook: tuple[Mom6Files, str]) -> None:
    _, href = notebook
    root = xarray.open_dataset(href, engine="kerchunk")
    assert not root.variables
    assert root.attrs["esgvzarr_groups"] == ["sfc", "h"]
    assert root.attrs["title"] == "MOM6 diagnostic fields"
    assert "filename" not in root.attrs


def test_the_proof_can_be_made_again_in_full(
    notebook: tuple[Mom6Files, str], capsys: pytest.CaptureFixture[str]
) -> None:
    files, href = notebook
    with pytest.raises(SystemExit) as raised:
        main(["verify", href, "--full", "--json"])
    report = json.loads(capsys.readouterr().out)
    assert raised.value.code == 0
    assert report["passed"]
    whole = {
        check["subject"]: check["detail"] for check in report["checks"] if check["name"] == "values"
    }
    assert whole[f"SSH in {files.streams['sfc'][5].name}"].startswith("72 of 72 values")


def notebook_recipe(files: Mom6Files, months: Mapping[str, slice]) -> dict[str, dict[str, Any]]:
    """What https://ncar.github.io/esds/posts/2023/kerchunk-mom6/ does: a document for each stream,
    with the static file in it.
    """
    from kerchunk.combine import MultiZarrToZarr, merge_vars

    static = kerchunk_scan.scanned(files.static)
    for key in [key for key in static["refs"] if key.startswith("time/")]:
        del static["refs"][key]
    documents = {}
    for stream, paths in files.streams.items():
        singles = [kerchunk_scan.scanned(path) for path in paths[months[stream]]]
        together = MultiZarrToZarr(singles, concat_dims="time").translate()
        documents[stream] = ujson.loads(ujson.dumps(merge_vars([static.copy(), together])))
    return documents


def test_the_notebooks_own_recipe_shows_the_surface_of_other_months_in_the_stream_of_layers(
    tmp_path: Path,
) -> None:
    """merge_vars changes its first argument: the static references, copied shallowly, keep the
    first stream's variables.

    A document made after it shows them, on its own time axis and without an error. When this fails,
    kerchunk is mended.
    """
    files = write_mom6(tmp_path, files=4, grid=(5, 6), layers=2)
    months = {"sfc": slice(0, 2), "h": slice(2, 4)}
    wrong = xarray.open_dataset(
        notebook_recipe(files, months)["h"], engine="kerchunk", decode_times=False
    )  # type: ignore[arg-type]
    assert "SSH" in wrong.variables  # which no file of the stream h holds
    truth = {
        stream: xarray.open_mfdataset(files.streams[stream][part], decode_times=False)
        for stream, part in months.items()
    }
    assert np.array_equal(wrong["time"].values, truth["h"]["time"].values)
    assert np.array_equal(
        wrong["SSH"].values, truth["sfc"]["SSH"].values, equal_nan=True
    )  # the first months, dated as the last
    right = {stream: [*map(str, files.streams[stream][part])] for stream, part in months.items()}
    make(tmp_path, streams=right, static=str(files.static))
    with stock(str(tmp_path / "doc.json"), "h") as dataset:
        assert unlike(dataset, files.streams["h"][2:], [files.static]) == []


def test_the_tutorial_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Block by block, in the order of the page, as one session."""
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[2] / "docs" / "tutorial-model.md").read_text()
    session: dict[str, Any] = {}
    for language, block in re.findall(r"^```(\w+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        if language == "yaml":
            (tmp_path / "mom6.yaml").write_text(block)
        elif language == "python":
            exec(compile(block, "docs/tutorial-model.md", "exec"), session)  # noqa: S102
        else:
            with pytest.raises(SystemExit) as raised:
                main(block.split()[1:])
            assert raised.value.code == 0
    assert len(list((tmp_path / "run").iterdir())) == 49
    assert {node.path for node in session["tree"].subtree} == {"/", "/sfc", "/h"}
    assert session["sfc"]["SST"].sizes["time"] == 24


# ---- static files


def change(
    path: Path, name: str, values: Any = None, dims: tuple[str, ...] = ("yh", "xh"), **attrs: Any
) -> None:
    """Write a variable into a file, or other values into one that is there."""
    with netCDF4.Dataset(path, "a") as file:
        if name not in file.variables:
            file.createVariable(name, "f4", dims)
        if values is not None:
            file.variables[name][...] = values
        file.variables[name].setncatts(attrs)


def _stream_of_that_name(files: Mom6Files) -> None:
    change(files.static, "SSH", 0)


def _other_coordinate(files: Mom6Files) -> None:
    change(files.static, "xh", np.arange(6) + 0.5)


def _other_units(files: Mom6Files) -> None:
    change(files.static, "xh", units="radians")


def _other_field(files: Mom6Files) -> None:
    for path in files.streams["sfc"]:
        change(path, "wet", 1)


def _field_along_time(files: Mom6Files) -> None:
    change(files.static, "ice", 1, ("time", "yh", "xh"))


MISFITS: dict[str, tuple[Callable[[Mom6Files], None], str]] = {
    "stream_of_that_name": (_stream_of_that_name, "variable-clash"),
    "other_coordinate": (_other_coordinate, "coordinate-differs"),
    "other_units": (_other_units, "units-differ"),
    "other_field": (_other_field, "dimension-differs"),
    "field_along_time": (_field_along_time, "time-static"),
}


@pytest.mark.parametrize("name", MISFITS)
def test_a_static_file_that_does_not_fit_is_refused(name: str, tmp_path: Path) -> None:
    spoil, code = MISFITS[name]
    files = write_mom6(tmp_path / "run", **SMALL)
    change(files.static, "wet", dims=("yh", "xh"))
    if name == "other_field":
        with netCDF4.Dataset(files.static, "a") as file:
            file.renameVariable("wet", "was_wet")
            file.createVariable("wet", "f8", ("yh", "xh"))[:] = 1
    spoil(files)
    assert refusal(tmp_path, **of_mom6(files)) == code


def test_a_static_file_of_another_size_is_refused(tmp_path: Path) -> None:
    files = write_mom6(tmp_path / "run", **SMALL)
    other = write_mom6(tmp_path / "other", files=1, grid=(5, 7), layers=2)
    assert refusal(tmp_path, **of_mom6(replace(files, static=other.static))) == "dimension-differs"


def test_what_stream_and_static_file_both_hold_with_equal_values_is_stored_once(
    tmp_path: Path,
) -> None:
    """Of two dimensions too, where both are large enough not to be read otherwise."""
    files = write_mom6(tmp_path / "run", files=2, grid=(130, 140), layers=1)
    with netCDF4.Dataset(files.static) as static:
        geolon = static["geolon"][:]
    for path in files.streams["sfc"]:
        with netCDF4.Dataset(path, "a") as file:
            file.createVariable("geolon", "f4", ("yh", "xh"), fill_value=1e20)[:] = geolon
            file["geolon"].setncatts(
                {"units": "1", "long_name": "geolon", "cell_methods": "time: point"}
            )
    make(tmp_path, **of_mom6(files))
    refs = json.loads((tmp_path / "doc.json").read_text())["refs"]
    assert refs["sfc/geolon/0.0"][0] == str(files.streams["sfc"][0])
    assert refs["h/geolon/0.0"][0] == str(files.static)
    with stock(str(tmp_path / "doc.json"), "sfc") as dataset:
        assert unlike(dataset, files.streams["sfc"], [files.static]) == []
    change(files.streams["sfc"][0], "geolon", geolon + 1)
    change(files.streams["sfc"][1], "geolon", geolon + 1)
    assert refusal(tmp_path / "run", **of_mom6(files)) == "coordinate-differs"


def test_no_input_is_changed_and_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    files = write_mom6(tmp_path / "run", **SMALL)
    before = {
        path: hashlib.sha256(path.read_bytes()).hexdigest() for path in (tmp_path / "run").iterdir()
    }
    spec = of_mom6(files)
    make(tmp_path, **spec)
    document = (tmp_path / "doc.json").read_bytes()
    spec["streams"] = {name: paths[::-1] for name, paths in spec["streams"].items()}
    make(tmp_path, **spec)
    assert (tmp_path / "doc.json").read_bytes() == document
    assert {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in before} == before


def test_dropped_variables_are_left_out_and_named(tmp_path: Path) -> None:
    files = write_mom6(tmp_path / "run", **SMALL)
    make(tmp_path, **of_mom6(files), drop=["average_T1", "average_DT"])
    with stock(str(tmp_path / "doc.json"), "sfc") as dataset:
        assert (
            unlike(dataset, files.streams["sfc"], [files.static], drop=["average_T1", "average_DT"])
            == []
        )
    datasets = read(tmp_path / "doc.json")["provenance"]["datasets"]
    assert datasets["sfc"]["dropped"] == ["average_DT", "average_T1"]
    assert datasets[str(files.static)]["dropped"] == ["time"]
    assert refusal(tmp_path, **of_mom6(files), drop=["average_T3"]) == "settings-spec"


def test_files_that_add_nothing_are_proved_too(tmp_path: Path) -> None:
    """Steps that two files hold, and a file of whose steps others hold all."""
    paths = write_files(tmp_path / "run", [FileSpec(0, 12), FileSpec(6, 12), FileSpec(8, 4)])
    outcome = make(tmp_path, streams={"mon": [*map(str, paths)]})
    assert {warning.code for warning in outcome.warnings} == {"time-repeated"}
    assert verified(tmp_path / "doc.json", full=True).passed
    with (
        stock(str(tmp_path / "doc.json"), "mon") as dataset,
        xarray.open_dataset(paths[1], decode_times=oracle.CFTIME) as last,
    ):
        assert dataset.sizes["time"] == 18
        assert np.array_equal(dataset["tas"].values[6:], last["tas"].values)


# ---- streams in segments, groups in groups


def packed(lengths: Sequence[int]) -> list[FileSpec]:
    """Files of which each is packed in its own way, so that each is a segment."""
    specs = specs_of(lengths, dtype="i2", fill_value=-32768)
    return [replace(spec, scale_offset=(0.01, 280.0 + number)) for number, spec in enumerate(specs)]


def write_fixed(path: Path, like: Path) -> Path:
    """A fixed field on the grid of a file, ``areacella(lat, lon)``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    grid = {"grid_label": path.parent.parent.name} if path.parent.name.startswith("v") else {}
    with netCDF4.Dataset(like) as source, netCDF4.Dataset(path, "w") as file:
        file.setncatts(
            {
                **{name: source.getncattr(name) for name in source.ncattrs()},
                "table_id": "fx",
                "variable_id": "areacella",
                **grid,
            }
        )
        for name in ("lat", "lon", "lat_bnds", "lon_bnds"):
            variable = source[name]
            for dim in variable.dimensions:
                if dim not in file.dimensions:
                    file.createDimension(dim, source.dimensions[dim].size)
            file.createVariable(name, variable.dtype, variable.dimensions)[:] = variable[:]
            file[name].setncatts({key: variable.getncattr(key) for key in variable.ncattrs()})
        area = file.createVariable("areacella", "f4", ("lat", "lon"))
        area[:] = np.arange(area.size).reshape(area.shape)
        area.units = "m2"
    return path


def test_segments_of_a_stream_are_below_its_group_and_are_joined(tmp_path: Path) -> None:
    paths = write_files(tmp_path / "run", packed((12, 12)))
    fixed = write_fixed(tmp_path / "run" / "areacella.nc", paths[0])
    make(tmp_path, streams={"air/mon": [*map(str, paths)]}, static=str(fixed))
    href = str(tmp_path / "doc.json")
    assert verified(tmp_path / "doc.json", full=True).passed
    joined = esgvzarr.open_dataset(href, group="air/mon", decode_times=oracle.CFTIME)
    assert oracle.joined_differences(joined, paths) == []
    with netCDF4.Dataset(fixed) as file:
        assert np.array_equal(joined["areacella"].values, file["areacella"][:])
    tree = esgvzarr.open_datatree(href, decode_times=oracle.CFTIME)
    assert {node.path for node in tree.subtree} == {"/", "/air", "/air/mon"}
    assert not xarray.open_dataset(href, engine="kerchunk", group="air/mon").variables
    with stock(href, "air/mon/seg-001") as part:
        assert "areacella" in part.variables


def test_a_stream_in_segments_is_whole_whatever_is_named_before_it(tmp_path: Path) -> None:
    tas = write_dataset(tmp_path, "tas", packed((12, 12)))
    area = write_fixed(
        tmp_path / FACETS.replace(".", "/") / "fx/areacella/gn/v20190406/a.nc", next(tas.iterdir())
    ).parent
    make(tmp_path, streams={"air": sources(area, tas)})
    joined = esgvzarr.open_dataset(
        str(tmp_path / "doc.json"), group="air", decode_times=oracle.CFTIME
    )
    assert oracle.joined_differences(joined, sorted(tas.iterdir())) == []
    assert "areacella" in joined["tas"].coords


# ---- the datasets of a simulation


FACETS = "CMIP6.CMIP.MOHC.UKESM1-0-LL.historical.r1i1p1f2"


def write_dataset(
    root: Path, variable: str, specs: Sequence[FileSpec], *, grid: str = "gn", **attrs: str
) -> Path:
    """A dataset of one variable at its place by the DRS; its directory."""
    facets = FACETS.replace("UKESM1-0-LL", attrs.get("source_id", "UKESM1-0-LL"))
    directory = root / facets.replace(".", "/") / "Amon" / variable / grid / "v20190406"
    for path in write_files(directory, specs):
        with netCDF4.Dataset(path, "a") as file:
            if variable != "tas":
                file.renameVariable("tas", variable)
            file[variable].cell_measures = "area: areacella"
            file.setncatts({"variable_id": variable, "grid_label": grid, **attrs})
    return directory


def sources(*directories: Path) -> list[dict[str, str]]:
    """As a spec names directories of the DRS."""
    return [{"dataset": ".".join(path.parts[-10:]), "sources": str(path)} for path in directories]


def test_the_variables_of_a_simulation_stand_side_by_side_where_grid_and_time_are_the_same(
    tmp_path: Path,
) -> None:
    tas = write_dataset(tmp_path, "tas", specs_of((12, 12)))
    pr = write_dataset(
        tmp_path, "pr", specs_of((6, 18), seed=1, omit=("height",), units="days since 1900-01-01")
    )
    uas = write_dataset(tmp_path, "uas", specs_of((12, 12), seed=2, height=10.0))
    vas = write_dataset(tmp_path, "vas", specs_of((24,), seed=3, height=10.0))
    ps = write_dataset(tmp_path, "ps", specs_of((12,), seed=4, omit=("height",)))
    area = write_fixed(
        tmp_path / FACETS.replace(".", "/") / "fx/areacella/gn/v20190406/areacella.nc",
        next(tas.iterdir()),
    )
    outcome = make(tmp_path, datasets=sources(uas, tas, vas, pr, ps), companions=True)
    href = str(tmp_path / "doc.json")
    root = xarray.open_dataset(href, engine="kerchunk")
    assert root.attrs["esgvzarr_groups"] == [
        "Amon",
        "Amon-ps",
        "Amon-tas",
        "Amon-uas",
    ]  # another time, and other heights
    assert root.attrs["source_id"] == "UKESM1-0-LL"
    assert [warning.code for warning in outcome.warnings] == ["variable-apart"] * 3
    assert verified(tmp_path / "doc.json", full=True).passed
    for group, directories in {
        "Amon": [pr],
        "Amon-ps": [ps],
        "Amon-tas": [tas],
        "Amon-uas": [uas, vas],
    }.items():
        names = [directory.parts[-3] for directory in directories]
        with stock(href, group) as dataset:
            for name, directory in zip(names, directories, strict=True):
                alone = dataset.drop_vars([other for other in names if other != name])
                assert unlike(alone, sorted(directory.iterdir()), [area]) == []
                assert "areacella" in dataset[name].coords


def test_bounds_of_time_that_lie_step_by_step_are_compared_too(tmp_path: Path) -> None:
    """A scan of one dataset would not read them: there are too many pieces, far from each other."""
    months = 100
    spread = {
        "chunks": (1, 60, 60),
        "grid": (60, 60),
        "omit": ("height", "time_bnds"),
        "extra": (bounds_step_by_step,),
    }
    tas, huss, pr = (
        write_dataset(tmp_path, name, specs_of((months,), seed=seed, **spread))
        for seed, name in enumerate(("tas", "huss", "pr"))
    )
    with netCDF4.Dataset(next(pr.iterdir()), "a") as file:
        file["time_bnds"][50] += 0.25
    make(tmp_path, datasets=sources(tas, huss, pr))
    groups = {
        name: set(stock(str(tmp_path / "doc.json"), name).variables) for name in ("Amon", "Amon-pr")
    }
    assert {"tas", "huss"} <= groups["Amon"]
    assert "pr" in groups["Amon-pr"]


def bounds_step_by_step(file: netCDF4.Dataset, spec: FileSpec) -> None:
    """Bounds of time in chunks of one step, of which each is written after the data of its step."""
    bounds = file.createVariable("time_bnds", "f8", ("time", "bnds"), chunksizes=(1, 2))
    for step in range(spec.months):
        file["tas"][step] = file["tas"][step]
        bounds[step] = [step * 30.0, step * 30.0 + 30]
        file.sync()


def test_fixed_fields_among_the_datasets_go_to_the_groups_of_their_grid_or_begin_one(
    tmp_path: Path,
) -> None:
    tas = write_dataset(tmp_path, "tas", specs_of((12,)))
    ta = write_dataset(tmp_path, "ta", specs_of((12,), grid=(5, 7)))
    root = tmp_path / FACETS.replace(".", "/") / "fx"
    area = write_fixed(root / "areacella/gn/v20190406/a.nc", next(tas.iterdir()))
    other = write_fixed(
        root / "areacella/gr/v20190406/a.nc",
        write_files(tmp_path / "gr", [FileSpec(grid=(8, 8))])[0],
    )
    make(tmp_path, datasets=sources(tas, ta, area.parent, other.parent))
    groups = {
        name: set(stock(str(tmp_path / "doc.json"), name).variables)
        for name in ("Amon", "Amon-tas", "fx")
    }
    assert ["areacella" in groups[name] for name in ("Amon", "Amon-tas", "fx")] == [
        False,
        True,
        True,
    ]
    assert verified(tmp_path / "doc.json").passed


def test_a_companion_that_fits_nowhere_is_left_out_and_named(tmp_path: Path) -> None:
    tas = write_dataset(tmp_path, "tas", specs_of((12,)))
    like = write_files(tmp_path / "other", [FileSpec(grid=(8, 8))])[0]
    write_fixed(tmp_path / FACETS.replace(".", "/") / "fx/areacella/gn/v20190406/a.nc", like)
    outcome = make(tmp_path, datasets=sources(tas), companions=True)
    assert ["areacella" in str(warning) for warning in outcome.warnings] == [True]
    assert "areacella" not in stock(str(tmp_path / "doc.json"), "Amon").variables


def test_directories_by_the_drs_need_no_ids(tmp_path: Path) -> None:
    tas = write_dataset(tmp_path, "tas", specs_of((12,)))
    write_dataset(tmp_path, "huss", specs_of((12,), seed=1))
    pattern = f"{tmp_path}/{FACETS.replace('.', '/')}/Amon/*/gn/v*"
    make(tmp_path, datasets=pattern)
    assert {"tas", "huss"} <= set(stock(str(tmp_path / "doc.json"), "Amon").variables)
    write_files(tas.parent / "v20200101", specs_of((12,)))
    assert refusal(tmp_path, datasets=pattern) == "source-duplicate"
    assert refusal(tmp_path, datasets=str(tas.parent)) == "source-dataset-id-missing"


def test_a_dataset_of_several_variables_brings_them_all(tmp_path: Path) -> None:
    """CMIP5's ids name no variable: each variable has files of its own."""
    paths = write_cmip5(tmp_path / "files", tas={}, pr={})
    source = {"dataset": CMIP5, "sources": list(map(str, paths))}
    outcome = make(tmp_path, datasets=[source])
    assert outcome.report is not None
    assert outcome.report.passed
    assert {"tas", "pr"} <= set(stock(str(tmp_path / "doc.json"), "Amon").variables)


def test_datasets_of_two_simulations_are_refused(tmp_path: Path) -> None:
    tas = write_dataset(tmp_path, "tas", specs_of((12,)))
    pr = write_dataset(tmp_path, "pr", specs_of((12,)), source_id="HadGEM3-GC31-LL")
    assert refusal(tmp_path, datasets=sources(tas, pr)) == "source-several"
    assert refusal(tmp_path, datasets=sources(tas, tas)) == "source-duplicate"
    for path in tas.iterdir():
        with netCDF4.Dataset(path, "a") as file:
            for attr in {"table_id", "realm"} & set(file.ncattrs()):
                file.delncattr(attr)
    assert refusal(tmp_path, datasets=sources(tas)) == "source-table"


def test_datasets_of_another_time_axis_are_refused_where_one_stream_is_asked_for(
    tmp_path: Path,
) -> None:
    tas = write_dataset(tmp_path, "tas", specs_of((12,)))
    pr = write_dataset(tmp_path, "pr", specs_of((13,)))
    assert refusal(tmp_path, streams={"atmos": sources(tas, pr)}) == "time-differs"


def test_a_dataset_in_segments_stands_alone(tmp_path: Path) -> None:
    tas = write_dataset(tmp_path, "tas", specs_of((12, 12)))
    pr = write_dataset(tmp_path, "pr", packed((12, 12)))
    together = {"atmos": sources(tas, pr)}
    assert refusal(tmp_path, streams=together) == "chunks-segmented"
    make(tmp_path, datasets=sources(tas, pr))
    href = str(tmp_path / "doc.json")
    assert xarray.open_dataset(href, engine="kerchunk").attrs["esgvzarr_groups"] == [
        "Amon",
        "Amon-tas",
    ]
    joined = esgvzarr.open_dataset(href, group="Amon", decode_times=oracle.CFTIME)
    assert oracle.joined_differences(joined, sorted(pr.iterdir())) == []


# ---- over HTTP


def test_streams_are_named_by_url(tmp_path: Path, thredds_server: ThreddsServer) -> None:
    files = write_mom6(thredds_server.root / "run", files=2, grid=(5, 6), layers=2)
    streams = {
        name: [thredds_server.url_of(path) for path in paths]
        for name, paths in files.streams.items()
    }
    make(tmp_path, streams=streams, static=thredds_server.url_of(files.static))
    with stock(str(tmp_path / "doc.json"), "h", chunks=None) as dataset:
        assert unlike(dataset, files.streams["h"], [files.static]) == []


@pytest.mark.parametrize("kind", ["catalogue", "mapfile"])
def test_one_catalogue_or_mapfile_names_all_datasets(
    tmp_path: Path, thredds_server: ThreddsServer, kind: str
) -> None:
    root = thredds_server.root
    tas, huss = (
        write_dataset(root, name, specs_of((12,), seed=seed))
        for seed, name in enumerate(("tas", "huss"))
    )
    area = write_fixed(
        root / FACETS.replace(".", "/") / "fx/areacella/gn/v20190406/a.nc", next(tas.iterdir())
    ).parent
    named = {".".join(path.parts[-10:]): sorted(path.iterdir()) for path in (tas, huss, area)}
    if kind == "catalogue":
        for dataset_id, paths in named.items():
            thredds_server.add_dataset(dataset_id, paths)
        source = f"{thredds_server.url}/thredds/catalog/esgcet/catalog.xml"
    else:
        lines = [
            f"{name.replace('.v', '#')} | {path} | {path.stat().st_size}\n"
            for name, paths in named.items()
            for path in paths
        ]
        (tmp_path / "all.map").write_text("".join(lines))
        source = str(tmp_path / "all.map")
    make(tmp_path, datasets=source)
    with stock(str(tmp_path / "doc.json"), "Amon") as dataset:
        assert {"tas", "huss", "areacella"} <= set(dataset.variables)
        assert "areacella" in dataset["huss"].coords
    urls = [file["url"] for file in read(tmp_path / "doc.json")["provenance"]["files"]]
    assert all(url.startswith("http://" if kind == "catalogue" else "/") for url in urls)


# ---- the spec


WRONG: dict[str, tuple[str, int, str]] = {
    "no_name": ("streams: {a: b.nc}\n", 1, "name"),
    "unknown_key": ("name: x\nstreams:\n  a: b.nc\nstatics: c.nc\n", 4, "statics"),
    "both": ("name: x\nstreams: {a: b.nc}\ndatasets: c.nc\n", 1, "either"),
    "bad_name": ("name: ../x\nstreams: {a: b.nc}\n", 1, "name"),
    "not_a_dataset_id": ("name: x\ndatasets:\n  - {dataset: tas, sources: c.nc}\n", 3, "dataset"),
    "bad_source": ("name: x\nstreams:\n  a:\n  - b.nc\n  - 7\n", 5, "streams.a.1"),
    "stream_in_a_stream": ("name: x\nstreams: {a: b.nc, a/c: c.nc}\n", 1, "'a'"),
    "segment": ("name: x\nstreams: {a/seg-000: c.nc}\n", 1, "seg-"),
    "not_yaml": ("name: [x\n", 2, "YAML"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_spec_is_refused_with_file_line_and_key(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, line, said = WRONG[name]
    (spec := tmp_path / "spec.yaml").write_text(text)
    with pytest.raises(SystemExit) as raised:
        main(["combine", str(spec), "--output-dir", str(tmp_path / "out")])
    message = capsys.readouterr().err
    assert raised.value.code == 2
    assert f"{spec}, line {line}" in message
    assert said in message
    assert not (tmp_path / "out").exists()


def test_paths_in_a_spec_are_relative_to_it_and_a_dry_run_writes_nothing(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    own_ledger: Path,
) -> None:
    write_mom6(tmp_path / "run", files=2, grid=(5, 6), layers=1)
    spec = tmp_path / "spec.yaml"
    spec.write_text(
        "name: case\nstreams:\n  sfc: run/*.sfc_*.nc\n  h: run/*.h_*.nc\nstatic: run/*.static.nc\n"
    )
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for extra, there in ((["--dry-run"], False), ([], True)):
        with pytest.raises(SystemExit) as raised:
            main(["combine", str(spec), "--output-dir", str(tmp_path / "out"), *extra])
        assert raised.value.code == 0, capsys.readouterr().err
        assert (tmp_path / "out" / "case.json").exists() is there
        assert [entry.state for entry in Ledger(own_ledger).entries("case")] == ["written"] * there
    spec.write_text(spec.read_text().replace("run/*.h_*", "run/*.z_*"))
    assert refusal(tmp_path, **read_spec(spec).model_dump(exclude={"name"})) == "source-none"


# ---- the proof


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small document, which is not to be changed."""
    directory = tmp_path_factory.mktemp("small")
    make(directory, **of_mom6(write_mom6(directory / "run", **SMALL)))
    return directory / "doc.json"


def _swap_streams(parsed: Refs) -> None:
    refs = parsed["refs"]
    refs["sfc/SSH/0.0.0"], refs["sfc/SST/0.0.0"] = refs["sfc/SST/0.0.0"], refs["sfc/SSH/0.0.0"]


def _leak(parsed: Refs) -> None:
    refs = parsed["refs"]
    refs |= {
        key.replace("sfc/", "h/", 1): value
        for key, value in refs.items()
        if key.startswith("sfc/SSH/")
    }
    refs["//h/SSH"] = ""
    _consolidate(refs)


def _take_out(parsed: Refs) -> None:
    refs = parsed["refs"]
    for key in [key for key in refs if key.startswith(("h/so/", "//h/so"))]:
        del refs[key]
    _consolidate(refs)


def _take_static_out(parsed: Refs) -> None:
    refs = parsed["refs"]
    for key in [key for key in refs if key.startswith(("h/wet/", "//h/wet"))]:
        del refs[key]
    _consolidate(refs)


def _consolidate(refs: Refs) -> None:
    ends = (".zgroup", ".zattrs", ".zarray")
    metadata = {
        key: json.loads(value)
        for key, value in refs.items()
        if key.endswith(ends) and not key.startswith("//")
    }
    refs[".zmetadata"] = json.dumps({"zarr_consolidated_format": 1, "metadata": metadata})


def _other_metadata(parsed: Refs) -> None:
    parsed["refs"][".zmetadata"] = parsed["refs"][".zmetadata"].replace(
        '"dtype":"<f4"', '"dtype":"<i4"', 1
    )


def _unlisted(parsed: Refs) -> None:
    del parsed["refs"]["//sfc/SST"]


def _no_static(parsed: Refs) -> None:
    parsed["provenance"]["groups"]["h"].pop()


def _fewer_files(parsed: Refs) -> None:
    parsed["provenance"]["datasets"]["sfc"]["files"].pop()


def _no_group(parsed: Refs) -> None:
    del parsed["provenance"]["groups"]["h"]


def _more_dropped(parsed: Refs) -> None:
    parsed["provenance"]["datasets"]["sfc"]["dropped"].append("SST")


def _other_attribute(parsed: Refs) -> None:
    attrs = json.loads(parsed["refs"]["sfc/.zattrs"])
    parsed["refs"]["sfc/.zattrs"] = json.dumps({**attrs, "title": "another"})
    _consolidate(parsed["refs"])


SPOILT: tuple[Callable[[Refs], None], ...] = (
    _swap_streams,
    _leak,
    _take_out,
    _take_static_out,
    _other_metadata,
    _unlisted,
    _no_static,
    _fewer_files,
    _no_group,
    _more_dropped,
    _other_attribute,
)


@pytest.mark.parametrize("spoil", SPOILT, ids=lambda spoil: spoil.__name__)
def test_a_spoilt_document_fails_the_proof(
    spoil: Callable[[Refs], None], small: Path, tmp_path: Path
) -> None:
    parsed = read(small)
    spoil(parsed)
    (tmp_path / "doc.json").write_text(json.dumps(parsed))
    assert not verified(tmp_path / "doc.json").passed


def test_a_document_that_is_right_passes_as_the_spoilt_ones_would_have(
    small: Path, tmp_path: Path
) -> None:
    parsed = read(small)
    _consolidate(parsed["refs"])
    (tmp_path / "doc.json").write_text(json.dumps(parsed))
    report = verified(tmp_path / "doc.json")
    assert report.passed, report.failures
