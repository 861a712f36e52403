"""The ledger's queries, and the types of their rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ..model import Check, DatasetId, DatasetRecord, FileRecord, Report
from . import schema
from .states import MAKING, State, Step, Verb
from .task import AuditEntry, Entry, IndexAddress, LiveLink, Task

STEPS = """
SELECT dataset.name AS dataset_id, verb, state, code, detail, href, created, step, retryable,
    unsure, path, sha256, fingerprint, step.number AS number, proof IS NOT NULL AS proved
FROM step JOIN dataset ON dataset.number = step.dataset
    JOIN decision ON decision.number = step.decision
"""
LIVE = """
SELECT dataset.name AS dataset_id, output, path, href, sha256, since, task
FROM live JOIN dataset ON dataset.number = live.dataset
    JOIN decision ON decision.number = live.decision
"""
MADE = ", ".join(f"'{verb}'" for verb in sorted(MAKING))
LAST = f"COALESCE(MAX(CASE WHEN verb NOT IN ({MADE}) THEN number END), MAX(number))"
"""The last step of a dataset; a step that only wrote references counts if there is no other."""
_ENTRY_FIELDS = tuple(field.name for field in fields(Entry))


def entry_of(row: Mapping[str, Any]) -> Entry:
    """Parse a row of `STEPS`.

    Raises:
        TypeError: a value that must be text is not.
    """
    values = {name: row[name] for name in _ENTRY_FIELDS}
    values["verb"] = Verb(row["verb"])
    values["state"] = State(row["state"])
    values["step"] = Step(row["step"])
    for name in ("retryable", "unsure", "proved"):
        values[name] = bool(row[name])
    for name in ("detail", "href", "created"):
        if not isinstance(values[name], str):
            raise TypeError(f"{name} is {values[name]!r}")
    return Entry(**values)


def proof_of(row: Mapping[str, Any]) -> tuple[str, Report]:
    """Return the SHA-256 of a reference file, and its proof."""
    said = json.loads(schema.unpack(row["report"]))
    checks = tuple(Check(**check) for check in said["checks"])
    return row["sha256"], Report(**{**said, "checks": checks})


def audit_of(row: Mapping[str, Any]) -> AuditEntry:
    """Parse a row of the table of audits."""
    return AuditEntry(
        row["dataset_id"],
        row["state"],
        row["code"],
        row["detail"],
        row["href"],
        row["path"],
        row["sha256"],
        schema.unpack(row["proofs"]),
        row["created"],
        retryable=bool(row["retryable"]),
    )


def live_of(row: Mapping[str, Any]) -> LiveLink:
    """Parse a row of `LIVE`."""
    return LiveLink(
        row["dataset_id"],
        row["output"],
        row["path"],
        row["href"],
        row["sha256"],
        row["since"],
        read_task(row["task"]) if row["task"] is not None else None,
    )


def read_task(packed: bytes) -> Task:
    """Return a task from its compressed form in the ledger."""
    values = json.loads(schema.unpack(packed))
    record = values["record"]
    index = IndexAddress(**values["index"])
    files = tuple(FileRecord(**file) for file in record["files"])
    dataset = DatasetRecord(**{**record, "id": DatasetId(**record["id"]), "files": files})
    return Task(**{**values, "verb": Verb(values["verb"]), "record": dataset, "index": index})
