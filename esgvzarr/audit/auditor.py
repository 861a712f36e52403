"""Gather the evidence of an audit: the served files, the servers' statements about them, and the
records of the index.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from ..errors import (
    FormatError,
    Obstacle,
    ProofError,
    TransportError,
    WorkerError,
)
from ..generate import limits_of, storage_options
from ..link.states import Verb
from ..model import FileRecord
from ..output import Artefact, of_place
from ..proof import LARGEST, read_artefact, verify
from ..settings import Settings
from ..sources import local_path
from ..transport import Head, Transport, host_of, is_url
from ..transport.checksums import can_be_checked, check_checksum, is_well_formed
from ..workers import in_a_worker
from .findings import AuditResult, Proofs, proofs_before
from .guarded import unguarded
from .index_evidence import IndexEvidence
from .judgement import (
    RecordedFile,
    State,
    Verdict,
    judge_directory,
    judge_end,
    judge_failure,
    judge_file,
    judge_hash,
    judge_record_by_chunks,
    judge_reference,
    worst,
)
from .served import ServedReferences, is_asked, read_served, recorded_files_of
from .targets import Target

_MAGIC = 8
"""Length of the first bytes that identify a file's format."""


_SAID_BEFORE = {
    State.CHANGED: "had other bytes than its record says, and has not changed since",
    State.MISRECORDED: "had another checksum than its record, which was wrong, and has not changed "
    "since. Correct the record",
}
"""State of a file after its checksum was compared -> the finding while the file is unchanged."""
_WHOLE = (State.FINE, State.UNPROVEN, State.MOVED)
"""States in which files can be read."""


@dataclass(frozen=True, slots=True)
class Thoroughness:
    """How much an audit reads."""

    checksums: bool = False
    """Whether every file is read whole, from the local disk if its path is known."""
    samples: bool = False
    """Whether a sample is read through each reference file, as in `verify`."""
    decide: bool = False
    """Whether files whose state is otherwise undecided are read whole, over HTTP too."""


