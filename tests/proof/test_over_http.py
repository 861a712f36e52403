"""The proof over HTTP: few rounds, no byte twice, one state of each file throughout.

A data node that is at fault is said to be.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from esgvzarr import DatasetId, DatasetRecord, FileRecord, Transport
from esgvzarr.errors import Fault as WhoseFault
from esgvzarr.errors import TransportError
from esgvzarr.formats import Fetched
from esgvzarr.generate import make_references
from esgvzarr.model import Report
from esgvzarr.output import Artefact, named
from esgvzarr.output.kerchunk import encode
from esgvzarr.proof import verify
from esgvzarr.testing import DATASET_ID, Fault, Latency, Reset, ThreddsServer, write_monthly
from esgvzarr.testing.faults import (
    Answer,
    Deflated,
    ForAgent,
    ReplacedAfter,
    Trickle,
    Unavailable,
    Zeros,
)
from esgvzarr.testing.loopback import Asked, Response
from esgvzarr.transport import COALESCE_GAP

MOST_ROUNDS = 12
GRID = {"grid": (80, 96), "chunks": (1, 80, 96)}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ThreddsServer]:
    with ThreddsServer(tmp_path) as running:
        yield running


def records_of(paths: Sequence[Path], server: ThreddsServer) -> tuple[FileRecord, ...]:
    return tuple(
        FileRecord(path.name, server.url_of(path), size=path.stat().st_size) for path in paths
    )


def scanned(
    files: Sequence[FileRecord], transport: Transport
) -> tuple[Artefact, dict[str, Fetched]]:
    fetched: dict[str, Fetched] = {}
    record = DatasetRecord(DatasetId.parse(DATASET_ID), "", tuple(files))
    document = encode(make_references(record, transport, keep=fetched))
    return named("json").parse(document, "test", transport), fetched


def proved(files: Sequence[FileRecord], transport: Transport, **options: bool) -> Report:
    artefact, fetched = scanned(files, transport)
    return verify(artefact, files, transport, location="test", scanned=fetched, **options)


def asked_twice(server: ThreddsServer) -> int:
    """Bytes of all files that were asked for more than once."""
    ranges = defaultdict(list)
    for request in server.requests:
        found = re.match(r"bytes=(\d+)-(\d+)", request.range or "")
        assert found is not None
        ranges[request.path].append((int(found[1]), int(found[2]) + 1))
    again = 0
    for own in ranges.values():
        end = 0
        for start, stop in sorted(own):
            again += max(min(end, stop) - start, 0)
            end = max(end, stop)
    return again


@pytest.mark.parametrize("form", ["NETCDF4", "NETCDF3_CLASSIC"])
def test_rounds_do_not_grow_with_the_number_of_files(
    form: str, tmp_path: Path, server: ThreddsServer
) -> None:
    """Of a scan and its proof. No byte is asked for twice, but for those looked at again."""
    rounds = []
    layout = GRID if form == "NETCDF4" else {"grid": (100, 120)}
    for count in (2, 6):
        paths = write_monthly(tmp_path / str(count), lengths=(45,) * count, format=form, **layout)
        files = records_of(paths, server)
        server.clear()
        with Transport(allowed_hosts=[server.host]) as transport:
            artefact, fetched = scanned(files, transport)
            of_scan = transport.rounds
            report = verify(artefact, files, transport, location="test", scanned=fetched)
            rounds.append((of_scan, transport.rounds - of_scan))
        assert report.passed, report.failures[:3]
        looks = [request for request in server.requests if "esgvzarr" not in agent_of(request)]
        assert len(looks) == count
        between = COALESCE_GAP * count  # known bytes between two ranges that are fetched as one
        assert asked_twice(server) <= sum(request.sent for request in looks) + between
        assert sum(request.sent for request in server.requests) < sum(
            path.stat().st_size for path in paths
        )
    assert rounds[0] == rounds[1]
    assert sum(rounds[0]) <= MOST_ROUNDS


def agent_of(request: object) -> str:
    return str(request.headers.get("User-Agent", ""))  # type: ignore[attr-defined]


def test_a_document_of_others_is_proved_in_few_rounds(
    tmp_path: Path, server: ThreddsServer
) -> None:
    """``esgvzarr verify`` knows nothing of a scan: it reads the indexes of all files in step."""
    paths = write_monthly(tmp_path, lengths=(150,) * 3, grid=(4, 6), chunks=(1, 4, 6))
    files = records_of(paths, server)
    with Transport(allowed_hosts=[server.host]) as transport:
        artefact, _ = scanned(files, transport)
    server.clear()
    with Transport(allowed_hosts=[server.host]) as transport:
        report = verify(artefact, files, transport, location="test")
        assert transport.rounds <= MOST_ROUNDS
    assert report.passed, report.failures[:3]
    assert asked_twice(server) <= 4 * 2**16


def test_interleaved_records_are_fetched_together(tmp_path: Path, server: ThreddsServer) -> None:
    """As netCDF-3 has them: many variables, and a piece of each in each record."""
    paths = write_monthly(tmp_path, lengths=(24,) * 3, format="NETCDF3_CLASSIC")
    files = records_of(paths, server)
    with Transport(allowed_hosts=[server.host]) as transport:
        assert proved(files, transport).passed
    assert len(server.requests) <= 4 * len(files)


def test_a_file_replaced_at_any_moment_is_noticed(tmp_path: Path, server: ThreddsServer) -> None:
    """Whichever answer is the first to be of another file, up to the last look."""
    paths = write_monthly(tmp_path, lengths=(45,), **GRID)
    files = records_of(paths, server)
    with Transport(allowed_hosts=[server.host]) as transport:
        proved(files, transport)
    answers = len(server.requests)
    assert answers > 3
    for first in range(1, answers):
        server.fault(ReplacedAfter(first))
        with (
            Transport(allowed_hosts=[server.host]) as transport,
            pytest.raises(TransportError) as caught,
        ):
            proved(files, transport)
        assert caught.value.code == "transport-changed"
        assert caught.value.fault is WhoseFault.DATA_NODE


def test_servers_that_do_not_agree_under_one_name_are_noticed(
    tmp_path: Path, server: ThreddsServer
) -> None:
    """Every other answer has another ETag. Trying again would find the first one."""
    server.fault(Alternates())
    files = records_of(write_monthly(tmp_path, lengths=(12,)), server)
    with (
        Transport(allowed_hosts=[server.host]) as transport,
        pytest.raises(TransportError) as caught,
    ):
        proved(files, transport)
    assert caught.value.code == "transport-changed"


class Alternates:
    """One of two servers answers, in turn."""

    def __init__(self) -> None:
        self._count = 0

    def apply(self, asked: Asked, answer: Answer) -> Response:
        self._count += 1
        response = answer(asked)
        return replace(response, headers={**response.headers, "ETag": f'"{self._count % 2}"'})


def test_a_path_replaced_during_the_proof_is_noticed(tmp_path: Path) -> None:
    (path,) = write_monthly(tmp_path, lengths=(30,), **GRID)
    files = [FileRecord(path.name, str(path))]
    with Transport() as transport:
        artefact, _ = scanned(files, transport)
        data = path.read_bytes()
        path.unlink()
        path.write_bytes(data)
        with pytest.raises(TransportError) as caught:
            verify(artefact, files, transport, location="test")
    assert caught.value.code == "transport-changed"


TO_STOCK_READERS = {
    "trickles": (Trickle(), "transport-slow"),
    "is silent": (Latency(5), "transport-slow"),
    "resets": (Reset(times=99), "transport-unreachable"),
    "is busy": (Unavailable(times=99), "transport-http-503"),
    "compresses ranges": (Deflated(), "transport-encoded"),
    "sends zeros": (Zeros(), "transport-bytes-differ"),
}


@pytest.mark.parametrize("does", TO_STOCK_READERS)
def test_what_a_data_node_does_to_stock_readers_alone_is_its_fault(
    does: str, tmp_path: Path, server: ThreddsServer
) -> None:
    """Within the transport's bounds, and never called a bug."""
    fault, code = TO_STOCK_READERS[does]
    files = records_of(write_monthly(tmp_path, lengths=(30,), **GRID), server)
    server.fault(ForAgent(fault))
    timeout_s = 0.5 if code == "transport-slow" else 20
    with (
        Transport(allowed_hosts=[server.host], timeout_s=timeout_s, retries=1) as transport,
        pytest.raises(TransportError) as caught,
    ):
        proved(files, transport)
    assert caught.value.code == code
    assert caught.value.fault is WhoseFault.DATA_NODE
    assert "report" not in str(caught.value)


