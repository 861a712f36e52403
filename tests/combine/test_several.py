"""A dataset of several variables, each in files of its own, is one document (rule 39)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import netCDF4
import pytest
import xarray
from output import skip_unless_installed
from trust import oracle

import esgvzarr
from esgvzarr import RefusedError, Settings, Transport
from esgvzarr.cli import main
from esgvzarr.errors import SourceError
from esgvzarr.generate import generate, verify_published
from esgvzarr.model import Layout
from esgvzarr.pages.facts import read_facts
from esgvzarr.testing.projects import CMIP5, write_cmip5


def test_variables_that_fit_stand_side_by_side_in_the_root(tmp_path: Path) -> None:
    paths = write_cmip5(tmp_path, uas={}, vas={})
    references, document = oracle.make(paths, CMIP5)
    assert oracle.groups(document) == [""]
    shown = oracle.shown(document, decode_times=oracle.CFTIME)
    for name, other in (("uas", "vas"), ("vas", "uas")):
        own = [path for path in paths if path.name.startswith(name)]
        assert oracle.joined_differences(shown.drop_vars(other), own) == []
    report = oracle.proof(document, paths, dataset_id=CMIP5)
    assert report.passed, report.failures
    assert references.provenance["groups"] == {"": ["uas", "vas"]}
    assert not references.warnings


def test_a_variable_that_does_not_fit_is_a_group_of_its_own_and_named(tmp_path: Path) -> None:
    """Winds are at another height than temperature: one scalar cannot be both."""
    files = tmp_path / "files"
    paths = write_cmip5(files, tas={}, uas={"height": 10.0}, vas={"height": 10.0})
    record = oracle.record_of(paths, CMIP5)
    settings = Settings(ledger=tmp_path / "ledger.sqlite")
    with Transport() as transport:
        written = generate(record, tmp_path, transport, settings)
        href = written.reference.path
        again = verify_published(href, list(map(str, paths)), transport, settings)
    assert again.passed, again.failures
    assert [warning.code for warning in written.warnings] == ["variable-apart"]
    tree = esgvzarr.open_datatree(href, decode_times=oracle.CFTIME)
    assert set(tree["Amon"].data_vars) - {"time_bnds", "lat_bnds", "lon_bnds"} == {"tas"}
    assert {"uas", "vas"} <= set(tree["Amon-uas"].data_vars)
    assert float(tree["Amon-uas"]["height"]) == 10.0
    own = [path for path in paths if path.name.startswith("tas")]
    assert oracle.joined_differences(tree["Amon"].to_dataset(), own) == []


FIVES = {"compression": "zlib", "chunks": (5, 4, 6)}
"""Chunks in whose midst files end."""


@pytest.mark.parametrize(
    ("layout", "title"), [({}, ", in groups"), (FIVES, ", in groups and segments")]
)
def test_a_link_to_groups_says_how_they_open(
    layout: dict[str, Any],
    title: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Stock readers see an empty root, so the link names the engine that refuses to show that."""
    paths = write_cmip5(tmp_path / "files", tas=layout, uas={"height": 10.0})
    monkeypatch.setenv("ESGVZARR_LEDGER", str(tmp_path / "ledger.sqlite"))
    places = ["--output-dir", str(tmp_path), "--catalog", str(tmp_path / "catalog")]
    with pytest.raises(SystemExit, match="0"):
        main(["generate", *map(str, paths), "--dataset-id", CMIP5, *places])
    line = capsys.readouterr().out.splitlines()[-1]
    opened = eval(line, {"xarray": xarray})  # noqa: S307  (our own words)
    assert {"/Amon", "/Amon-uas"} <= set(opened.groups)
    (item,) = (tmp_path / "catalog").glob(f"*/{CMIP5}/*.json")
    asset = json.loads(item.read_text())["assets"]["reference_file"]
    assert asset["title"].endswith(title)
    assert 'xarray.open_datatree(href, engine="esgvzarr")' in asset["description"]
    tree = xarray.open_datatree(asset["href"], **asset["xarray:open_kwargs"])
    assert set(tree.groups) == set(opened.groups)
    assert tree["Amon"].sizes["time"] == 24, "all segments"
    with pytest.raises(SourceError, match="holds several groups"):
        xarray.open_dataset(asset["href"], **asset["xarray:open_kwargs"])


