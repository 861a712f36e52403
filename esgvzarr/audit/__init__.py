"""Look again at what was published: are the references still those of the files that are served,
and does the link lead there?

For each dataset the reference file is fetched as readers fetch it, and the first bytes of each of
its files; what the server says of a file is held against what it said when references were made.
Only what that does not decide is read.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from ..errors import (
    EsgvzarrError,
    LinkError,
    Obstacle,
    ProofError,
    SourceError,
    StoreError,
    TransportError,
    WorkerError,
)
from ..generate import limits_of, make_transport, storage_options
from ..indexes import Index
from ..indexes.item_references import references_at
from ..link.address import open_index
from ..link.ledger import Ledger
from ..link.states import MAKING, Verb
from ..link.states import State as LinkState
from ..link.task import AuditEntry, Entry, IndexAddress, Live, Task
from ..model import DatasetId, FileRecord, Report
from ..output import Artefact, of_place, suffixes
from ..proof import LARGEST, read_artefact, stated, verify
from ..settings import Settings
from ..sources import from_index, local_path, named_by_version
from ..transport import Head, Transport, host_of, is_url
from ..transport.checksums import can_be_checked, check_checksum
from ..workers import in_a_worker
from .judgement import (
    CODES,
    Kept,
    State,
    Verdict,
    judge_end,
    judge_failure,
    judge_file,
    judge_hash,
    judge_links,
    judge_record,
    judge_reference,
    kept_files,
    stated_files,
    worst,
)

_log = logging.getLogger(__name__)
_BATCH = 64
"""Datasets whose files are asked for together."""
_MAGIC = 8
"""Bytes by which a file's format is known."""
_INDEX_REQUESTS = 8
"""In flight to an index."""


Proofs = dict[str, tuple[str | None, str | None, bool]]
"""URL -> ETag and date under which the checksum of a file was looked at, and whether it was that of
the record. It need not be looked at again while the server says the same.
"""


@dataclass(frozen=True, slots=True)
class Target:
    """What is to be looked at."""

    location: str
    """URL of the reference file, or its path where none is served."""
    dataset_id: str = ""
    """Empty for references that the ledger does not know."""
    path: str = ""
    """Of the reference file on this machine, by the ledger."""
    sha256: str = ""
    """Of the reference file as it was linked or written, by the ledger."""
    step: int = 0
    """The last step of the dataset in the ledger; 0 for references that it does not know."""
    task: Task | None = None
    """How it was linked, by the ledger; None where it is in no index."""
    earlier: AuditEntry | None = None
    """What the last audit found, if nothing was done since."""


@dataclass(frozen=True, slots=True)
class Audited:
    """What was found of one dataset."""

    target: Target
    verdicts: tuple[Verdict, ...]
    sha256: str = ""
    """Of the reference file as it is served."""
    proofs: Proofs | None = None

    @property
    def name(self) -> str:
        """The dataset, or, where it is not known, its reference file."""
        return self.target.dataset_id or self.target.location

    @property
    def state(self) -> State:
        """The gravest of what was found."""
        return worst(self.verdicts)

    @property
    def code(self) -> str:
        """Stable code; empty if all is fine."""
        return CODES[self.state]

    @property
    def problems(self) -> tuple[Verdict, ...]:
        """What is not fine, the gravest first."""
        found = [verdict for verdict in self.verdicts if verdict.state is not State.FINE]
        return tuple(sorted(found, key=lambda verdict: -list(State).index(verdict.state)))

    @property
    def detail(self) -> str:
        """The gravest problem, and how many more there are."""
        if not self.problems:
            return f"{len(self.verdicts)} checks"
        first, *others = self.problems
        return f"{first.subject}: {first.detail}" + (f"; and {len(others)} more" if others else "")


