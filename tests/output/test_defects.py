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
from esgvzarr.errors import FormatError, ProofError
from esgvzarr.output import Contents, named
from esgvzarr.output.document import contents_of, parse
from esgvzarr.output.icechunk import open_store
from esgvzarr.testing import DEFECTS
from esgvzarr.testing.defects import EQUAL

from . import OTHERS, skip_unless_installed

GAPS = ("fill_value_differs", "chunks_never_written_fill_value", "extent_shorter_in_chunk")
"""Chunks that are not there: readers of parquet take them for URLs."""
REFUSED = {
    "parquet": dict.fromkeys(GAPS, "never written"),
    "icechunk": {"chars_along_time": "text of single bytes"},
    "zarr3": {"chars_along_time": "text of single bytes"},
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
    own = named(output).storage_options("file")

    def show(document: bytes, group: str = "", **options: Any) -> xarray.Dataset:
        if output == "icechunk":
            return xarray.open_zarr(
                open_store(str(place)),
                group=group or None,
                consolidated=False,
                chunks=None,
                **options,
            )
        if group or output == "zarr3":
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
    references, document = oracle.make(paths)
    place = tmp_path / f"dataset{named(output).suffix}"
    if name in REFUSED.get(output, {}):
        with pytest.raises(FormatError, match=REFUSED[output][name]) as caught:
            named(output).write(references, place)
        assert caught.value.code == "file-output-unsupported"
        return
    named(output).write(references, place)
    assert oracle.differences(document, paths, show=opener(place, output)) == []
    report = oracle.proof_of(named(output).staged(place, references), paths)
    assert report.passed, report.failures


@pytest.mark.parametrize("output", OTHERS)
def test_segments_of_an_output_are_joined_by_ours_and_by_the_recipe_that_it_states(
    output: str, tmp_path: Path
) -> None:
    skip_unless_installed(output)
    paths = DEFECTS["packing_differs"].make(tmp_path / "files")
    references, document = oracle.make(paths)
    place = tmp_path / f"dataset{named(output).suffix}"
    named(output).write(references, place)
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


@pytest.mark.parametrize("output", ["json", "json.zst", "parquet"])
@pytest.mark.parametrize("name", ["chunks_never_written", "packing_differs", "scalar_integer"])
def test_what_was_written_is_read_back_as_the_same_tables(
    output: str, name: str, tmp_path: Path
) -> None:
    """Inline bytes, scalars, segments: each chunk of each array with its file, place and size."""
    skip_unless_installed(output)
    references, document = oracle.make(DEFECTS[name].make(tmp_path / "files"))
    place = tmp_path / f"x{named(output).suffix}"
    named(output).write(references, place)
    here = named(output).staged(place, references).contents
    there = contents_of(parse(document, "document"))
    assert here.provenance == there.provenance
    assert here.arrays.keys() == there.arrays.keys()
    for path in there.arrays:
        assert rows_of(here, path) == rows_of(there, path)
    for key, text in there.metadata.items():
        if key.endswith(".zarray"):
            assert orjson.loads(here.metadata[key]) == orjson.loads(text)


def rows_of(contents: Contents, path: str) -> set[tuple[Any, ...]]:
    """Key, URL, offset and size of each chunk; keys alone of inline ones."""
    table = contents.arrays[path]
    rows = set()
    for key, file, offset, size in zip(
        table.keys.tolist(), table.file_index, table.offsets, table.sizes, strict=True
    ):
        rows.add((tuple(key), contents.urls[file], int(offset), int(size)))
    return rows | {(tuple(key),) for key in table.inline.tolist()}


def test_an_output_that_was_spoilt_fails_the_proof(tmp_path: Path) -> None:
    """The proof opens the output, not what it was made of."""
    pytest.importorskip("fastparquet")
    paths = DEFECTS["compressed"].make(tmp_path / "files")
    references, _ = oracle.make(paths)
    output = named("parquet")
    place = tmp_path / "x.parq"
    output.write(references, place)
    assert oracle.proof_of(output.staged(place, references), paths).passed
    artefact = output.staged(place, references)
    (place / "tas" / "refs.0.parq").unlink()
    assert not oracle.proof_of(artefact, paths).passed
    with pytest.raises(ProofError, match=r"tas/refs\.0\.parq: does not exist"):
        output.staged(place, references)


def test_a_missing_package_is_named_with_the_extra_that_brings_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "fastparquet", None)
    with pytest.raises(EsgvzarrError, match=r"pip install 'esgvzarr\[parquet\]'") as caught:
        named("parquet").check_installed()
    assert caught.value.code == "settings-output"
