"""Decide on the state of a published dataset from the evidence. No input or output.

The evidence, from the cheapest to the most expensive, and what it shows:

size
    Another size is another file. An equal size shows nothing.
ETag, Last-Modified
    With these the server states that the file is unchanged (RFC 9110, section 8.8). A strong ETag
        is sufficient; a weak one is sufficient together with the date. A different ETag or date
        raises a suspicion and proves nothing: a copy, a touch or a new server changes them, too.
checksum
    Proves that the bytes are those of the record, or that they are not. If they are not although
        the server states that the file is unchanged, the record may be wrong: the next item
        decides.
checksums of chunks
    Deflate, bzip2 and fletcher32 check each chunk. If references to chunks that are all checked
        still read back whole, the file is the one that was proved.
sample
    The proof again: the compared values of the references equal those of the files.
"""

from __future__ import annotations

import itertools
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from ..errors import (
    Fault,
    FormatError,
    Obstacle,
    ProofError,
    SourceError,
    TransportError,
    WorkerError,
)
from ..formats import recognise
from ..link.task import Task
from ..model import AccessLink, DatasetRecord, FileRecord
from ..output import of_place
from ..transport import Head, host_of, is_url


class State(StrEnum):
    """States of a dataset, from the mildest to the most serious."""

    FINE = "fine"
    """The evidence shows that readers get what was published."""
    UNPROVEN = "unproven"
    """No error is known, and nothing shows that all is right."""
    MOVED = "moved"
    """The files are found elsewhere: the index has other URLs, or the server redirects."""
    MISRECORDED = "misrecorded"
    """The record states another checksum than the file has; everything else that can be compared
    says that the file is the one that was proved.
    """
    UNCHECKED = "unchecked"
    """A directory cannot be listed; the references below it were not checked."""
    UNREACHABLE = "unreachable"
    """A server does not answer, is busy or is broken; the state of the files is unknown."""
    MISSING = "missing"
    """The index does not show the link."""
    STALE = "stale"
    """The served reference file, or the record in the index, is not the one that was linked."""
    UNREADABLE = "unreadable"
    """The server does not give the file, but a login page, no byte ranges, or 403."""
    CHANGED = "changed"
    """A file has other bytes than when it was referenced."""
    DEAD = "dead"
    """A file no longer exists."""
    DANGLING = "dangling"
    """The reference file itself no longer exists."""


CODES = {
    State.FINE: "",
    State.UNPROVEN: "audit-unproven",
    State.MOVED: "audit-moved",
    State.MISRECORDED: "audit-misrecorded",
    State.UNCHECKED: "audit-unchecked",
    State.UNREACHABLE: "audit-unreachable",
    State.MISSING: "audit-missing",
    State.STALE: "audit-stale",
    State.UNREADABLE: "audit-unreadable",
    State.CHANGED: "audit-changed",
    State.DEAD: "audit-dead",
    State.DANGLING: "audit-dangling",
}
_ORDER = list(State)


@dataclass(frozen=True, slots=True)
class RecordedFile:
    """What was known about a file when references to it were made."""

    file: FileRecord
    etag: str | None = None
    last_modified: str | None = None
    reach: int = 0
    """The last byte of the file that is referenced; compared only if the size was not recorded."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict on one file, on the reference file, or on the index."""

    state: State
    subject: str
    """URL or path; for an index its location."""
    detail: str
    evidence: str = ""
    """The evidence of a fine state: ``etag``, ``last-modified``, ``checksum``, ``sample``."""
    unchanged_by: str = ""
    """``etag`` or ``last-modified``, if that shows that a file with another checksum than its
    record is the one that was proved; else empty.
    """


def worst(verdicts: Iterable[Verdict]) -> State:
    """Return the most serious state; fine if there are no verdicts."""
    return max((verdict.state for verdict in verdicts), key=_ORDER.index, default=State.FINE)


def stated_files(reach: Mapping[str, int]) -> list[RecordedFile]:
    """Return what references without a provenance state about their files: URL -> the last byte
    that they refer to.
    """
    return [RecordedFile(FileRecord(_name(url), url), reach=end) for url, end in reach.items()]


def recorded_files(provenance: Mapping[str, Any], subject: str) -> list[RecordedFile]:
    """Return what the provenance of references states about the files that they were made from.

    Raises:
        ProofError: the provenance cannot be read.
    """
    try:
        return [_recorded_file(facts) for facts in provenance["files"]]
    except (KeyError, TypeError) as error:
        raise ProofError(
            subject,
            f"has a provenance that cannot be read: {error!r}",
            expected="files, each with url and size",
            code="proof-not-references",
        ) from error