def find_targets(named: Sequence[str], settings: Settings) -> list[Target]:
    """What the operator means.

    Args:
        named: dataset ids that the ledger knows, URLs and paths of reference files, directories of
            such; if empty, all that was ever linked and not unpublished, whatever was tried since,
            and all that was only written.
        settings: with the ledger.

    Raises:
        SourceError: the ledger does not know a dataset, or that it was linked or written; or a
            directory has no reference files.
    """
    ledger = Ledger(settings.ledger)
    places = [name for name in named if is_url(name) or os.path.exists(name)]
    targets: list[Target] = []
    for place in places:
        targets += _targets_at(place, settings)
    ids = [str(DatasetId.parse(name)) for name in named if name not in places]
    if ids or not named:
        known = _known_targets(ledger)
        for name in ids:
            if name not in known:
                raise SourceError(
                    name,
                    f"is not linked or written, by the ledger {ledger.path}",
                    expected="a dataset published from here",
                    todo="Give the URL of its reference file; esgvzarr status says how it stands.",
                    code="source-not-in-ledger",
                )
        for name in ids or known:
            targets += known[name]
    return targets


def _targets_at(place: str, settings: Settings) -> list[Target]:
    if is_url(place) or not os.path.isdir(place):
        with make_transport(settings) as transport:
            if is_url(place):
                transport.allow(host_of(place), named=True)
            return [Target(shown) for shown in references_at(place, transport)]
    if of_place(place).directory:
        return [Target(place)]
    found = []
    for path in Path(place).rglob("[!.]*"):
        is_inside_one = any(of_place(part).directory for part in path.parts[:-1])
        if path.name.endswith(tuple(suffixes())) and not is_inside_one:
            found.append(path)
    if not found:
        expected = ", ".join(f"*{suffix}" for suffix in suffixes())
        raise SourceError(
            place, "has no reference files in it", expected=expected, code="source-none"
        )
    return [Target(str(path)) for path in sorted(found)]


def _known_targets(ledger: Ledger) -> dict[str, list[Target]]:
    """Dataset -> each of its links that is live; or its references, if they were only written."""
    latest = {last.dataset_id: last for last in ledger.latest()}
    earlier = ledger.audits()
    known: dict[str, list[Target]] = {}
    for live in ledger.live():
        name = live.dataset_id
        target = _target_of_link(live, latest[name], earlier.get(name))
        known.setdefault(name, []).append(target)
    for name, last in latest.items():
        only_written = last.verb in MAKING and last.state in (LinkState.LINKED, LinkState.WRITTEN)
        if only_written and name not in known:
            location = last.href or last.path
            known[name] = [
                Target(
                    location,
                    name,
                    last.path,
                    last.sha256,
                    last.number,
                    earlier=earlier.get(name),
                )
            ]
    return dict(sorted(known.items()))


def _target_of_link(live: Live, last: Entry, earlier: AuditEntry | None) -> Target:
    return Target(
        live.href or live.path,
        live.dataset_id,
        live.path,
        live.sha256,
        last.number,
        live.task,
        earlier,
    )


def audit(
    targets: Sequence[Target],
    settings: Settings,
    *,
    checksums: bool = False,
    samples: bool = False,
    decide: bool = False,
    keep: bool = True,
) -> Iterator[Audited]:
    """Look at each target.

    Args:
        targets: of `find_targets`.
        settings: how to fetch, the ledger, `data_paths`.
        checksums: read every file whole, from disk where it is there, and compare it with the
            checksum of its record.
        samples: read back a sample through each reference file, as `verify` does.
        decide: read those files whole that nothing else decides, over HTTP too.
        keep: what is found of datasets that the ledger knows is kept there.

    Yields:
        What was found of each, in their order.
    """
    with make_transport(settings) as transport:
        auditor = _Auditor(transport, settings, checksums=checksums, samples=samples, decide=decide)
        for start in range(0, len(targets), _BATCH):
            found = auditor.look_at(targets[start : start + _BATCH])
            if keep:
                _keep(found, settings)
            yield from found


