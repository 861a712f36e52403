"""Dataset ids are parsed strictly, for they become file names; types and errors travel between
processes.
"""

import copy
import dataclasses
import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
import pytest

from esgvzarr import errors, model
from esgvzarr.errors import EsgvzarrError, RefusedError, SourceError, TransportError
from esgvzarr.model import (
    Array,
    Check,
    ChunkTable,
    DatasetId,
    DatasetRecord,
    FileRecord,
    FileReferences,
    Finding,
    Group,
    ReferenceSet,
    Report,
    Variable,
)

MASTER = "CMIP6.CMIP.SNU.SAM0-UNICON.historical.r1i1p1f1.SImon.siconc.gn"
FINDING = Finding("time-overlap", 11, "b.nc", "2000-02", "2000-01", "Remove one of them.")


@pytest.mark.parametrize(
    "text",
    [
        f"{MASTER}.v20190323",
        f"{MASTER}#20190323",
        f"{MASTER}.v20190323|esgf-data.example.org",
        f"{MASTER}#20190323|localhost:8443",
        f"  {MASTER}.v20190323 | esgf-data.example.org\n",
    ],
)
def test_all_written_forms_are_the_same_dataset(text: str) -> None:
    assert DatasetId.parse(text) == DatasetId(MASTER, "20190323")


def test_its_text_is_the_dsid() -> None:
    assert str(DatasetId(MASTER, "20190323")) == f"{MASTER}.v20190323"
    assert DatasetId.parse(str(DatasetId(MASTER, "20190323"))) == DatasetId(MASTER, "20190323")


@pytest.mark.parametrize(
    ("text", "project"),
    [
        (f"{MASTER}.v20190323", "CMIP6"),
        (
            "MIP-DRS7.CMIP7.CMIP.MOHC.DUMMY-MODEL.historical.r1i1p1f1.glb.mon.tas.tavg-h2m-hxy-u.g100.v20260801",
            "CMIP7",
        ),
        (
            "input4MIPs.CMIP6.CMIP.UoM.UoM-CMIP-1-2-0.atmos.mon.mole_fraction_of_co2_in_air.gr1-GMNHSH#20160830",
            "input4MIPs",
        ),
        ("cmip5.output1.CCCma.CanESM2.historical.mon.atmos.Amon.r1i1p1.v1", "cmip5"),
        ("E3SM.1_0.piControl.1deg_atm_60-30km_ocean.ocean.native.model-output.mon.ens1.v1", "E3SM"),
    ],
)
def test_ids_of_all_projects_are_taken(text: str, project: str) -> None:
    assert DatasetId.parse(text).project == project


@pytest.mark.parametrize(
    "text",
    [
        "",
        "v20190323",
        "CMIP6.v20190323",
        MASTER,
        f"{MASTER}.v",
        f"{MASTER}#",
        f"{MASTER}.vlatest",
        f"{MASTER}#latest",
        f"{MASTER}.v2019-03-23",
        f"{MASTER}.v٢٠١٩",
        f"{MASTER}.v²",
        f"{MASTER}.v20190323.tas.nc",
        f"|{MASTER}.v1",
    ],
)
def test_what_is_no_dataset_id_is_refused(text: str) -> None:
    with pytest.raises(SourceError, match="not a dataset id") as error:
        DatasetId.parse(text)
    assert error.value.code == "source-dataset-id"


@pytest.mark.parametrize(
    "text",
    [
        "../../etc/passwd.a.v1",
        "/etc/cron.d.x.v1",
        "CMIP6/../../x.y.v1",
        "CMIP6..x.v1",
        ".hidden.x.v1",
        "-rf.x.v1",
        "CMIP6.x\\y.z.v1",
        "CMIP6.x y.z.v1",
        "CMIP6.x\0y.z.v1",
        "CMIP6.x\ny.z.v1",
        "CMIP6.x\n.v1",
        "CMIP6.*.z.v1",
        "CMIP6.%2e%2e.z.v1",
        "CMIP6.$HOME.z.v1",
        "CMIP6.ünicode.z.v1",
        "C" * 200 + "." + "x" * 60 + ".v1",
    ],
)
def test_ids_that_would_be_dangerous_file_names_are_refused(text: str) -> None:
    with pytest.raises(SourceError):
        DatasetId.parse(text)


def sent(value: Any) -> Any:
    """The same after a journey to another process."""
    return pickle.loads(pickle.dumps(value))  # noqa: S301 - our own bytes


def errors_of_all_kinds() -> list[EsgvzarrError]:
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, EsgvzarrError) and kind is not RefusedError
    ]
    plain = [
        kind("a.nc", "is HTML", expected="HDF5", todo="Log in.", code="x-y", retryable=True)
        for kind in kinds
    ]
    return [*plain, RefusedError("dataset", [FINDING])]