class Auditor:
    """Gathers evidence."""

    def __init__(
        self, transport: Transport, settings: Settings, thoroughness: Thoroughness
    ) -> None:
        self._transport = transport
        self._settings = settings
        self._checksums = thoroughness.checksums
        self._samples = thoroughness.samples
        self._fetch_whole = thoroughness.checksums or thoroughness.decide
        self._indexes = IndexEvidence(transport, settings)

    def look_at(self, targets: Sequence[Target]) -> list[AuditResult]:
        """Return the findings of each target, in their order."""
        checked = iter(self._check([target for target in targets if target.unlisted is None]))
        found = []
        for target in targets:
            if target.unlisted is None:
                found.append(next(checked))
            else:
                found.append(AuditResult(target, (judge_directory(target.unlisted),)))
        return found

    def _check(self, targets: Sequence[Target]) -> list[AuditResult]:
        """Return the findings of reference files, in their order."""
        for target in targets:
            if is_url(target.location):
                # Without a step of the ledger, the operator named the location.
                self._transport.allow(host_of(target.location), named=not target.step)
            if target.task:
                self._transport.allow(
                    target.task.record.data_node, named=target.task.verb is Verb.PUBLISH
                )
        served = self._fetch([target.location for target in targets])
        kept = [recorded_files_of(target, one) for target, one in zip(targets, served, strict=True)]
        heads = self._heads(targets, kept)
        shown = self._indexes.ask(targets, [one.sha256 for one in served], kept)
        return [
            self._judge(target, one, files, heads, said)
            for target, one, files, said in zip(targets, served, kept, shown, strict=True)
        ]

    def _fetch(self, locations: Sequence[str]) -> list[ServedReferences]:
        """Fetch the reference files, all at once; and directories, one after the other, as their
        own readers do.
        """
        for location in locations:
            of_place(location).check_installed()
        files = [location for location in locations if not of_place(location).directory]
        bodies = self._transport.try_each(
            files, lambda at: self._transport.read_document(at, limit=LARGEST)
        )
        served = [
            read_served(location, body, self._transport)
            for location, body in zip(files, bodies, strict=True)
        ]
        found = dict(zip(files, served, strict=True))
        return [
            found[location] if location in found else self._fetch_directory(location)
            for location in locations
        ]

    def _fetch_directory(self, location: str) -> ServedReferences:
        try:
            return ServedReferences(read_artefact(location, self._transport))
        except (TransportError, ProofError) as error:
            return ServedReferences(error)

    def _heads(
        self, targets: Sequence[Target], kept: Sequence[list[RecordedFile] | ProofError]
    ) -> dict[str, Head | TransportError]:
        files = []
        for target, found in zip(targets, kept, strict=True):
            if isinstance(found, list):
                files += [(target, one) for one in found]
        urls = list(dict.fromkeys(one.file.url for target, one in files if is_asked(target, one)))
        return dict(
            zip(
                urls,
                self._transport.try_each(urls, lambda url: self._transport.read_head(url, _MAGIC)),
                strict=True,
            )
        )

    def _judge(
        self,
        target: Target,
        served: ServedReferences,
        kept: list[RecordedFile] | ProofError,
        heads: Mapping[str, Head | TransportError],
        shown: list[Verdict],
    ) -> AuditResult:
        artefact = served.artefact
        sha256 = served.sha256
        verdicts = [*shown, *_judge_served(target, served)]
        if isinstance(kept, ProofError):
            if kept is not artefact:
                verdicts += judge_reference(target.location, kept)
            return AuditResult(target, tuple(verdicts), sha256)
        proofs = proofs_before(target, sha256)
        judged = self._judge_files(kept, heads, target, proofs)
        if isinstance(artefact, TransportError | ProofError):
            return AuditResult(target, (*verdicts, *judged), sha256, proofs)
        doubted = any(verdict.unchanged_by for verdict in judged)
        if doubted and all(isinstance(heads.get(one.file.url), Head) for one in kept):
            judged = self._tell_record_from_bytes(target, artefact, kept, judged)
            _remember(judged, heads, proofs)
        elif self._is_to_be_read_back(kept, judged, heads):
            judged = self._read_back(target, artefact, kept, judged)
        return AuditResult(target, (*verdicts, *judged), sha256, proofs)

    def _judge_files(
        self,
        kept: Sequence[RecordedFile],
        heads: Mapping[str, Head | TransportError],
        target: Target,
        proofs: Proofs,
    ) -> list[Verdict]:
        judged = []
        for one in kept:
            url = one.file.url
            if is_asked(target, one):
                judged.append(self._judge_file(one, heads[url], target, proofs))
            else:
                found = "is not a URL of HTTP, and was not compared"
                judged.append(Verdict(State.UNPROVEN, url, found))
        return judged

    def _judge_file(
        self, kept: RecordedFile, head: Head | TransportError, target: Target, proofs: Proofs
    ) -> Verdict:
        url = kept.file.url
        etag, date, state = proofs.get(url, (kept.etag, kept.last_modified, State.FINE))
        verdict = judge_file(replace(kept, etag=etag, last_modified=date), head)
        if isinstance(head, TransportError) or verdict.state not in _WHOLE:
            return verdict
        if state is not State.FINE and verdict.state is not State.UNPROVEN:
            verdict = Verdict(state, url, _SAID_BEFORE[state], "checksum")
        if verdict.state in (State.UNPROVEN, State.CHANGED) or self._checksums:
            verdict = self._check_bytes(kept.file, head, verdict, target)
        if verdict.evidence == "checksum":
            proofs[url] = (head.etag, head.last_modified, _bytes_of(verdict))
        return verdict

    def _check_bytes(
        self, file: FileRecord, head: Head, verdict: Verdict, target: Target
    ) -> Verdict:
        """Compare checksums of files on disk, or, if requested, of all served files."""
        if not can_be_checked(file):
            return verdict
        if not is_well_formed(file):
            said = f"{file.checksum!r} of its record is no {file.checksum_type}: correct the record"
            return replace(verdict, detail=f"{verdict.detail}; {said}")
        here = self._path_of(file, head, target)
        if here is None and not self._fetch_whole:
            return replace(
                verdict, detail=f"{verdict.detail}; run with --checksums to read it whole"
            )
        try:
            check_checksum(file, here or file.url, self._transport)
        except TransportError as error:
            if error.obstacle is Obstacle.OTHER_BYTES:
                return Verdict(
                    State.CHANGED,
                    file.url,
                    f"{error.found}; its record says {file.checksum}{_hint(verdict)}",
                    "checksum",
                    verdict.evidence if verdict.state is State.FINE else "",
                )
            return judge_failure(error, file.url)
        state = State.MOVED if verdict.state is State.MOVED else State.FINE
        return Verdict(state, file.url, "has the bytes of its record", "checksum")

    def _path_of(self, file: FileRecord, head: Head, target: Target) -> str | None:
        """Return the local path of the file, if a file of its size exists there."""
        if self._settings.read == "http":
            return None
        recorded = {one.url: one.path for one in target.task.record.files} if target.task else {}
        places = (
            recorded.get(file.url),
            local_path(file.url, self._settings.data_paths),
            None if is_url(file.url) else file.url,
        )
        return next(
            (at for at in places if at and os.path.isfile(at) and os.path.getsize(at) == head.size),
            None,
        )

    def _is_to_be_read_back(
        self,
        kept: Sequence[RecordedFile],
        judged: Sequence[Verdict],
        heads: Mapping[str, Head | TransportError],
    ) -> bool:
        """Whether to read the references back: if this was requested, or nothing else decides; and
        only if all files can be read.
        """
        undecided = (
            one.file
            for one, verdict in zip(kept, judged, strict=True)
            if verdict.state is State.UNPROVEN
        )
        wanted = self._samples or not all(map(can_be_checked, undecided))
        return (
            wanted
            and worst(judged) in _WHOLE
            and all(isinstance(heads.get(one.file.url), Head) for one in kept)
        )

    def _tell_record_from_bytes(
        self,
        target: Target,
        artefact: Artefact,
        kept: Sequence[RecordedFile],
        judged: list[Verdict],
    ) -> list[Verdict]:
        """Read all values back if a checksum differs from the record although the server states
        that the file is unchanged.
        """
        read_back = self._read_back(target, artefact, kept, judged, full=True)
        if len(read_back) > len(judged):  # The references do not read back.
            return read_back
        bare = unguarded(artefact.contents)
        return [judge_record_by_chunks(one, bare) if one.unchanged_by else one for one in read_back]

    def _read_back(
        self,
        target: Target,
        artefact: Artefact,
        kept: Sequence[RecordedFile],
        judged: list[Verdict],
        *,
        full: bool = False,
    ) -> list[Verdict]:
        """Prove the references again, with the served files."""
        files = [one.file for one in kept]
        compare = partial(
            verify,
            location=target.location,
            dataset_id=target.dataset_id,
            samples=self._settings.proof_samples,
            full=full,
            storage_options=storage_options(files, self._settings),
        )
        limits = limits_of(self._settings)
        try:
            report = in_a_worker(compare, artefact, files, self._transport, limits=limits)
        except TransportError as error:
            return [*judged, judge_failure(error, error.subject)]
        except WorkerError as error:
            return [*judged, judge_end(error, target.location)]
        except (ProofError, FormatError) as error:
            return [*judged, Verdict(State.CHANGED, error.subject, error.found, "sample")]
        if not report.passed:
            wrong = report.failures[0]
            said = (
                f"does not read back as its files: {wrong.name} of {wrong.subject}: {wrong.detail}"
            )
            return [*judged, Verdict(State.CHANGED, target.location, said, "sample")]
        checkable = {
            file.url for file in files if can_be_checked(file)
        }  # A file with a checksum is not accepted on weaker evidence.
        return [
            Verdict(State.FINE, one.subject, "reads back as the references say", "sample")
            if one.state is State.UNPROVEN and one.subject not in checkable
            else one
            for one in judged
        ]