class _Auditor:
    """Gathers evidence."""

    def __init__(
        self,
        transport: Transport,
        settings: Settings,
        *,
        checksums: bool,
        samples: bool,
        decide: bool,
    ) -> None:
        self._transport = transport
        self._settings = settings
        self._checksums = checksums
        self._samples = samples
        self._fetch_whole = checksums or decide
        self._indexes: dict[IndexAddress, Index | LinkError] = {}

    def look_at(self, targets: Sequence[Target]) -> list[Audited]:
        for target in targets:
            if is_url(target.location):
                self._transport.allow(
                    host_of(target.location), named=not target.step
                )  # by the operator
            if target.task:
                self._transport.allow(
                    target.task.record.data_node, named=target.task.verb is Verb.PUBLISH
                )
        served = self._fetch([target.location for target in targets])
        kept = [_kept_of(target, one) for target, one in zip(targets, served, strict=True)]
        heads = self._heads(targets, kept)
        shown = self._ask_indexes(targets, served, kept)
        return [
            self._judge(target, one, files, heads, said)
            for target, one, files, said in zip(targets, served, kept, shown, strict=True)
        ]

    def _fetch(self, locations: Sequence[str]) -> list[_Served]:
        """The reference files, all at once; directories, which their own readers fetch, one after
        the other.
        """
        for location in locations:
            of_place(location).check_installed()
        files = [location for location in locations if not of_place(location).directory]
        bodies = self._transport.try_each(
            files, lambda at: self._transport.read_document(at, limit=LARGEST)
        )
        found = {
            location: _served(location, body) for location, body in zip(files, bodies, strict=True)
        }
        return [
            found[location] if location in found else self._fetch_directory(location)
            for location in locations
        ]

    def _fetch_directory(self, location: str) -> _Served:
        try:
            return _Served(read_artefact(location, self._transport))
        except (TransportError, ProofError) as error:
            return _Served(error)

    def _heads(
        self, targets: Sequence[Target], kept: Sequence[list[Kept] | ProofError]
    ) -> dict[str, Head | TransportError]:
        files = []
        for target, found in zip(targets, kept, strict=True):
            if isinstance(found, list):
                files += [(target, one) for one in found]
        urls = list(dict.fromkeys(one.file.url for target, one in files if _is_asked(target, one)))
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
        served: _Served,
        kept: list[Kept] | ProofError,
        heads: Mapping[str, Head | TransportError],
        shown: list[Verdict],
    ) -> Audited:
        verdicts = list(shown)
        artefact = served.artefact
        sha256 = served.sha256
        if target.step and sha256:
            verdicts += judge_hash(target.location, sha256, target.sha256, "the ledger")
        if isinstance(artefact, TransportError | ProofError):
            verdicts += judge_reference(target.location, artefact)
        if isinstance(kept, ProofError):
            return Audited(
                target,
                (
                    *verdicts,
                    *(judge_reference(target.location, kept) if kept is not artefact else ()),
                ),
                sha256,
            )
        proofs = _proofs_before(target, sha256)
        judged = []
        for one in kept:
            if not _is_asked(target, one):
                judged.append(
                    Verdict(State.UNPROVEN, one.file.url, "is no URL that is asked for here")
                )
                continue
            judged.append(self._judge_file(one, heads[one.file.url], target, proofs))
        if isinstance(artefact, TransportError | ProofError):
            return Audited(target, (*verdicts, *judged), sha256, proofs)
        if self._is_to_be_read_back(kept, judged, heads):
            judged = self._read_back(target, artefact, kept, judged)
        return Audited(target, (*verdicts, *judged), sha256, proofs)

    def _judge_file(
        self, kept: Kept, head: Head | TransportError, target: Target, proofs: Proofs
    ) -> Verdict:
        url = kept.file.url
        etag, date, right = proofs.get(url, (kept.etag, kept.last_modified, True))
        verdict = judge_file(replace(kept, etag=etag, last_modified=date), head)
        if isinstance(head, TransportError) or verdict.state not in _WHOLE:
            return verdict
        if not right and verdict.state is not State.UNPROVEN:
            verdict = Verdict(
                State.CHANGED,
                url,
                "had other bytes than its record says, and was not touched since",
                "checksum",
            )
        if verdict.state in (State.UNPROVEN, State.CHANGED) or self._checksums:
            verdict = self._check_bytes(kept.file, head, verdict, target)
        if verdict.evidence == "checksum":
            proofs[url] = (head.etag, head.last_modified, verdict.state is not State.CHANGED)
        return verdict

    def _check_bytes(
        self, file: FileRecord, head: Head, verdict: Verdict, target: Target
    ) -> Verdict:
        """By the checksum: of the file on disk, or, if that was asked for, of all that is
        served.
        """
        if not can_be_checked(file):
            return verdict
        here = self._path_of(file, head, target)
        if here is None and not self._fetch_whole:
            return replace(verdict, detail=f"{verdict.detail}; --checksums reads it whole")
        try:
            check_checksum(file, here or file.url, self._transport)
        except TransportError as error:
            if error.obstacle is Obstacle.OTHER_BYTES:
                return Verdict(
                    State.CHANGED,
                    file.url,
                    f"{error.found}; its record says {file.checksum}",
                    "checksum",
                )
            return judge_failure(error, file.url)
        state = State.MOVED if verdict.state is State.MOVED else State.FINE
        return Verdict(state, file.url, "has the bytes of its record", "checksum")

    def _path_of(self, file: FileRecord, head: Head, target: Target) -> str | None:
        """Where the file is on this machine, if one of its size is."""
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
        kept: Sequence[Kept],
        judged: Sequence[Verdict],
        heads: Mapping[str, Head | TransportError],
    ) -> bool:
        """If it was asked for, or nothing else is to decide by; and only where all files can be
        had.
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

    def _read_back(
        self, target: Target, artefact: Artefact, kept: Sequence[Kept], judged: list[Verdict]
    ) -> list[Verdict]:
        """The proof again, through what is served."""
        files = [one.file for one in kept]
        try:
            report = in_a_worker(
                _compare,
                target,
                artefact,
                files,
                self._transport,
                self._settings,
                limits=limits_of(self._settings),
            )
        except TransportError as error:
            return [*judged, judge_failure(error, error.subject)]
        except WorkerError as error:
            return [*judged, judge_end(error, target.location)]
        except ProofError as error:
            return [*judged, Verdict(State.CHANGED, target.location, error.found, "sample")]
        if not report.passed:
            wrong = report.failures[0]
            said = (
                f"does not read back as its files: {wrong.name} of {wrong.subject}: {wrong.detail}"
            )
            return [*judged, Verdict(State.CHANGED, target.location, said, "sample")]
        checkable = {
            file.url for file in files if can_be_checked(file)
        }  # what has a checksum is not let off for less
        return [
            Verdict(State.FINE, one.subject, "reads back as the references say", "sample")
            if one.state is State.UNPROVEN and one.subject not in checkable
            else one
            for one in judged
        ]

    def _ask_indexes(
        self,
        targets: Sequence[Target],
        served: Sequence[_Served],
        kept: Sequence[list[Kept] | ProofError],
    ) -> list[list[Verdict]]:
        with ThreadPoolExecutor(_INDEX_REQUESTS, thread_name_prefix="esgvzarr-audit") as threads:
            for address in {
                target.task.index for target in targets if target.task
            } - self._indexes.keys():
                self._indexes[address] = self._open(address)
            return list(threads.map(self._ask_index, targets, [one.sha256 for one in served], kept))

    def _open(self, address: IndexAddress) -> Index | LinkError:
        try:
            return open_index(address, self._transport, self._settings)
        except EsgvzarrError as error:
            return LinkError(address.location, error.found, code="index-unreachable")

    def _ask_index(
        self, target: Target, sha256: str, kept: list[Kept] | ProofError
    ) -> list[Verdict]:
        task = target.task
        if task is None:
            return []
        index = self._indexes[task.index]
        where = task.index.location
        if isinstance(index, LinkError):
            return [Verdict(State.UNREACHABLE, where, index.found)]
        try:
            verdicts = judge_links(task, index.links(task.record.id), sha256)
            documents = index.documents(task.record.id, task.record.data_node)
        except LinkError as error:
            if error.retryable:
                self._indexes[task.index] = error  # the others need not wait for it
            return [Verdict(State.UNREACHABLE, where, error.found)]
        if not documents:
            return [Verdict(State.MISSING, where, "does not show the dataset")]
        try:
            record = named_by_version(from_index(documents, task.record.id))
        except SourceError as error:
            return [*verdicts, *judge_record(task, error, [])]
        return [
            *verdicts,
            *judge_record(task, record, [] if isinstance(kept, ProofError) else kept),
        ]


_WHOLE = (State.FINE, State.UNPROVEN, State.MOVED)
"""States in which there is something to read."""


def _compare(
    target: Target,
    artefact: Artefact,
    files: Sequence[FileRecord],
    transport: Transport,
    settings: Settings,
) -> Report:
    """The proof of what is served, in a process of its own."""
    return verify(
        artefact,
        files,
        transport,
        location=target.location,
        dataset_id=target.dataset_id,
        samples=settings.proof_samples,
        storage_options=storage_options(files, settings),
    )


@dataclass(frozen=True, slots=True)
class _Served:
    """A reference file as readers have it."""

    artefact: Artefact | TransportError | ProofError
    """What is there, or why it cannot be read."""
    sha256: str = ""
    """Of the bytes that are served; empty where it cannot be had, and of a directory, which is many
    files.
    """


def _served(location: str, body: bytes | TransportError) -> _Served:
    if isinstance(body, TransportError):
        return _Served(body)
    sha256 = hashlib.sha256(body).hexdigest()
    try:
        return _Served(of_place(location).parse(body, location), sha256)
    except ProofError as error:
        return _Served(error, sha256)


def _kept_of(target: Target, served: _Served) -> list[Kept] | ProofError:
    artefact = served.artefact
    if isinstance(artefact, ProofError):
        return artefact
    if isinstance(artefact, TransportError):
        return []  # nobody can be led to the files
    contents = artefact.contents
    try:
        if "files" in contents.provenance:
            return kept_files(contents.provenance, target.location)
        return stated_files(stated(contents).reach)
    except ProofError as error:
        return error


def _is_asked(target: Target, kept: Kept) -> bool:
    """Whether a file is looked at: by URL; by path only where the reference file, too, lies on this
    machine.
    """
    return is_url(kept.file.url) or ("://" not in kept.file.url and not is_url(target.location))


def _proofs_before(target: Target, sha256: str) -> Proofs:
    """Those of the last audit, if the reference file is still the same."""
    if target.earlier is None or target.earlier.sha256 != sha256 or not target.earlier.proofs:
        return {}
    return {
        url: (etag, date, right)
        for url, (etag, date, right) in json.loads(target.earlier.proofs).items()
    }


def _keep(found: Sequence[Audited], settings: Settings) -> None:
    """Keep what was found in the ledger. A ledger that cannot be written is not an error here."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    entries = [_entry(one, now) for one in found if one.target.step]
    if not entries:
        return
    try:
        Ledger(settings.ledger).add_audits(entries)
    except StoreError as error:
        _log.warning("%s", error)


def _entry(found: Audited, now: str) -> AuditEntry:
    target = found.target
    return AuditEntry(
        target.dataset_id,
        str(found.state),
        found.code,
        found.detail,
        target.location,
        target.path,
        found.sha256,
        json.dumps(found.proofs or {}),
        now,
        retryable=found.state is State.UNREACHABLE,
    )
