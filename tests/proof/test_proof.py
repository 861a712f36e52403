"""The proof fails on references that mislead, of any maker and in any way, and
passes on right ones of others.
"""

from __future__ import annotations

import base64
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kerchunk.combine
import netCDF4
import pytest
from trust import kerchunk_scan, oracle

from esgvzarr import ProofError, Settings, Transport
from esgvzarr.output import named
from esgvzarr.stage import Work, make
from esgvzarr.stage.proving import check_passed, compared
from esgvzarr.testing import DATASET_ID, DEFECTS

Refs = dict[str, Any]


def kerchunk_references(paths: list[Path]) -> bytes:
    """What kerchunk's documentation tells people to do."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        singles = [kerchunk_scan.scanned(path) for path in paths]
        together = kerchunk.combine.MultiZarrToZarr(
            singles,
            concat_dims=["time"],
            identical_dims=["lat", "lon", "lat_bnds", "lon_bnds", "height"],
        )
        return json.dumps(together.translate()).encode()


def virtualizarr_references(paths: list[Path]) -> bytes:
    """What VirtualiZarr's documentation tells people to do."""
    pytest.importorskip("virtualizarr", reason="VirtualiZarr is in the extra `test`")
    import obstore
    import xarray
    from obspec_utils.registry import ObjectStoreRegistry
    from virtualizarr import open_virtual_dataset
    from virtualizarr.parsers import HDFParser

    registry = ObjectStoreRegistry({"file://": obstore.store.LocalStore()})
    parts = [
        open_virtual_dataset(
            f"file://{path}", registry=registry, parser=HDFParser(), loadable_variables=[]
        )
        for path in paths
    ]
    together = xarray.concat(
        parts,
        dim="time",
        data_vars="minimal",
        coords="minimal",
        compat="override",
        join="override",
        combine_attrs="override",
    )
    return json.dumps(together.vz.to_kerchunk(format="dict")).encode()


WRONG_WITHOUT_A_WORD = [
    *(
        (kerchunk_references, name)
        for name in ("packing_differs", "time_epoch_differs", "latitude_differs", "scalar_differs")
    ),
    *(
        (virtualizarr_references, name)
        for name in (
            "packing_differs",
            "time_epoch_differs",
            "latitude_differs",
            "scalar_differs",
            "zeros_without_fill_value",
            "contiguous",
        )
    ),
]


@pytest.mark.parametrize(("maker", "name"), WRONG_WITHOUT_A_WORD)
def test_what_others_get_wrong_without_a_word_fails(
    maker: Callable[[list[Path]], bytes], name: str, tmp_path: Path
) -> None:
    recipe = DEFECTS[name].recipe.with_also(DEFECTS["contiguous"].recipe)
    assert recipe is not None
    paths = recipe.write(tmp_path)
    failures = oracle.proof(maker(paths), paths).failures
    assert {check.name for check in failures} & {"values", "time", "attributes"}


@pytest.mark.parametrize("full", [False, True])
def test_a_right_reference_of_kerchunk_passes(full: bool, tmp_path: Path) -> None:
    paths = DEFECTS["compressed"].make(tmp_path)
    report = oracle.proof(kerchunk_references(paths), paths, full=full)
    assert report.passed, report.failures


def _data_keys(refs: Refs) -> list[str]:
    return sorted(key for key in refs if key.startswith("tas/") and isinstance(refs[key], list))


def wrong_offset(refs: Refs) -> None:
    key = _data_keys(refs)[0]
    refs[key] = [refs[key][0], refs[key][1] + 1, refs[key][2]]


def too_short(refs: Refs) -> None:
    key = _data_keys(refs)[0]
    refs[key] = [refs[key][0], refs[key][1], refs[key][2] - 4]


def swapped_chunks(refs: Refs) -> None:
    first, second = _data_keys(refs)[:2]
    refs[first], refs[second] = refs[second], refs[first]


def dropped_chunk(refs: Refs) -> None:
    del refs[_data_keys(refs)[0]]