@pytest.mark.parametrize("error", errors_of_all_kinds(), ids=lambda error: type(error).__name__)
def test_errors_survive_pickling(error: EsgvzarrError) -> None:
    again = sent(error)
    assert type(again) is type(error)
    assert (str(again), vars(again), again.args) == (str(error), vars(error), error.args)


def raise_refused() -> None:
    raise RefusedError("dataset", [FINDING])


def test_errors_survive_the_way_back_from_another_process() -> None:
    with (
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as processes,
        pytest.raises(RefusedError) as error,
    ):
        processes.submit(raise_refused).result()
    assert error.value.findings == (FINDING,)
    assert error.value.code == "time-overlap"


def test_an_error_says_subject_found_expected_and_todo() -> None:
    error = TransportError("a.nc", "is HTML", expected="HDF5", todo="Log in.")
    assert str(error) == "a.nc: is HTML (expected HDF5). Log in."
    assert (error.code, error.retryable) == ("transport-failed", False)


def test_a_refusal_names_every_finding() -> None:
    other = Finding("calendar-differs", 6, "c.nc", "noleap", "360_day")
    error = RefusedError("dataset", [FINDING, other])
    assert str(error) == (
        "dataset: [time-overlap, rule 11] b.nc: expected 2000-02, found 2000-01. Remove one of "
        "them.; [calendar-differs, rule 6] c.nc: expected noleap, found 360_day"
    )


def test_codes_are_told_apart_by_their_first_word() -> None:
    """As the docstring of the errors draws them: scripts sort by it."""
    kinds = [kind for kind in EsgvzarrError.__subclasses__() if kind is not RefusedError]
    words = {kind.code.split("-")[0] for kind in kinds}
    assert len(words) == len(kinds)
    for kind in kinds:
        assert f"{kind.__name__} " in (errors.__doc__ or "")


FILE = FileRecord(
    "a.nc",
    "https://esgf.example.org/a.nc",
    100,
    "ab" * 32,
    "SHA256",
    "hdl:21.14100/1",
    "/data/a.nc",
)
TABLE = ChunkTable(np.zeros((2, 1), "i8"), np.array([10, 20]), np.array([5, 5]))
VARIABLE = Variable(
    "tas",
    ("time",),
    (2,),
    np.dtype("<f4"),
    {"units": "K"},
    1e20,
    (1,),
    ({"id": "zlib", "level": 1},),
    TABLE,
)
REFERENCES = FileReferences(
    FILE, "hdf5", {"time": 2}, {"title": "x"}, {"tas": VARIABLE}, 100, etag='"etag"'
)
ARRAY = Array(
    "tas",
    ("time",),
    (2,),
    (1,),
    np.dtype("<f4"),
    None,
    (),
    {},
    TABLE,
    np.zeros(2, "i8"),
    {"2": b"inline"},
)


def test_what_travels_survives_pickling() -> None:
    """Scans run in other processes."""
    record = DatasetRecord(
        DatasetId(MASTER, "1"), "esgf.example.org", (FILE,), replica=True, pid="hdl:1"
    )
    assert sent(record) == record
    again = sent(REFERENCES)
    assert (again.file, again.etag, dict(again.dimensions)) == (FILE, '"etag"', {"time": 2})
    assert again.variables["tas"].dtype == np.dtype("<f4")
    assert np.array_equal(again.variables["tas"].chunks.offsets, TABLE.offsets)


def test_what_travels_is_frozen_and_has_no_room_for_more() -> None:
    kinds = [
        kind
        for kind in vars(model).values()
        if isinstance(kind, type) and dataclasses.is_dataclass(kind)
    ]
    assert len(kinds) > 10
    for kind in kinds:
        assert kind.__dataclass_params__.frozen, kind  # type: ignore[attr-defined]
        assert hasattr(kind, "__slots__"), kind
    changed = copy.copy(FILE)
    with pytest.raises(dataclasses.FrozenInstanceError):
        changed.url = "http://elsewhere"  # type: ignore[misc]


def test_chunks_are_counted_with_the_inline_ones() -> None:
    group = Group("", {}, (ARRAY, ARRAY))
    assert (len(TABLE), ARRAY.chunk_count) == (2, 3)
    assert ReferenceSet(DatasetId(MASTER, "1"), (REFERENCES,), (group,), {}).chunk_count == 6


def test_a_report_passes_only_when_something_was_checked_and_nothing_failed() -> None:
    passed = Check("count", "tas", True, "2 of 2")
    failed = Check("values", "tas", False, "differs at 0")
    reports = [Report("x", "y", checks, {}, "") for checks in ((), (passed,), (passed, failed))]
    assert [report.passed for report in reports] == [False, True, False]
    assert reports[2].failures == (failed,)