def test_segments_inside_of_a_group_are_announced(tmp_path: Path) -> None:
    """By a warning, the group's own attributes, the page, and the look of references."""
    paths = write_cmip5(tmp_path / "files", tas=FIVES, uas={"height": 10.0})
    record = oracle.record_of(paths, CMIP5)
    settings = Settings(ledger=tmp_path / "ledger.sqlite")
    with Transport() as transport:
        written = generate(record, tmp_path, transport, settings)
    place = Path(written.reference.path)
    (warning,) = [one for one in written.warnings if one.code == "segments"]
    assert "['Amon']" in warning.found
    stock = oracle.shown(place.read_bytes(), "Amon")
    assert "group='Amon'" in stock.attrs["esgvzarr_recipe"]
    facts = read_facts(place.read_bytes(), str(place))
    assert (facts.layout, facts.segments) == (Layout.SEGMENTED_GROUPS, 2)
    made = esgvzarr.references(list(map(str, paths)), dataset_id=CMIP5)
    assert "in 2 groups, of which 1 in segments" in repr(made)
    assert "Amon-uas/uas" in made._repr_html_()


def test_the_proof_finds_a_variable_of_another_member(tmp_path: Path) -> None:
    paths = write_cmip5(tmp_path, tas={}, pr={"omit": ("height",)})
    _, document = oracle.make(paths, CMIP5)
    for path in paths[2:]:
        with netCDF4.Dataset(path, "r+") as file:
            file.realization = 2
    report = oracle.proof(document, paths, dataset_id=CMIP5)
    assert "identity" in {check.name for check in report.failures}
    with pytest.raises(RefusedError) as caught:
        oracle.make(paths, CMIP5)
    assert {finding.code for finding in caught.value.findings} == {"dataset-id-differs"}


def test_an_id_that_names_a_variable_stays_of_one_variable(tmp_path: Path) -> None:
    paths = write_cmip5(tmp_path, tas={}, pr={"omit": ("height",)})
    with pytest.raises(RefusedError) as caught:
        oracle.make(paths)
    assert {finding.code for finding in caught.value.findings} == {"variable-missing"}


def test_the_proof_names_the_file_whose_group_is_not_there(tmp_path: Path) -> None:
    paths = write_cmip5(tmp_path, tas={}, uas={"height": 10.0})
    _, document = oracle.make(paths, CMIP5)
    cut = json.loads(document)
    cut["refs"] = {
        key: value
        for key, value in cut["refs"].items()
        if not key.startswith("Amon-uas/") and key != ".zmetadata"
    }
    report = oracle.proof(json.dumps(cut).encode(), paths, dataset_id=CMIP5)
    said = {check.subject for check in report.failures if "no group shows it" in check.detail}
    assert said == {path.name for path in paths if path.name.startswith("uas")}


def write_fixed(path: Path, like: Path) -> Path:
    """A field without time, on the grid of another file."""
    name = path.name.split("_")[0]
    with netCDF4.Dataset(like) as other, netCDF4.Dataset(path, "w") as file:
        file.setncatts({key: other.getncattr(key) for key in other.ncattrs()})
        for axis in ("lat", "lon"):
            file.createDimension(axis, len(other[axis]))
            variable = file.createVariable(axis, "f8", (axis,))
            for key in ("standard_name", "units"):
                variable.setncattr(key, other[axis].getncattr(key))
            variable[:] = other[axis][:]
        variable = file.createVariable(name, "f4", ("lat", "lon"))
        variable[:] = len(name)
    return path