def _judge_served(target: Target, served: ServedReferences) -> list[Verdict]:
    """Return the verdict on the reference file itself: it has other bytes than in the ledger, or
    holds no references.
    """
    verdicts: list[Verdict] = []
    if target.step and served.sha256:
        verdicts += judge_hash(target.location, served.sha256, target.sha256, "the ledger")
    if isinstance(served.artefact, TransportError | ProofError):
        verdicts += judge_reference(target.location, served.artefact)
    return verdicts


def _bytes_of(verdict: Verdict) -> State:
    """Return the verdict of a checksum, also if the server redirects."""
    return verdict.state if verdict.state in _SAID_BEFORE else State.FINE


def _remember(
    judged: Sequence[Verdict], heads: Mapping[str, Head | TransportError], proofs: Proofs
) -> None:
    """Keep the verdicts on files whose checksum differs from their record."""
    for verdict in judged:
        head = heads.get(verdict.subject)
        if verdict.evidence == "checksum" and isinstance(head, Head):
            proofs[verdict.subject] = (head.etag, head.last_modified, _bytes_of(verdict))


def _hint(before: Verdict) -> str:
    """Describe what other bytes than the record's may mean, if nothing else has changed."""
    if before.state is not State.FINE:
        return ""
    return (
        f", although its {before.evidence} is that of the file that was proved: the "
        "record's checksum is wrong, or the bytes changed without notice"
    )