@pytest.mark.parametrize("fault", [Reset(times=1), Unavailable(times=1)], ids=["reset", "busy"])
def test_stock_readers_are_tried_again(fault: Fault, tmp_path: Path, server: ThreddsServer) -> None:
    files = records_of(write_monthly(tmp_path, lengths=(30,), **GRID), server)
    server.fault(ForAgent(fault))
    with Transport(allowed_hosts=[server.host], timeout_s=5, retries=2) as transport:
        assert proved(files, transport).passed


def test_stock_readers_ask_for_what_was_not_fetched(tmp_path: Path, server: ThreddsServer) -> None:
    """If the judge reads the files here, and their size is unknown, they fetch what they want."""
    (path,) = write_monthly(tmp_path, lengths=(30,), **GRID)
    url = server.url_of(path)
    with Transport(allowed_hosts=[server.host]) as transport:
        artefact, _ = scanned([FileRecord(path.name, url)], transport)
    server.clear()
    with Transport(allowed_hosts=[server.host]) as transport:
        report = verify(
            artefact, [FileRecord(path.name, url, path=str(path))], transport, location="test"
        )
    assert report.passed, report.failures[:3]
    agents = {agent_of(request) for request in server.requests}
    assert any("aiohttp" in agent for agent in agents)


def test_every_third_request_is_reset_and_the_proof_goes_on(
    tmp_path: Path, server: ThreddsServer
) -> None:
    server.fault(EveryThird())
    files = records_of(write_monthly(tmp_path, lengths=(30, 30), **GRID), server)
    with Transport(allowed_hosts=[server.host], timeout_s=5, retries=3) as transport:
        assert proved(files, transport).passed


class EveryThird:
    """Resets each third request, whatever it asks for."""

    def __init__(self) -> None:
        self._count = 0

    def apply(self, asked: Asked, answer: Answer) -> Response:
        self._count += 1
        return Reset(times=99).apply(asked, answer) if self._count % 3 == 0 else answer(asked)


@pytest.mark.parametrize("here", [True, False], ids=["on disk", "over HTTP"])
def test_a_small_dataset_takes_three_requests_a_file(
    here: bool, tmp_path: Path, server: ThreddsServer
) -> None:
    """Most of a back catalogue is small. Its head, its data, and the last look."""
    paths = write_monthly(tmp_path, lengths=(120,) * 4)
    files = tuple(
        FileRecord(path.name, server.url_of(path), path=str(path) if here else None)
        for path in paths
    )
    with Transport(allowed_hosts=[server.host]) as transport:
        assert proved(files, transport).passed
    assert len(server.requests) <= 3 * len(files)
    assert "aiohttp" in agent_of(server.requests[-1]).lower()