def test_fixed_fields_stand_beside_the_variables_of_a_dataset(tmp_path: Path) -> None:
    paths = write_cmip5(tmp_path, tas={})
    paths += [write_fixed(tmp_path / f"{name}_fx.nc", paths[0]) for name in ("orog", "sftlf")]
    for some, names in ((paths, {"tas", "orog", "sftlf"}), (paths[2:], {"orog", "sftlf"})):
        _, document = oracle.make(some, CMIP5)
        assert oracle.groups(document) == [""]
        shown = oracle.shown(document, decode_times=oracle.CFTIME)
        assert names <= set(shown.data_vars)
        assert set(shown["orog"].values.ravel().tolist()) == {4.0}
        report = oracle.proof(document, some, dataset_id=CMIP5)
        assert report.passed, report.failures


def test_fixed_fields_stand_beside_a_variable_in_segments(tmp_path: Path) -> None:
    """The document was refused by its own proof: its root named segments that were not there."""
    paths = write_cmip5(tmp_path, tas=FIVES)
    paths.append(write_fixed(tmp_path / "orog_fx.nc", paths[0]))
    references, document = oracle.make(paths, CMIP5)
    assert [group.path for group in references.groups] == ["", "seg-000", "seg-001"]
    report = oracle.proof(document, paths, dataset_id=CMIP5)
    assert report.passed, report.failures
    place = tmp_path / f"{CMIP5}.json"
    place.write_bytes(document)
    shown = esgvzarr.open_dataset(str(place), decode_times=oracle.CFTIME)
    assert set(shown["orog"].values.ravel().tolist()) == {4.0}
    assert oracle.joined_differences(shown.drop_vars("orog"), paths[:2]) == []


@pytest.mark.parametrize("output", ["zarr3", "icechunk"])
def test_segments_inside_of_groups_are_joined_where_the_output_can(
    output: str, tmp_path: Path
) -> None:
    skip_unless_installed(output)
    paths = write_cmip5(tmp_path / "files", tas=FIVES, uas={"height": 10.0, **FIVES})
    ledger = tmp_path / "ledger.sqlite"
    settings = Settings(ledger=ledger, outputs=(output,), copied_fraction=1.0)
    with Transport() as transport:
        written = generate(oracle.record_of(paths, CMIP5), tmp_path, transport, settings)
    assert [warning.code for warning in written.warnings] == ["variable-apart"]
    assert written.report is not None
    assert written.report.passed
    tree = esgvzarr.open_datatree(written.reference.path, decode_times=oracle.CFTIME)
    for group, name in (("Amon", "tas"), ("Amon-uas", "uas")):
        own = [path for path in paths if path.name.startswith(name)]
        assert oracle.joined_differences(tree[group].to_dataset(), own) == []


def test_files_that_hold_variables_of_each_other_are_named(tmp_path: Path) -> None:
    paths = write_cmip5(tmp_path, ps={}, ua={})
    for path in paths[2:]:
        with netCDF4.Dataset(path, "r+") as file:
            file.createVariable("ps", "f4", ("time", "lat", "lon"))[:] = 7.0
    with pytest.raises(RefusedError) as caught:
        oracle.make(paths, CMIP5)
    (finding,) = caught.value.findings
    assert (finding.code, finding.rule) == ("variable-clash", 39)
    assert paths[2].name in finding.file
    assert paths[0].name in finding.expected
    assert "'ps'" in finding.found


def test_a_file_without_time_is_not_said_to_hold_variables_of_others(tmp_path: Path) -> None:
    paths = write_cmip5(tmp_path, tas={})
    with netCDF4.Dataset(paths[1], "r+") as file:
        file.renameVariable("time", "moment")
    with pytest.raises(RefusedError) as caught:
        oracle.make(paths, CMIP5)
    assert "variable-clash" not in {finding.code for finding in caught.value.findings}
