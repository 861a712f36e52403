"""Whether two datasets can be shown side by side."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cf import variable

from esgvzarr.combine.misfits import misfits
from esgvzarr.model import FileRecord, FileReferences, Series

from . import in_memory


def fixed(dims: tuple[str, ...], dtype: str) -> Series:
    """A dataset without time that has a latitude."""
    lat = variable("lat", dims, np.array([1, 2], dtype))
    file = FileReferences(FileRecord("a.nc", "/a.nc"), "hdf5", {dims[0]: 2}, {}, {"lat": lat}, 1000)
    return Series((file,), None, ())


@pytest.mark.parametrize(("dims", "dtype"), [(("y",), "f8"), (("lat",), "f4")])
def test_a_variable_of_both_has_the_same_dimensions_and_type(
    dims: tuple[str, ...], dtype: str
) -> None:
    codes = {finding.code for finding in misfits(fixed(("lat",), "f8"), fixed(dims, dtype))}
    assert "dimension-differs" in codes


def test_equal_variables_fit() -> None:
    assert not list(misfits(fixed(("lat",), "f8"), fixed(("lat",), ">f8")))


def dated(name: str, *attrs: dict[str, str]) -> Series:
    """Data of files of one step each, whose times have these attributes."""
    files = []
    for number, own in enumerate(attrs):
        time = in_memory.variable("time", "time", [number + 0.5], **in_memory.DAYS, **own)
        edges = in_memory.variable("edges", "time nv", [[number, number + 1.0]])
        data = in_memory.variable(name, "time", np.zeros(1, "f4"))
        files.append(in_memory.file(time, edges, data, number=number))
    return in_memory.series(*files, time="time")


def test_bounds_of_both_are_those_that_the_first_file_names() -> None:
    named = {"bounds": "edges"}
    unnamed: dict[str, str] = {}
    codes = [finding.code for finding in misfits(dated("tas", named), dated("pr", named, unnamed))]
    assert codes == ["time-differs"]  # the second is longer
    one = dated("tas", named, unnamed)
    assert list(misfits(one, dated("pr", named, unnamed))) == []
    clash = misfits(dated("tas", unnamed), dated("pr", unnamed))
    assert [finding.code for finding in clash] == ["variable-clash"]


@pytest.mark.parametrize("unread", [(True, False), (False, True), (True, True)])
def test_times_that_were_not_read_are_not_taken_for_the_same(unread: tuple[bool, bool]) -> None:
    datasets = []
    for name, is_unread in zip(("tas", "pr"), unread, strict=True):
        made = dated(name, {"bounds": "edges"})
        (one,) = made.files
        edges = replace(one.variables["edges"], values=None)
        known = {**one.variables, "edges": edges} if is_unread else one.variables
        datasets.append(replace(made, files=(replace(one, variables=known),)))
    assert [finding.code for finding in misfits(*datasets)] == ["time-differs"]
