"""What was decided for a dataset, and what is kept of the steps that follow."""

from __future__ import annotations

from dataclasses import dataclass

from ..indexes import IndexAddress as IndexAddress
from ..model import DatasetRecord
from ..outcome import State, Verb
from .states import Step


@dataclass(frozen=True, slots=True)
class Task:
    """What was decided for one dataset: enough to finish it without esgpublish."""

    verb: Verb
    record: DatasetRecord
    path: str
    """Of the reference file, on this machine."""
    href: str
    index: IndexAddress
    force: bool = False
    """Other bytes under the same name may be replaced."""
    delete: bool = False
    """``unpublish`` deletes the reference file, and keeps no copy."""
    before: str = ""
    """SHA-256 of what lay at ``path`` before anything was written; empty if nothing did."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """What the last audit found of one dataset."""

    dataset_id: str
    state: str
    """As `esgvzarr.audit.judgement.State` has it."""
    code: str
    """Stable error code; empty if all is well."""
    detail: str
    href: str
    path: str
    sha256: str
    """Of the reference file as it was served."""
    proofs: str
    """JSON: what the audit has read whole, and need not read again."""
    created: str
    """UTC, ISO 8601."""
    retryable: bool
    """Whether auditing again later can help."""


@dataclass(frozen=True, slots=True)
class Live:
    """A link that an index was seen to show, and has not been seen without since."""

    dataset_id: str
    output: str
    path: str
    """Of the reference file, on this machine."""
    href: str
    sha256: str
    """Of the reference file as it was linked."""
    since: str
    """UTC, ISO 8601."""
    task: Task | None
    """With index, data node and record; None where an earlier version did not keep it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What the ledger keeps of one step over one dataset."""

    dataset_id: str
    verb: Verb
    state: State
    """``open``: more is to come. Else what became of it."""
    code: str
    """Stable error code; empty on success."""
    detail: str
    href: str
    created: str
    """UTC, ISO 8601."""
    step: Step
    retryable: bool = False
    """Whether trying again later can help."""
    unsure: bool = False
    """Whether the index may have made, or may still make, a change that it did not confirm."""
    path: str = ""
    """Of the reference file."""
    sha256: str = ""
    """Of the reference file, if it was written."""
    fingerprint: str = ""
    """Of the inputs: URLs, sizes and checksums of the dataset's files."""
    number: int = 0
    """Counts all steps of the ledger; 0 for one that is not kept yet."""
    proved: bool = False
    """Whether a proof is kept with it."""
