"""What each piece of evidence says of a file. No file, no server: evidence in, verdict out."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from esgvzarr.audit.findings import AuditResult
from esgvzarr.audit.guarded import unguarded
from esgvzarr.audit.judgement import (
    CODES,
    RecordedFile,
    State,
    Verdict,
    judge_failure,
    judge_file,
    judge_links,
    judge_record,
    judge_reference,
    worst,
)
from esgvzarr.audit.targets import Target
from esgvzarr.errors import SourceError, TransportError
from esgvzarr.link.states import Verb
from esgvzarr.link.task import IndexAddress, Task
from esgvzarr.model import AccessLink, DatasetId, DatasetRecord, FileRecord
from esgvzarr.output import Contents
from esgvzarr.output.contents import ContentsBuilder
from esgvzarr.transport import Head, Transport

URL = "https://node/a.nc"
MAGIC = b"\x89HDF\r\n\x1a\n"
THEN = "Mon, 01 Jan 2024 00:00:00 GMT"
LATER = "Tue, 02 Jan 2024 00:00:00 GMT"
KEPT = RecordedFile(FileRecord("a.nc", URL, 100, "ab" * 32, "SHA256"), '"1"', THEN)
SAME = Head(MAGIC, 100, '"1"', THEN)

FILES = {
    "as it was": (KEPT, SAME, State.FINE, "etag"),
    "a strong ETag is believed before the date": (
        KEPT,
        replace(SAME, last_modified=LATER),
        State.FINE,
        "etag",
    ),
    "a date alone, as TDS gives": (
        replace(KEPT, etag=None),
        replace(SAME, etag=None),
        State.FINE,
        "last-modified",
    ),
    "an ETag that was not kept": (replace(KEPT, etag=None), SAME, State.FINE, "last-modified"),
    "an ETag alone": (replace(KEPT, last_modified=None), SAME, State.FINE, "etag"),
    "a weak ETag with the date": (KEPT, replace(SAME, etag='W/"1"'), State.FINE, "last-modified"),
    "a weak ETag, and another date": (
        KEPT,
        replace(SAME, etag='W/"1"', last_modified=LATER),
        State.UNPROVEN,
        "",
    ),
    "a weak ETag alone": (
        replace(KEPT, last_modified=None),
        replace(SAME, etag='W/"1"'),
        State.FINE,
        "etag",
    ),
    "touched": (replace(KEPT, etag=None), replace(SAME, last_modified=LATER), State.UNPROVEN, ""),
    "another ETag": (KEPT, replace(SAME, etag='"2"'), State.UNPROVEN, ""),
    "nothing to compare": (KEPT, Head(MAGIC, 100), State.UNPROVEN, ""),
    "nothing was kept": (
        RecordedFile(FileRecord("a.nc", URL), reach=100),
        SAME,
        State.UNPROVEN,
        "",
    ),
    "shorter than the references reach": (
        RecordedFile(FileRecord("a.nc", URL), reach=101),
        SAME,
        State.CHANGED,
        "",
    ),
    "another size, whatever the server says else": (
        KEPT,
        replace(SAME, size=99),
        State.CHANGED,
        "",
    ),
    "empty": (KEPT, Head(b"", 0), State.CHANGED, ""),
    "a page of the same size": (KEPT, replace(SAME, data=b"<html><b"), State.CHANGED, ""),
    "the same at another place": (
        KEPT,
        replace(SAME, moved_to="https://node/b/a.nc"),
        State.MOVED,
        "etag",
    ),
    "changed at another place": (
        KEPT,
        replace(SAME, size=1, moved_to="https://node/b/a.nc"),
        State.CHANGED,
        "",
    ),
}


@pytest.mark.parametrize(("kept", "found", "state", "evidence"), FILES.values(), ids=FILES.keys())
def test_a_file(kept: RecordedFile, found: Head, state: State, evidence: str) -> None:
    verdict = judge_file(kept, found)
    assert (verdict.state, verdict.evidence) == (state, evidence), verdict


def redirected(target: str) -> TransportError:
    error = TransportError(URL, "redirects", code="transport-redirected")
    error.moved_to = target
    return error


FAILURES = {
    **{f"transport-http-{status}": State.DEAD for status in (404, 410)},
    **{f"transport-http-{status}": State.UNREADABLE for status in (400, 401, 403, 405)},
    **{f"transport-http-{status}": State.UNREACHABLE for status in (408, 429, 500, 502, 503, 504)},
    **{
        f"transport-{name}": State.UNREADABLE
        for name in ("html", "no-range", "range-wrong", "redirected", "encoded")
    },
    **{
        f"transport-{name}": State.UNREACHABLE
        for name in ("unreachable", "tls", "truncated", "slow")
    },
    "transport-host-refused": State.UNPROVEN,
    "transport-address-private": State.UNPROVEN,
}


@pytest.mark.parametrize(("code", "state"), FAILURES.items())
def test_a_file_that_cannot_be_had(code: str, state: State) -> None:
    """A server that is down says nothing of its files; one that says they are gone does."""
    assert judge_failure(TransportError(URL, "is", code=code), URL).state is state


def test_a_redirect_to_a_file_of_the_same_name_is_a_move_and_any_other_a_login() -> None:
    assert judge_failure(redirected("https://other/b/a.nc"), URL).state is State.MOVED
    assert (
        judge_failure(redirected("https://other/login?next=/a.nc"), URL).state is State.UNREADABLE
    )


def test_a_path_is_dead_only_if_nothing_is_there() -> None:
    gone, denied = (
        TransportError("/a.nc", "cannot be read", code="transport-path") for _ in range(2)
    )
    gone.__cause__ = FileNotFoundError()
    denied.__cause__ = PermissionError()
    assert [judge_failure(error, "/a.nc").state for error in (gone, denied)] == [
        State.DEAD,
        State.UNREACHABLE,
    ]


ID = DatasetId.parse("CMIP6.CMIP.A.B.historical.r1i1p1f1.Amon.tas.gn.v20200101")
RECORD = DatasetRecord(ID, "node", (KEPT.file, FileRecord("empty.nc", "https://node/empty.nc", 50)))
TASK = Task(
    Verb.LINK,
    RECORD,
    f"/data/{ID}.json",
    f"https://node/{ID}.json",
    IndexAddress("stac", "https://stac"),
)
LINK = AccessLink(TASK.href, "node", "application/vnd.zarr+kerchunk", (), 1, "ab" * 32, {})
OTHERS = replace(LINK, href="https://other/x.json", data_node="other")

LINKS = {
    "ours": ([OTHERS, LINK], []),
    "without a checksum, as legacy indexes have it": ([replace(LINK, sha256="")], []),
    "of others only": ([OTHERS], [State.MISSING]),
    "none": ([], [State.MISSING]),
    "elsewhere": ([replace(LINK, href="https://node/y.json")], [State.STALE]),
    "of other bytes": ([replace(LINK, sha256="cd" * 32)], [State.STALE]),
}


@pytest.mark.parametrize(("links", "states"), LINKS.values(), ids=LINKS.keys())
def test_the_links_of_an_index(links: list[AccessLink], states: list[State]) -> None:
    assert [verdict.state for verdict in judge_links(TASK, links, "ab" * 32)] == states


def test_what_is_said_of_a_document_and_of_what_belongs_to_it_names_each() -> None:
    document = "/data/a.zarr3.json"
    for subject, said in (
        (document, "the reference file"),
        ("/data/a.ends", "/data/a.ends, which"),
    ):
        gone = TransportError(subject, "cannot be read", code="transport-path")
        gone.__cause__ = FileNotFoundError()
        (verdict,) = judge_reference(document, gone)
        assert (verdict.state, verdict.subject) == (State.DANGLING, document)
        assert verdict.detail.startswith(said)


def stated(*codecs: dict[str, Any] | None, held: bool = False) -> Contents:
    """What an output says of an array of one chunk, in a file or in the output itself."""
    builder = ContentsBuilder()
    array = {"filters": list(codecs[1:]), "compressor": codecs[0]}
    chunk = "base64:AAAA" if held else [URL, 0, 8]
    builder.add({"tas/.zarray": json.dumps(array), "tas/0.0.0": chunk})
    return builder.finish({})


ZLIB = {"id": "zlib", "level": 4}
SHUFFLE = {"id": "shuffle", "elementsize": 4}


@pytest.mark.parametrize(
    ("contents", "names"),
    [
        (stated(ZLIB), []),
        (stated(None, {"id": "fletcher32"}, SHUFFLE), []),
        (stated(None), ["tas"]),
        (stated(None, SHUFFLE), ["tas"]),
        (stated({"id": "blosc"}), ["tas"]),
        (stated(None, held=True), []),
    ],
)
def test_chunks_with_checksums_of_their_own(contents: Contents, names: list[str]) -> None:
    assert unguarded(contents) == names


RECORDS = {
    "as it was": (RECORD, []),
    "less what references left out": (replace(RECORD, files=RECORD.files[:1]), []),
    "of another data node": (replace(RECORD, data_node="other", files=()), []),
    "of other URLs": (
        replace(RECORD, files=(replace(KEPT.file, url="https://node/b/a.nc"),)),
        [State.MOVED],
    ),
    "of one file more": (
        replace(RECORD, files=(*RECORD.files, FileRecord("b.nc", "https://node/b.nc"))),
        [State.MOVED],
    ),
    "of another size": (replace(RECORD, files=(replace(KEPT.file, size=99),)), [State.STALE]),
    "of another checksum": (
        replace(RECORD, files=(replace(KEPT.file, checksum="cd" * 32),)),
        [State.STALE],
    ),
    "of a checksum of another kind": (
        replace(RECORD, files=(replace(KEPT.file, checksum="cd", checksum_type="MD5"),)),
        [],
    ),
    "that is retracted": (
        SourceError(str(ID), "is retracted", code="source-retracted"),
        [State.STALE],
    ),
}


@pytest.mark.parametrize(("record", "states"), RECORDS.values(), ids=RECORDS.keys())
def test_the_record_of_an_index(record: DatasetRecord | SourceError, states: list[State]) -> None:
    assert [verdict.state for verdict in judge_record(TASK, record, [KEPT])] == states


def test_the_gravest_counts() -> None:
    """And every state but fine has a code of its own."""
    assert worst([]) is State.FINE
    assert (
        worst(Verdict(state, "", "") for state in (State.DEAD, State.FINE, State.UNREACHABLE))
        is State.DEAD
    )
    assert [state for state in State if not CODES[state]] == [State.FINE]
    assert len(set(CODES.values())) == len(State)


def test_files_of_a_host_that_is_not_allowed_name_the_option_that_allows_them_all() -> None:
    urls = [f"http://node:8080/{name}.nc" for name in "abc"]
    verdicts = []
    with Transport() as transport:
        for url in urls:
            with pytest.raises(TransportError) as refused:
                transport.check_allowed(url)
            verdicts.append(judge_failure(refused.value, url))
    assert AuditResult(Target("here.json"), tuple(verdicts)).detail == (
        "http://node:8080/a.nc: was not fetched: host node:8080 is not allowed; "
        "--allow-host node:8080 allows all files of that host; and 2 more of the same kind"
    )
