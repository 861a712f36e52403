"""Files on a data node: what is legal ends in references that the proof confirms, or in a refusal
before it. A failed proof is left for what is not foreseen.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator

import pytest

from esgvzarr import DatasetId, DatasetRecord, EsgvzarrError, FileRecord, RefusedError, Transport
from esgvzarr.formats import Fetched
from esgvzarr.generate import make_references
from esgvzarr.model import Report
from esgvzarr.output import named
from esgvzarr.output.kerchunk import encode
from esgvzarr.proof import verify
from esgvzarr.testing import DATASET_ID, DEFECTS, ThreddsServer
from esgvzarr.testing.defects import EQUAL

SHARE = 1 if os.environ.get("HYPOTHESIS_PROFILE") == "nightly" else 20
"""One in so many defects is tried; nightly all."""
CHOSEN = [name for name in DEFECTS if zlib.crc32(name.encode()) % SHARE == 0]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ThreddsServer]:
    with ThreddsServer(tmp_path_factory.mktemp("served")) as running:
        yield running


def outcome_of(record: DatasetRecord, transport: Transport) -> tuple[set[str], Report | None]:
    """The codes of the refusal, or the report of the proof."""
    fetched: dict[str, Fetched] = {}
    try:
        references = make_references(record, transport, keep=fetched)
    except RefusedError as error:
        return {finding.code for finding in error.findings}, None
    except EsgvzarrError as error:
        return {error.code}, None
    artefact = named("json").parse(encode(references), "references", transport)
    place = {"location": "references", "dataset_id": str(record.id)}
    return set(), verify(artefact, record.files, transport, scanned=fetched, **place)


@pytest.mark.parametrize("name", CHOSEN)
def test_a_served_defect_is_proved_or_refused_before_the_proof(
    name: str, server: ThreddsServer
) -> None:
    paths = DEFECTS[name].make(server.root / name)
    files = tuple(
        FileRecord(path.name, server.url_of(path), size=path.stat().st_size) for path in paths
    )
    record = DatasetRecord(DatasetId.parse(DATASET_ID), "", files)
    with Transport(allowed_hosts=[server.host]) as transport:
        codes, report = outcome_of(record, transport)
    if report is None:
        assert DEFECTS[name].outcome in codes
        return
    assert report.failures == ()
    assert DEFECTS[name].outcome == EQUAL
