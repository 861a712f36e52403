"""The decision for a dataset, and the steps that the ledger stores."""

from __future__ import annotations

from dataclasses import dataclass

from ..indexes import IndexAddress as IndexAddress
from ..model import DatasetRecord
from ..outcome import State, Verb
from .states import Step


@dataclass(frozen=True, slots=True)
class Task:
    """The decision for one dataset, with everything that is needed to finish its work without
    esgpublish.
    """

    verb: Verb
    record: DatasetRecord
    path: str
    """Local path of the reference file."""
    href: str
    index: IndexAddress
    force: bool = False
    """Whether other bytes under the same name may be replaced."""
    delete: bool = False
    """Whether ``unpublish`` deletes the reference file and keeps no copy."""
    before: str = ""
    """SHA-256 of the file at ``path`` before anything was written; empty if there was none."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """The findings of the last audit about one dataset."""

    dataset_id: str
    state: str
    """Value of `esgvzarr.audit.judgement.State`."""
    code: str
    """Stable error code; empty if all is well."""
    detail: str
    href: str
    path: str
    sha256: str
    """SHA-256 of the served reference file."""
    proofs: str
    """JSON: the files that the audit has read whole, and need not read again."""
    created: str
    """Time of the audit: UTC, ISO 8601."""
    retryable: bool
    """Whether a later audit may have another result."""


@dataclass(frozen=True, slots=True)
class LiveLink:
    """A link that an index was seen to show, and that was not seen to be removed since."""

    dataset_id: str
    output: str
    path: str
    """Local path of the reference file."""
    href: str
    sha256: str
    """SHA-256 of the reference file as it was linked."""
    since: str
    """Time since when: UTC, ISO 8601."""
    task: Task | None
    """The decision with index, data node and record; None if an earlier version did not
    store it.
    """


@dataclass(frozen=True, slots=True)
class Entry:
    """One step of one dataset in the ledger."""

    dataset_id: str
    verb: Verb
    state: State
    """``open`` if more steps follow, else the outcome."""
    code: str
    """Stable error code; empty on success."""
    detail: str
    href: str
    created: str
    """Time of the step: UTC, ISO 8601."""
    step: Step
    retryable: bool = False
    """Whether a later attempt may succeed without any change."""
    unsure: bool = False
    """Whether the index may have made, or may still make, a change that it did not confirm."""
    path: str = ""
    """Local path of the reference file."""
    sha256: str = ""
    """SHA-256 of the reference file, if it was written."""
    fingerprint: str = ""
    """Fingerprint of the inputs: URLs, sizes and checksums of the dataset's files, and the state of
    those that lie here.
    """
    number: int = 0
    """Number of the step in the ledger; 0 if it is not stored yet."""
    proved: bool = False
    """Whether the ledger has a proof of the step."""