def file_not_there(refs: Refs) -> None:
    key = _data_keys(refs)[0]
    refs[key] = [refs[key][0] + ".gone", *refs[key][1:]]


def dropped_variable(refs: Refs) -> None:
    for key in [key for key in refs if key.startswith("height/")]:
        del refs[key]


def one_variable_more(refs: Refs) -> None:
    for key in [key for key in refs if key.startswith("height/")]:
        refs[key.replace("height", "depth")] = refs[key]


def _change(key: str, **changes: Any) -> Callable[[Refs], None]:
    def spoil(refs: Refs) -> None:
        refs[key] = json.dumps({**json.loads(refs[key]), **changes})

    return spoil


def one_bit_of_latitude(refs: Refs) -> None:
    numbers = bytearray(base64.b64decode(refs["lat/0"].removeprefix("base64:")))
    numbers[3] ^= 1
    refs["lat/0"] = "base64:" + base64.b64encode(numbers).decode()


def one_bit_of_a_bound(refs: Refs) -> None:
    """The end of a month is less than a microsecond away from where it was."""
    data = bytearray(base64.b64decode(refs["time_bnds/0.0"].removeprefix("base64:")))
    data[-8] ^= 1
    refs["time_bnds/0.0"] = "base64:" + base64.b64encode(data).decode()


def latitude_of_another_length(refs: Refs) -> None:
    refs["lat/0"] = refs["lon/0"]


SPOILT: dict[str, Callable[[Refs], None]] = {
    "wrong_offset": wrong_offset,
    "too_short": too_short,
    "swapped_chunks": swapped_chunks,
    "dropped_chunk": dropped_chunk,
    "file_not_there": file_not_there,
    "dropped_variable": dropped_variable,
    "one_variable_more": one_variable_more,
    "one_bit_of_latitude": one_bit_of_latitude,
    "one_bit_of_a_bound": one_bit_of_a_bound,
    "latitude_of_another_length": latitude_of_another_length,
    "fill_value": _change("tas/.zarray", fill_value=0.0),
    "no_fill_value": _change("tas/.zarray", fill_value=None),
    "byte_order": _change("tas/.zarray", dtype=">f4"),
    "kind": _change("tas/.zarray", dtype="<i4", fill_value=0),
    "shape": _change("tas/.zarray", shape=[24, 4, 6]),
    "no_filters": _change("tas/.zarray", filters=None),
    "units": _change("tas/.zattrs", units="degC"),
    "scale": _change("tas/.zattrs", scale_factor=2.0),
    "missing_value": _change("tas/.zattrs", missing_value=280.0),
    "dimensions": _change("tas/.zattrs", _ARRAY_DIMENSIONS=["time", "lon", "lat"]),
    "time_units": _change("time/.zattrs", units="days since 1850-01-02"),
    "time_unit": _change("time/.zattrs", units="fortnights"),
    "calendar": _change("time/.zattrs", calendar="noleap"),
    "time_scale": _change("time/.zattrs", scale_factor=2.0),
    "global_attribute": _change(".zattrs", source_id="another"),
}


DOES_NOT_OPEN = {"shape", "dimensions", "latitude_of_another_length"}


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("name", SPOILT)
def test_a_spoilt_reference_fails(name: str, full: bool, tmp_path: Path) -> None:
    paths = DEFECTS["compressed"].make(tmp_path)
    _, document = oracle.make(paths)
    parsed = json.loads(document)
    SPOILT[name](parsed["refs"])
    spoilt = json.dumps(parsed).encode()
    if name in DOES_NOT_OPEN:
        with pytest.raises(ProofError) as raised:
            oracle.proof(spoilt, paths, full=full)
        assert raised.value.code == "proof-not-opened"
    else:
        assert not oracle.proof(spoilt, paths, full=full).passed


