"""A proof that several processes share says what one process would say."""

from __future__ import annotations

import json
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trust import oracle

from esgvzarr import FileRecord, Transport
from esgvzarr.model import Check, Report
from esgvzarr.proof import fetch_beside_data, verify
from esgvzarr.proof.share import WHOLE, Share, united
from esgvzarr.testing import DEFECTS, ThreddsServer, write_monthly
from proof.test_over_http import agent_of, asked_twice, records_of, scanned


@given(count=st.integers(0, 9), of=st.integers(1, 5))
def test_each_file_is_in_exactly_one_share(count: int, of: int) -> None:
    files = [FileRecord(f"{number}.nc", f"/{number}.nc") for number in range(count)]
    shares = [Share(number, of).urls(files) for number in range(of)]
    assert sum(len(share) for share in shares) == count
    assert frozenset().union(*shares) == WHOLE.urls(files)


@pytest.mark.parametrize("spoilt", [None, 0, 1, 2])
def test_shares_find_together_what_one_process_finds(spoilt: int | None, tmp_path: Path) -> None:
    """A wrong chunk is found by the shares of all files that have its steps."""
    paths = DEFECTS["overlap_of_three"].make(tmp_path)
    _, document = oracle.make(paths)
    if spoilt is not None:
        document = with_wrong_chunk(document, paths[spoilt].name)
    whole = oracle.proof(document, paths)
    parts = [oracle.proof(document, paths, share=Share(number, 2)) for number in range(2)]
    shared = united(parts)
    assert whole.passed == (spoilt is None)
    assert sorted(map(repr, shared.checks)) == sorted(map(repr, whole.checks))
    assert all(part.passed for part in parts) == whole.passed


def test_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    paths = DEFECTS["same_basename"].make(tmp_path)
    _, document = oracle.make(paths)
    whole = oracle.proof(document, paths)
    assert len(set(whole.checks)) == len(whole.checks)
    shared = united([oracle.proof(document, paths, share=Share(number, 2)) for number in range(2)])
    assert shared.checks == whole.checks


def with_wrong_chunk(document: bytes, file: str) -> bytes:
    """References in which the first chunk of a file leads to the place of the second."""
    whole = json.loads(document)
    refs = whole["refs"]
    keys = [key for key in sorted(refs) if key.startswith("tas/") and file in str(refs[key])]
    refs[keys[0]] = refs[keys[1]]
    return orjson.dumps(whole)


def test_a_difference_that_one_process_alone_finds_stays() -> None:
    right = Check("time", "/", passed=True, detail="24 of 24 steps")
    wrong = Check("time", "/", passed=False, detail="23 of 24 steps")
    first = Report("id", "x.json", (right,), {}, "2026-01-01")
    second = Report("id", "x.json", (right, wrong), {}, "2026-01-01")
    assert united([first, first]).checks == (right,)
    assert united([first, second]).failures == (wrong,)
    assert united([second, first]).failures == (wrong,)


def test_shares_ask_for_no_byte_twice(tmp_path: Path) -> None:
    """What each of them reads of every file is fetched once, before."""
    layout = {"grid": (80, 96), "chunks": (1, 80, 96)}
    paths = write_monthly(tmp_path, lengths=(45,) * 4, **layout)
    with ThreddsServer(tmp_path) as server, Transport(allowed_hosts=[server.host]) as transport:
        files = records_of(paths, server)
        artefact, fetched = scanned(files, transport)
        fetch_beside_data(fetched, transport)
        for number in range(2):
            share = Share(number, 2)
            report = verify(
                artefact, files, transport, location="test", scanned=fetched, share=share
            )
            assert report.passed, report.failures[:3]
        looks = [request for request in server.requests if "esgvzarr" not in agent_of(request)]
        assert len(looks) == len(paths)
        assert asked_twice(server) <= sum(request.sent for request in looks) + 2**16 * len(paths)
