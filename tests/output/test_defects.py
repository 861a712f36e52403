"""Each output shows what the files hold, value for value, as kerchunk JSON does; in segments
too.
"""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import orjson
import pytest
import xarray
from trust import oracle

import esgvzarr
from esgvzarr import EsgvzarrError
from esgvzarr.errors import FormatError
from esgvzarr.output import SUFFIXES, storage_options, write
from esgvzarr.output.icechunk import open_store
from esgvzarr.output.parquet import read_parquet
from esgvzarr.testing import DEFECTS
from esgvzarr.testing.defects import EQUAL

from . import OTHERS, skip_unless_installed

GAPS = ("fill_value_differs", "chunks_never_written_fill_value", "extent_shorter_in_chunk")
"""Chunks that are not there: readers of parquet take them for URLs."""
REFUSED = {
    "parquet": dict.fromkeys(GAPS, "never written"),
    "icechunk": {"chars_along_time": "text of single bytes"},
}
READABLE = [name for name, defect in DEFECTS.items() if defect.outcome == EQUAL]
TELLING = (
    "plain",
    "partial_chunks_compressed",
    "short_last_file",
    "packing_differs",
    "byte_order_differs",
    "shuffle_differs",
    "fletcher32",
    "bzip2",
    "zstd",
    "scalar_integer",
    "no_fill",
    "chunks_never_written",
    *GAPS,
    "netcdf3_flags",
    "netcdf3_packed",
    "char_array",
    "vlen_string",
    "strings_along_time",
    "odd_attributes",
    "odd_names",
    "bare_dimensions",
    "time_integer_rebased",
    "integer_types",
    "edges",
    "chars_along_time",
)
"""All kinds of values, codecs and layouts once. Nightly all defects are tried."""
CHOSEN = READABLE if os.environ.get("HYPOTHESIS_PROFILE") == "nightly" else TELLING


def opener(place: Path, output: str) -> Any:
    """``oracle.shown`` by the output at ``place``, with what its link says and no more."""
    own = storage_options(output, "file")

    def show(document: bytes, group: str = "", **options: Any) -> xarray.Dataset:
        if output == "icechunk":
            return xarray.open_zarr(
                open_store(str(place)),
                group=group or None,
                consolidated=False,
                chunks=None,
                **options,
            )
        if group:
            where = {"fo": str(place), "skip_instance_cache": True, **own}
            return xarray.open_dataset(
                f"reference://{group}",
                engine="zarr",
                consolidated=False,
                chunks=None,
                storage_options=where,
                **options,
            )
        where = {"skip_instance_cache": True, **own}
        return xarray.open_dataset(
            str(place),
            engine="kerchunk",
            storage_options=where,
            open_dataset_options={"chunks": None, **options},
        )

    return show


@pytest.mark.parametrize(("output", "name"), list(itertools.product(OTHERS, CHOSEN)))
def test_a_defect_is_read_through_the_output_as_the_files_hold_it(
    output: str, name: str, tmp_path: Path
) -> None:
    skip_unless_installed(output)
    paths = DEFECTS[name].make(tmp_path / "files")
    _, document = oracle.make(paths)
    place = tmp_path / f"dataset{SUFFIXES[output]}"
    if name in REFUSED.get(output, {}):
        with pytest.raises(FormatError, match=REFUSED[output][name]) as caught:
            write(output, document, place)
        assert caught.value.code == "file-output-unsupported"
        return
    write(output, document, place)
    assert oracle.differences(document, paths, show=opener(place, output)) == []
    report = oracle.proof(document, paths, through=str(place))
    assert report.passed, report.failures


@pytest.mark.parametrize("output", OTHERS)
def test_segments_of_an_output_are_joined_by_ours_and_by_the_recipe_that_it_states(
    output: str, tmp_path: Path
) -> None:
    skip_unless_installed(output)
    paths = DEFECTS["packing_differs"].make(tmp_path / "files")
    _, document = oracle.make(paths)
    place = tmp_path / f"dataset{SUFFIXES[output]}"
    write(output, document, place)
    ours = esgvzarr.open_dataset(str(place), decode_times=oracle.CFTIME)
    assert oracle.joined_differences(ours, paths) == []
    root = opener(place, output)(document)
    assert not root.variables
    if output == "icechunk":  # no call that takes the href alone
        return
    code = root.attrs["esgvzarr_recipe"].split("does, or ", 1)[1].removesuffix(".")
    joined = eval(  # noqa: S307
        code, {"xarray": xarray, "names": root.attrs["esgvzarr_segments"], "href": str(place)}
    )
    assert (
        joined["tas"].identical(esgvzarr.open_dataset(str(place))["tas"])
        or (joined["tas"] == ours["tas"]).all()
    )


def test_parquet_holds_each_reference_and_nothing_else(tmp_path: Path) -> None:
    """Inline bytes, scalars, several tables: what is read back is the document, key by key."""
    pytest.importorskip("fastparquet")
    paths = DEFECTS["chunks_never_written"].make(tmp_path / "files")
    _, document = oracle.make(paths)
    write("parquet", document, tmp_path / "x.parq")
    there = orjson.loads(document)
    here = orjson.loads(read_parquet(str(tmp_path / "x.parq")))
    assert here["provenance"] == there["provenance"]
    assert here["refs"].keys() == there["refs"].keys()
    for key, value in there["refs"].items():
        same = (
            orjson.loads(here["refs"][key]) == orjson.loads(value)
            if "/.z" in f"/{key}"
            else here["refs"][key] == value
        )
        assert same, key


def test_an_output_that_was_spoilt_fails_the_proof(tmp_path: Path) -> None:
    """The proof opens the output, not what it was made of."""
    pytest.importorskip("fastparquet")
    paths = DEFECTS["compressed"].make(tmp_path / "files")
    _, document = oracle.make(paths)
    place = tmp_path / "x.parq"
    write("parquet", document.replace(b'.nc",', b'.nc",1', 1), place)
    assert not oracle.proof(document, paths, through=str(place), full=True).passed
    (place / "tas" / "refs.0.parq").unlink()
    assert not oracle.proof(document, paths, through=str(place)).passed


def test_a_missing_package_is_named_with_the_extra_that_brings_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from esgvzarr.output import check_installed

    monkeypatch.setitem(__import__("sys").modules, "fastparquet", None)
    with pytest.raises(EsgvzarrError, match=r"pip install 'esgvzarr\[parquet\]'") as caught:
        check_installed("parquet")
    assert caught.value.code == "settings-output"