def test_every_single_swap_of_neighbouring_chunks_is_found_in_full(tmp_path: Path) -> None:
    paths = DEFECTS["compressed"].make(tmp_path)
    _, document = oracle.make(paths)
    keys = sorted(
        _data_keys(json.loads(document)["refs"]),
        key=lambda key: int(key.split("/")[1].split(".")[0]),
    )
    for first, second in zip(keys[::5], keys[1::5], strict=False):
        parsed = json.loads(document)
        parsed["refs"][first], parsed["refs"][second] = (
            parsed["refs"][second],
            parsed["refs"][first],
        )
        assert not oracle.proof(json.dumps(parsed).encode(), paths, full=True).passed


def test_a_chunk_that_was_dropped_is_missed_by_the_count_wherever_it_lies(tmp_path: Path) -> None:
    paths = DEFECTS["compressed"].make(tmp_path)
    _, document = oracle.make(paths)
    for key in _data_keys(json.loads(document)["refs"]):
        parsed = json.loads(document)
        del parsed["refs"][key]
        failures = oracle.proof(json.dumps(parsed).encode(), paths, samples=0).failures
        assert "count" in {check.name for check in failures}


def test_a_date_of_all_files_that_one_states_in_another_calendar_fails(tmp_path: Path) -> None:
    """Its number is the same, and does not change with time."""
    paths = DEFECTS["scalar_calendar_differs"].make(tmp_path)
    _state_calendar(paths[1], "standard")
    _, document = oracle.make(paths)
    assert oracle.proof(document, paths).passed
    _state_calendar(paths[1], "noleap")
    failures = oracle.proof(document, paths).failures
    assert [check.detail for check in failures] == ["dates, shown with another calendar"]


def _state_calendar(path: Path, calendar: str) -> None:
    with netCDF4.Dataset(path, "a") as file:
        file.variables["issued"].calendar = calendar


def test_a_segment_that_was_dropped_is_missed(tmp_path: Path) -> None:
    paths = DEFECTS["packing_differs"].make(tmp_path)
    _, document = oracle.make(paths)
    parsed = json.loads(document)
    parsed["refs"] = {
        key: value for key, value in parsed["refs"].items() if not key.startswith("seg-001")
    }
    assert not oracle.proof(json.dumps(parsed).encode(), paths).passed


@pytest.mark.parametrize(
    "document", [b"", b"<html>", b"{}", b'{"version": 1, "refs": {}}', b'{"a": NaN}', b"[1]"]
)
def test_what_are_no_references_is_said_so(document: bytes, tmp_path: Path) -> None:
    with pytest.raises(ProofError) as raised:
        oracle.proof(document, [])
    assert raised.value.code in {"proof-not-json", "proof-not-references"}


def test_the_proof_passes_only_where_something_was_checked(tmp_path: Path) -> None:
    paths = DEFECTS["plain"].make(tmp_path)
    _, document = oracle.make(paths)
    assert not oracle.proof(document, []).passed


def test_attributes_that_are_shown_as_words_are_named(tmp_path: Path) -> None:
    paths = DEFECTS["attribute_not_finite"].make(tmp_path)
    _, document = oracle.make(paths)
    said = {check.subject: check.detail for check in oracle.proof(document, paths).checks}
    assert said["global in /"].endswith("shown as text: ['limit']")
    assert said["lat in /"].endswith("shown as text: ['gap']")


def test_references_that_do_not_read_back_are_not_published(tmp_path: Path) -> None:
    """A latitude that the references hold is another one in the files by now."""
    paths = DEFECTS["plain"].make(tmp_path)
    _, document = oracle.make(paths)
    for path in paths:
        with netCDF4.Dataset(path, "a") as file:
            file["lat"][0] += 1
    with Transport() as transport:
        work = Work(oracle.record_of(paths), (), Settings())
        made = make(work, transport, progress=lambda *_: None)
        artefact = named("json").parse(document, "test", transport)
        report = compared(artefact, DATASET_ID, made.files, transport, Settings(), location="test")
        with pytest.raises(ProofError, match="Nothing was published") as caught:
            check_passed(report, made, "auto")
    assert caught.value.code == "proof-failed"