def _recorded_file(facts: Mapping[str, Any]) -> RecordedFile:
    url = facts["url"]
    size = facts["size"]
    if not isinstance(url, str) or type(size) is not int:
        raise TypeError(f"url {url!r}, size {size!r}")
    text = {name: value for name, value in facts.items() if isinstance(value, str)}
    file = FileRecord(_name(url), url, size, text.get("checksum"), text.get("checksum_type"))
    return RecordedFile(file, text.get("etag"), text.get("last_modified"))


def judge_file(kept: RecordedFile, found: Head | TransportError) -> Verdict:
    """Return the verdict from the head of a file. It is unproven if more evidence is needed."""
    url = kept.file.url
    if isinstance(found, TransportError):
        return judge_failure(found, url)
    if kept.file.size not in (None, found.size):
        return Verdict(
            State.CHANGED,
            url,
            f"has {found.size} bytes; it had {kept.file.size} when it was referenced",
        )
    if found.size < kept.reach:
        return Verdict(
            State.CHANGED, url, f"has {found.size} bytes; references lead to byte {kept.reach}"
        )
    try:
        recognise(found.data, url)
    except FormatError as error:
        return Verdict(State.CHANGED, url, error.found)
    judged = _judge_validators(kept, found)
    if judged.state is State.FINE and found.moved_to:
        return Verdict(
            State.MOVED, url, f"is unchanged, but redirects to {found.moved_to}", judged.evidence
        )
    return judged


def _judge_validators(kept: RecordedFile, found: Head) -> Verdict:
    url = kept.file.url
    date = _compare(kept.last_modified, found.last_modified)
    tag = _compare(_opaque(kept.etag), _opaque(found.etag))
    strong = not any((one or "").startswith("W/") for one in (kept.etag, found.etag))
    if tag is False:
        return Verdict(
            State.UNPROVEN,
            url,
            f"same size as when it was referenced, but its ETag changed from {kept.etag} to "
            f"{found.etag}",
        )
    if tag and strong:
        return Verdict(State.FINE, url, "same size and ETag as when it was referenced", "etag")
    if date is False:
        return Verdict(
            State.UNPROVEN,
            url,
            f"same size as when it was referenced, but its date changed from {kept.last_modified} "
            f"to {found.last_modified}",
        )
    if date:
        return Verdict(
            State.FINE, url, "same size and date as when it was referenced", "last-modified"
        )
    if tag:
        return Verdict(State.FINE, url, "same size and weak ETag as when it was referenced", "etag")
    known = (
        "same size as when it was referenced" if kept.file.size is not None else "is long enough"
    )
    return Verdict(State.UNPROVEN, url, f"{known}; neither ETag nor date can be compared")


def judge_record_by_chunks(verdict: Verdict, unguarded: Sequence[str]) -> Verdict:
    """Return the verdict on a file that the server states to be unchanged and whose checksum
    differs from its record, after the references read back whole.

    Args:
        verdict: the verdict of the checksum.
        unguarded: arrays whose chunks have no checksums of their own.
    """
    if unguarded:
        named = ", ".join(unguarded[:3])
        said = (
            f"{verdict.detail}; all references read back, but chunks of {named} have no checksums, "
            "so esgvzarr cannot tell whether the file or its record is wrong"
        )
        return replace(verdict, detail=said)
    found = verdict.detail.partition(", though")[0]
    return Verdict(
        State.MISRECORDED,
        verdict.subject,
        f"{found}; the record is wrong, since the file is the one that was proved: its "
        f"{verdict.unchanged_by}, the checksums of all chunks and the values in the references are "
        "unchanged. Correct the record",
        "checksum",
    )


def _compare(kept: str | None, found: str | None) -> bool | None:
    """Whether both are equal; None if one of them is not known."""
    return None if kept is None or found is None else kept == found


def _opaque(etag: str | None) -> str | None:
    return etag.removeprefix("W/") if etag else None


def judge_failure(error: TransportError | ProofError, subject: str) -> Verdict:
    """Return the verdict on a file that cannot be read."""
    obstacle = error.obstacle if isinstance(error, TransportError) else Obstacle.UNKNOWN
    if obstacle is Obstacle.GONE or isinstance(error.__cause__, FileNotFoundError):
        return Verdict(State.DEAD, subject, f"is gone: {error.found}")
    if (
        isinstance(error, TransportError)
        and error.moved_to
        and _name(error.moved_to) == _name(subject)
    ):
        return Verdict(State.MOVED, subject, error.found)
    if obstacle is Obstacle.NOT_ASKED:
        host = host_of(subject) if is_url(subject) else "HOST"
        way_out = f"--allow-host {host} allows all files of that host"
        return Verdict(State.UNPROVEN, subject, f"was not fetched: {error.found}; {way_out}")
    if obstacle in (Obstacle.REFUSED, Obstacle.ANOTHER_THING):
        return Verdict(State.UNREADABLE, subject, error.found)
    return Verdict(State.UNREACHABLE, subject, error.found)


