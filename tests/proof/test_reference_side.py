"""An output as its readers see it, and where it leads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from esgvzarr import EsgvzarrError, Transport
from esgvzarr.proof.reference_side import check_places, times_of

from .in_memory import FILE, dataset, group, references

NONE = np.iinfo(np.int64).min
DAY = 86_400_000_000


@pytest.mark.parametrize(
    ("box", "steps", "rows"),
    [
        ((slice(0, 2), slice(0, 4)), [0], [0]),
        ((slice(1, 3), slice(0, 2)), [0, 1], [0]),
        ((slice(2, 3), slice(2, 3)), [1], [0]),
        ((slice(3, 5), slice(3, 5)), [2], [0, 1]),
        ((slice(0, 6), slice(0, 5)), [0, 1, 2, 3], [0, 1]),
    ],
)
def test_chunks_of_unequal_length_that_hold_a_box(
    box: tuple[slice, ...], steps: list[int], rows: list[int]
) -> None:
    """Along time they end at the steps 2, 3, 5 and 6; of five latitudes the first four are one."""
    shown = group(dataset(range(6), lat=5), chunks=((2, 1, 2, 1), 4))
    assert list(shown.keys_of("tas", box)) == [(step, row) for step in steps for row in rows]
    assert shown.is_irregular("tas")
    assert [shown.chunk_shape("tas", step) for step in (0, 1, 2, 3, 5, 9)] == [
        (length, 4) for length in (2, 2, 1, 2, 1, 1)
    ]
    assert shown.chunk_ends("tas", 1).tolist() == [4, 8]


def test_without_chunks_a_variable_is_one() -> None:
    shown = group(dataset([1, 2, 3]))
    assert shown.chunk_shape("tas") == (3, 4)
    assert not shown.is_irregular("tas")
    assert list(shown.keys_of("tas", (slice(1, 2), slice(0, 4)))) == [(0, 0)]


def test_one_dataset_of_several_has_its_own_variables_and_its_time() -> None:
    shown = group(dataset([1, 2]).assign(pr=dataset([1, 2]).tas), "a")
    assert set(shown.only(["pr", "time"]).dataset.variables) == {"pr", "time"}
    assert shown.only(["pr", "time"]).times.tolist() == shown.times.tolist()
    assert shown.only(["lat"]).time is None
    assert shown.only(["lat"]).times.tolist() == []


def test_where_chunks_are_stated_to_be() -> None:
    stated = references({"tas": [(0, 0), (0, 2), (1, 0), (3, 1)]}, size=16)
    keys = [(3, 1), (0, 2), (0, 1), (2, 0), (4, 0), (0, 3), (3, 2), (0,)]
    found = list(stated.places("", "tas", keys))
    assert [(one.location, one.start, one.stop) for one in found] == [
        (FILE.url, 48, 64),
        (FILE.url, 16, 32),
    ]
    assert list(stated.places("", "pr", keys)) == []
    assert list(references(None, {"tas": [(0, 0)]}).places("", "tas", keys)) == []
    assert stated.reach == {FILE.url: 64}
    assert stated.chunks[FILE.url, "tas"] == 4
    assert stated.sizes[FILE.url, "tas"] == 64


@pytest.mark.parametrize(
    ("steps", "count"),
    [((0, 6), 3), ((0, 2), 1), ((1, 2), 1), ((2, 3), 0), ((2, 4), 1), ((5, 6), 1), ((4, 6), 2)],
)
def test_chunks_that_the_output_holds_are_counted_within_steps(
    steps: tuple[int, int], count: int
) -> None:
    """Chunks end at the steps 2, 3, 5 and 6; all are held but the one from 2 to 3."""
    ends = np.array([2, 3, 5, 6])
    stated = references(None, {"tas": [(0, 0), (2, 0), (3, 0), (9, 0)]})
    assert stated.inline_within("", "tas", 0, steps, ends) == count
    assert stated.inline_within("", "tas", None, steps, ends) == 4
    assert stated.inline_within("", "pr", 0, steps, ends) == 0
    assert stated.held("", "tas").tolist() == [[0, 0], [2, 0], [3, 0], [9, 0]]
    assert len(stated.held("", "pr")) == 0


@pytest.mark.parametrize(
    ("attrs", "expected"),
    [
        ({}, [DAY, 2 * DAY, NONE]),
        ({"_FillValue": 2.0}, [DAY, NONE, NONE]),
        ({"scale_factor": 2.0}, [2 * DAY, 4 * DAY, NONE]),
        ({"add_offset": 1.0}, [2 * DAY, 3 * DAY, NONE]),
        ({"units": "hours since 1970-01-01"}, [DAY // 24, DAY // 12, NONE]),
        ({"units": "fortnights"}, []),
        ({"units": None}, []),
    ],
)
def test_times_are_decoded_by_their_own_attributes(attrs: Any, expected: list[int]) -> None:
    file = dataset([1.0, 2.0, np.nan], **{"units": "days since 1970-01-01", **attrs})
    assert times_of(file, "time").tolist() == expected
    assert times_of(file, None).tolist() == []


@pytest.mark.parametrize(
    ("url", "location", "allowed"),
    [
        ("https://node.example/a.nc", "https://node.example/a.json", True),
        ("https://[2001:db8::1]/a.nc", "https://node.example/a.json", True),
        ("https://other.example/a.nc", "https://node.example/a.json", False),
        ("https://node.example/a.nc::b", "https://node.example/a.json", False),
        ("ftp://node.example/a.nc", "https://node.example/a.json", False),
        ("zip::a.zip", "a.json", False),
        ("https://[2001:db8::1]/a.nc::b", "a.json", False),
        ("{file}", "a.json", True),
        ("file://{file}", "a.json", True),
        ("{gone}", "a.json", True),  # the proof says that it is not there
        ("{directory}", "a.json", False),
        ("{file}", "https://node.example/a.json", False),
        ("{named}", "https://node.example/a.json", True),
    ],
)
def test_references_lead_to_hosts_that_are_allowed_and_to_files_beside_them(
    url: str, location: str, allowed: bool, tmp_path: Path
) -> None:
    for name in ("file", "named"):
        (tmp_path / name).touch()
    places = {name: str(tmp_path / name) for name in ("file", "named", "gone")}
    place = url.format(**places, directory=tmp_path)
    hosts = ["node.example", "[2001:db8::1]"]
    with Transport(allowed_hosts=hosts) as transport:
        if allowed:
            check_places([place], transport, location, [places["named"]])
            return
        with pytest.raises(EsgvzarrError) as caught:
            check_places([place], transport, location, [places["named"]])
    assert caught.value.code in {"proof-place-refused", "transport-host-refused"}
