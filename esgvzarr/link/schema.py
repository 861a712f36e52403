"""The tables of the ledger, and the conversion of ledgers of earlier versions."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from ..errors import traits_of
from ..outcome import DONE, State, Verb
from ..output import known_outputs, of_place
from .states import Effect, Step

SCHEMA_VERSION = 3
"""The version in the file, as SQLite's ``user_version``.

0: a table ``run`` of outcomes. 2: a table ``step`` that repeats decisions and proofs in each step.
3: the tables below.
"""
TABLES = """\
CREATE TABLE dataset (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);
CREATE TABLE decision (
    number INTEGER PRIMARY KEY,
    dataset INTEGER NOT NULL REFERENCES dataset,
    fingerprint TEXT NOT NULL,
    path TEXT NOT NULL,
    href TEXT NOT NULL,
    task BLOB
);
CREATE INDEX decision_by_dataset ON decision (dataset);
CREATE TABLE proof (
    number INTEGER PRIMARY KEY,
    report BLOB NOT NULL
);
CREATE TABLE step (
    number INTEGER PRIMARY KEY,
    dataset INTEGER NOT NULL REFERENCES dataset,
    verb TEXT NOT NULL,
    step TEXT NOT NULL,
    state TEXT NOT NULL,
    code TEXT NOT NULL,
    detail TEXT NOT NULL,
    created TEXT NOT NULL,
    retryable INTEGER NOT NULL,
    unsure INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    decision INTEGER NOT NULL REFERENCES decision,
    proof INTEGER REFERENCES proof
);
CREATE INDEX step_by_dataset ON step (dataset);
CREATE TABLE live (
    dataset INTEGER NOT NULL REFERENCES dataset,
    output TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    since TEXT NOT NULL,
    decision INTEGER NOT NULL REFERENCES decision,
    PRIMARY KEY (dataset, output)
) WITHOUT ROWID;
CREATE TABLE audit (
    dataset INTEGER PRIMARY KEY REFERENCES dataset,
    step INTEGER NOT NULL,
    state TEXT NOT NULL,
    code TEXT NOT NULL,
    detail TEXT NOT NULL,
    href TEXT NOT NULL,
    path TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    proofs BLOB NOT NULL,
    created TEXT NOT NULL,
    retryable INTEGER NOT NULL
);
"""
"""The tables. docs/internals/ledger.md describes each column."""


def text_of(value: Any) -> str:
    """Return a task or a proof as JSON, as the ledger keeps it."""
    return json.dumps(value, default=_members_of, sort_keys=True)


def _members_of(value: Any) -> dict[str, Any]:
    """Return the members of a dataclass. ``dataclasses.asdict`` copies all values too, which takes
    longer than writing them.

    Raises:
        TypeError: it is something else that JSON has no form for.
    """
    return {field.name: getattr(value, field.name) for field in fields(value)}


def pack(text: str) -> bytes:
    """Compress a document for a BLOB column."""
    return zlib.compress(text.encode(), 9)


def unpack(data: bytes) -> str:
    """Read a BLOB column.

    Raises:
        zlib.error, UnicodeDecodeError, TypeError: it holds something else.
    """
    return zlib.decompress(data).decode()


def write_tables(connection: sqlite3.Connection, version: int) -> None:
    """Make the tables, and fill them from those of an earlier version. The caller has begun a
    transaction.
    """
    old = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if version == 2:
        connection.execute("ALTER TABLE step RENAME TO old_step")
        connection.execute("DROP INDEX IF EXISTS step_by_dataset")
    for statement in TABLES.split(";\n"):
        if statement.strip():
            connection.execute(statement)
    if version == 2:
        for row in _rows_of_version_2(connection):
            _copy(connection, row)
        connection.execute("DROP TABLE old_step")
    elif "run" in old:
        for row in _rows_of_version_0(connection):
            _copy(connection, row)
        connection.execute("DROP TABLE run")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _rows_of_version_2(connection: sqlite3.Connection) -> Iterator[dict[str, Any]]:
    cursor = connection.execute("SELECT * FROM old_step ORDER BY number")
    names = [column[0] for column in cursor.description]
    for row in cursor:
        yield dict(zip(names, row, strict=True))


def _rows_of_version_0(connection: sqlite3.Connection) -> Iterator[dict[str, Any]]:
    cursor = connection.execute("SELECT * FROM run ORDER BY number")
    names = [column[0] for column in cursor.description]
    for row in cursor:
        values = dict(zip(names, row, strict=True))
        retryable = values["outcome"] == State.PENDING
        yield {
            **values,
            "step": Step.DONE,
            "retryable": retryable,
            "path": "",
            "sha256": "",
            "fingerprint": "",
            "task": None,
        }


def _copy(connection: sqlite3.Connection, row: dict[str, Any]) -> None:
    """Copy one step of an earlier version into the new tables."""
    dataset = number_of(connection, row["dataset_id"])
    if row["verb"] == Verb.AUDIT:
        return  # The next audit finds it again.
    task = row["task"]
    place = (row["fingerprint"], row["path"], row["href"])
    decision = _decision_of(connection, dataset, place, task)
    proof = keep_proof(connection, row["report"])
    connection.execute(
        "INSERT INTO step (dataset, verb, step, state, code, detail, created, retryable, unsure, "
        "sha256, decision, proof) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            dataset,
            row["verb"],
            row["step"],
            row["outcome"],
            row["code"],
            row["detail"],
            row["created"],
            int(row["retryable"]),
            int(traits_of(row["code"]).may_be_applied),
            row["sha256"],
            decision,
            proof,
        ),
    )
    confirmed = ConfirmedLink(dataset, decision, row["sha256"], row["created"])
    apply_effect(connection, _effect_of(row), confirmed)


def _effect_of(row: dict[str, Any]) -> Effect:
    if row["verb"] in (Verb.GENERATE, Verb.COMBINE):
        return Effect.KEEP
    if row["outcome"] == State.LINKED:
        return Effect.SET
    gone = row["outcome"] in (State.WITHDRAWN, State.DELETED, State.QUEUED)
    return Effect.CLEAR if gone or row["step"] == Step.UNLINKED else Effect.KEEP


def _decision_of(
    connection: sqlite3.Connection, dataset: int, place: tuple[str, str, str], task: str | None
) -> int:
    if task is not None:
        return keep_decision(connection, dataset, place, task)
    row = connection.execute(
        "SELECT number, fingerprint, path, href FROM decision WHERE dataset = ? "
        "ORDER BY number DESC LIMIT 1",
        (dataset,),
    ).fetchone()
    if row and tuple(row[1:]) == place:
        return int(row[0])
    return keep_decision(connection, dataset, place, None)


def number_of(connection: sqlite3.Connection, name: str) -> int:
    """Return the number of a dataset, which is new or known."""
    connection.execute("INSERT OR IGNORE INTO dataset (name) VALUES (?)", (name,))
    row = connection.execute("SELECT number FROM dataset WHERE name = ?", (name,)).fetchone()
    return int(row[0])


def keep_decision(
    connection: sqlite3.Connection, dataset: int, place: tuple[str, str, str], task: str | None
) -> int:
    """Store a decision once: an equal decision of the same dataset gets the same number.

    Args:
        connection: the ledger.
        dataset: number of the dataset.
        place: fingerprint of the inputs, path and URL of the reference file.
        task: the decision as JSON; None if it is not known.
    """
    packed = pack(task) if task is not None else None
    known = connection.execute(
        "SELECT number FROM decision WHERE dataset = ? AND fingerprint = ? AND path = ? "
        "AND href = ? AND task IS ?",
        (dataset, *place, packed),
    ).fetchone()
    if known:
        return int(known[0])
    cursor = connection.execute(
        "INSERT INTO decision (dataset, fingerprint, path, href, task) VALUES (?, ?, ?, ?, ?)",
        (dataset, *place, packed),
    )
    return int(cursor.lastrowid or 0)


def keep_proof(connection: sqlite3.Connection, report: str) -> int | None:
    """Store a proof once: it is compared with the newest ones."""
    if not report:
        return None
    packed = pack(report)
    newest = connection.execute(
        "SELECT number, report FROM proof ORDER BY number DESC LIMIT 1"
    ).fetchone()
    if newest and newest[1] == packed:
        return int(newest[0])
    cursor = connection.execute("INSERT INTO proof (report) VALUES (?)", (packed,))
    return int(cursor.lastrowid or 0)


def proof_of(connection: sqlite3.Connection, dataset: int, sha256: str) -> int | None:
    """Return the newest proof of a reference file of these bytes."""
    row = connection.execute(
        "SELECT MAX(proof) FROM step WHERE dataset = ? AND step = ? AND sha256 = ?",
        (dataset, Step.WRITTEN, sha256),
    ).fetchone()
    return None if row[0] is None else int(row[0])


@dataclass(frozen=True, slots=True)
class ConfirmedLink:
    """What a step states about the link of a dataset."""

    dataset: int
    decision: int
    sha256: str
    created: str


def apply_effect(connection: sqlite3.Connection, effect: Effect, now: ConfirmedLink) -> None:
    """Change the live links, as a confirmed step requires."""
    if effect is Effect.CLEAR:
        connection.execute("DELETE FROM live WHERE dataset = ?", (now.dataset,))
    if effect is not Effect.SET:
        return
    (path,) = connection.execute(
        "SELECT path FROM decision WHERE number = ?", (now.decision,)
    ).fetchone()
    output = of_place(path).name
    for (other,) in connection.execute(
        "SELECT output FROM live WHERE dataset = ?", (now.dataset,)
    ).fetchall():
        if takes_the_place_of(output, other):
            connection.execute(
                "DELETE FROM live WHERE dataset = ? AND output = ?", (now.dataset, other)
            )
    connection.execute(
        "INSERT OR REPLACE INTO live (dataset, output, sha256, since, decision) "
        "VALUES (?, ?, ?, ?, ?)",
        (now.dataset, output, now.sha256, now.created, now.decision),
    )


def takes_the_place_of(output: str, other: str) -> bool:
    """Whether an index shows only one of two outputs at a time, because both use the same asset."""
    known = known_outputs()
    # The output belongs to a package that is no longer installed.
    if output not in known or other not in known:
        return output == other
    return known[output].asset_key == known[other].asset_key


ENDED = frozenset((*DONE, State.QUEUED))
"""States after which the index shows the change that it was last sent."""
