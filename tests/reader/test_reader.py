"""References are opened by stock readers; segments by ours, and by the recipe that the file itself
states.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import xarray
import zarr
from trust import oracle

import esgvzarr
from esgvzarr import EsgvzarrError
from esgvzarr.errors import TransportError
from esgvzarr.testing import DEFECTS, ThreddsServer


def references(name: str, directory: Path) -> tuple[Path, list[Path]]:
    """A reference file on disk, and the files it shows."""
    paths = DEFECTS[name].make(directory)
    _, document = oracle.make(paths)
    reference = directory / "references.json"
    reference.write_bytes(document)
    return reference, paths


@pytest.mark.parametrize("over_http", [False, True], ids=["local", "HTTP"])
def test_the_recipe_in_a_segmented_file_is_true_with_stock_xarray(
    tmp_path: Path, thredds_server: ThreddsServer, over_http: bool
) -> None:
    reference, paths = references("packing_differs", tmp_path)
    href = str(reference)
    if over_http:
        text = reference.read_text()
        for path in paths:
            text = text.replace(str(path), thredds_server.url_of(path))
        reference.write_text(text)
        href = thredds_server.url_of(reference)
    root = xarray.open_dataset(href, engine="kerchunk")
    assert not root.variables
    recipe = root.attrs["esgvzarr_recipe"]
    code = recipe.split("does, or ", 1)[1].removesuffix(".")
    joined = eval(code, {"xarray": xarray, "names": root.attrs["esgvzarr_segments"], "href": href})  # noqa: S307
    assert np.array_equal(joined["tas"].values, esgvzarr.open_dataset(href)["tas"].values)
    joined = esgvzarr.open_dataset(href, decode_times=oracle.CFTIME)
    assert oracle.joined_differences(joined, paths) == []


@pytest.mark.parametrize(
    ("name", "todo"), [("tas.nc", "Restore the file"), ("tas.ends", "copy it there")]
)
def test_a_file_of_this_machine_that_is_gone_is_no_fault_of_a_data_node(
    name: str, todo: str, tmp_path: Path
) -> None:
    reference, paths = references("unequal_lengths", tmp_path)
    text = reference.read_text().replace(paths[0].name, name)
    reference.write_text(text)
    dataset = esgvzarr.open_dataset(str(reference))
    with pytest.raises(TransportError, match=todo) as caught:
        dataset["tas"].load()
    assert not caught.value.retryable


def test_segments_are_joined_lazily(tmp_path: Path) -> None:
    reference, _ = references("chunk_shape_differs", tmp_path)
    joined = esgvzarr.open_dataset(str(reference))
    assert joined["tas"].chunks is not None
    assert "esgvzarr_segments" not in joined.attrs
    assert joined.sizes["time"] == 36


def test_segments_show_one_set_of_coordinates_whatever_the_rounding(tmp_path: Path) -> None:
    recipe = DEFECTS["latitude_rounding"].recipe.with_also(
        DEFECTS["partial_chunks_compressed"].recipe
    )
    assert recipe is not None
    _, document = oracle.make(recipe.write(tmp_path))
    latitudes = [
        oracle.shown(document, group)["lat"].values.tobytes() for group in oracle.groups(document)
    ]
    assert len(latitudes) == 3
    assert len(set(latitudes)) == 1


def test_times_beyond_nanoseconds_in_one_segment_only_are_one_kind_of_dates(tmp_path: Path) -> None:
    from dataclasses import replace

    from esgvzarr.testing import FileSpec, write_files

    specs = [FileSpec(), replace(FileSpec(), start=12 * 500, dtype="f8")]
    _, document = oracle.make(write_files(tmp_path, specs))
    (tmp_path / "references.json").write_bytes(document)
    times = esgvzarr.open_dataset(str(tmp_path / "references.json"))["time"]
    assert times.dtype == object
    assert [times.values[0].year, times.values[-1].year] == [1850, 2350]


def test_an_attribute_of_one_segment_is_not_shown_for_all(tmp_path: Path) -> None:
    recipe = DEFECTS["attributes_per_file"].recipe.with_also(DEFECTS["dtype_differs"].recipe)
    assert recipe is not None
    _, document = oracle.make(recipe.write(tmp_path))
    (tmp_path / "references.json").write_bytes(document)
    assert "comment" not in esgvzarr.open_dataset(str(tmp_path / "references.json"))["tas"].attrs


def test_what_is_no_reference_is_said_so(tmp_path: Path) -> None:
    path = tmp_path / "page.json"
    path.write_text("<html>")
    with pytest.raises(EsgvzarrError):
        esgvzarr.open_dataset(str(path))
    with pytest.raises(EsgvzarrError):
        esgvzarr.open_dataset(str(tmp_path / "nothing.json"))


def test_provenance_is_strict_json_and_says_where_everything_is_from(tmp_path: Path) -> None:
    reference, paths = references("odd_attributes", tmp_path)
    text = json.loads(reference.read_bytes(), parse_constant=lambda text: pytest.fail(text))[
        "provenance"
    ]
    provenance = json.loads(text, parse_constant=lambda text: pytest.fail(text))
    assert [file["url"] for file in provenance["files"]] == [str(path) for path in paths]
    assert all(
        file["size"] == path.stat().st_size
        for file, path in zip(provenance["files"], paths, strict=True)
    )
    assert (
        provenance["files"][0]["time_start"]
        < provenance["files"][0]["time_end"]
        < provenance["files"][1]["time_start"]
    )


def _without_provenance(reference: Path) -> dict[str, Any]:
    parsed = json.loads(reference.read_bytes())
    del parsed["provenance"]
    return dict(parsed)


def test_fsspec_and_xarray_see_nothing_of_the_provenance(tmp_path: Path) -> None:
    reference, _ = references("compressed", tmp_path)
    with_it = fsspec.filesystem("reference", fo=str(reference), skip_instance_cache=True)
    without = fsspec.filesystem(
        "reference", fo=_without_provenance(reference), skip_instance_cache=True
    )
    assert with_it.find("") == without.find("")
    shown = xarray.open_dataset(str(reference), engine="kerchunk")
    assert shown.identical(xarray.open_dataset(_without_provenance(reference), engine="kerchunk"))  # type: ignore[arg-type]


def test_kerchunk_combines_our_references_as_if_there_were_no_provenance(tmp_path: Path) -> None:
    from kerchunk.combine import MultiZarrToZarr

    reference, _ = references("compressed", tmp_path)
    fixed = ["lat", "lon", "lat_bnds", "lon_bnds", "height"]
    both = [
        MultiZarrToZarr([one], concat_dims=["time"], identical_dims=fixed).translate()
        for one in (json.loads(reference.read_bytes()), _without_provenance(reference))
    ]
    assert both[0] == both[1]


def test_one_array_over_chunks_of_unequal_length_is_not_possible_yet() -> None:
    """The day this fails, zarr-python reads rectilinear chunk grids: look at
    docs/explanation/combining.md again.
    """
    with pytest.raises((ValueError, TypeError, KeyError)):
        zarr.create_array(
            zarr.storage.MemoryStore(),
            shape=(24,),
            chunks=[[5, 5, 2, 5, 5, 2]],
            dtype="f4",
            zarr_format=3,
        )