def judge_directory(error: TransportError) -> Verdict:
    """Return the verdict on a directory that cannot be listed."""
    detail = f"{error.found}; the references below it were not checked. {error.todo}"
    return Verdict(State.UNCHECKED, error.subject, detail)


def judge_end(error: WorkerError, subject: str) -> Verdict:
    """Return the verdict if the process that read the files back was ended: if the data caused it,
    readers will fail too.
    """
    state = State.UNREADABLE if error.fault is Fault.DATA else State.UNPROVEN
    return Verdict(state, subject, f"cannot be read back: {error}", "sample")


def judge_reference(location: str, error: TransportError | ProofError) -> list[Verdict]:
    """Return the verdict on a reference file that cannot be read, or that holds no references."""
    what = "the reference file"
    if error.subject != location:  # An output may have several files.
        what = f"{error.subject}, which belongs to it,"
    if isinstance(error, ProofError) and not isinstance(error.__cause__, FileNotFoundError):
        return [Verdict(State.STALE, location, f"{what} {error.found}")]
    judged = judge_failure(error, location)
    state = State.DANGLING if judged.state is State.DEAD else judged.state
    return [Verdict(state, location, f"{what} {judged.detail}")]


def judge_hash(location: str, served: str, linked: str, who: str) -> list[Verdict]:
    """Compare the served reference file with the one that the ledger or the index names.

    Args:
        location: URL of the reference file.
        served: SHA-256 of the served file.
        linked: SHA-256 that was recorded for the link; empty if unknown.
        who: the ledger or the index, as the verdict names it.
    """
    if linked in ("", served):
        return []
    return [
        Verdict(
            State.STALE,
            location,
            f"serves another reference file than {who} says: SHA-256 {served}, not {linked}",
        )
    ]


def judge_links(task: Task, links: Sequence[AccessLink], served: str) -> list[Verdict]:
    """Return whether the index shows the link by esgvzarr.

    Args:
        task: the decision for the dataset.
        links: all links that the index shows on it.
        served: SHA-256 of the served reference file; empty if it cannot be read.
    """
    key = of_place(task.href).asset_key  # Other outputs have their own assets.
    own = [
        link for link in links if link.data_node == task.record.data_node and link.asset_key == key
    ]
    if not own:
        return [
            Verdict(State.MISSING, task.index.location, f"shows no link of {task.record.data_node}")
        ]
    others = [
        Verdict(State.STALE, task.index.location, f"shows {link.href}, not {task.href}")
        for link in own
        if link.href != task.href
    ]
    hashes = [
        judge_hash(task.href, served, link.sha256, "the index")
        for link in own
        if link.href == task.href and served
    ]
    return [*others, *itertools.chain.from_iterable(hashes)]


def judge_record(
    task: Task, record: DatasetRecord | SourceError, kept: Sequence[RecordedFile]
) -> list[Verdict]:
    """Return whether the index describes the files that references were made of."""
    where = task.index.location
    if isinstance(record, SourceError):
        return [Verdict(State.STALE, where, error_text(record))]
    if record.data_node != task.record.data_node or not kept:
        return []  # The item may be that of another data node, whose URLs differ.
    known = {one.file.url: one.file for one in kept}
    told = {file.url: file for file in record.files}
    left_out = {file.url for file in task.record.files} - known.keys()
    moved = known.keys() ^ (told.keys() - left_out)
    if moved:
        return [
            Verdict(
                State.MOVED,
                where,
                f"has other files than the references: {', '.join(sorted(moved)[:3])}",
            )
        ]
    return [
        Verdict(
            State.STALE,
            where,
            f"states another size or checksum of {url} than the references were made from",
        )
        for url, file in known.items()
        if not _agree(file, told[url])
    ]


def _agree(a: FileRecord, b: FileRecord) -> bool:
    sums = (
        a.checksum
        and b.checksum
        and (a.checksum_type or "").upper() == (b.checksum_type or "").upper()
    )
    return (a.size in (None, b.size) or b.size is None) and (
        not sums or str(a.checksum).lower() == str(b.checksum).lower()
    )


def error_text(error: SourceError) -> str:
    """Return what is wrong, without the advice."""
    return error.found + (f" (expected {error.expected})" if error.expected else "")


def _name(url: str) -> str:
    return posixpath.basename(urlsplit(url).path)
