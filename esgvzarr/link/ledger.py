"""What was decided and done for which dataset, from which inputs, with which outcome: one SQLite
file.

Each row is one step. A step is kept before the next begins, so whoever comes after a kill -9 finds
how far it went. What is needed to finish the work without esgpublish (`Task`) is kept with the
first. No token and no certificate is ever in here.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import sqlite3
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, astuple, fields, replace
from pathlib import Path
from typing import Any

from ..errors import BusyError, SourceError, StoreError
from ..model import DatasetId, DatasetRecord, FileRecord
from ..permissions import make_private_file
from .states import State, Step, Verb
from .task import AuditEntry, Entry, IndexAddress, Task

SCHEMA_VERSION = 2
"""In the file as SQLite's ``user_version``. 0 has a table ``run`` of outcomes only, and is brought
up to date when it is opened.
"""

_COLUMNS = tuple("outcome" if field.name == "state" else field.name for field in fields(Entry))
_AUDIT_COLUMNS = (
    "dataset_id",
    "outcome",
    "code",
    "detail",
    "href",
    "path",
    "sha256",
    "report",
    "created",
    "retryable",
)
_KINDS = {"retryable": "INTEGER NOT NULL DEFAULT 0"}
_COLUMN_LIST = ", ".join(_COLUMNS)
_SCHEMA = (
    "CREATE TABLE step (number INTEGER PRIMARY KEY, "
    + ", ".join(f"{name} {_KINDS.get(name, 'TEXT NOT NULL')}" for name in _COLUMNS)
    + ", task TEXT)",
    "CREATE INDEX step_by_dataset ON step (dataset_id)",
)
_MIGRATION = (
    f"INSERT INTO step ({_COLUMN_LIST}) SELECT dataset_id, verb, outcome, code, detail, href, "
    "report, created, 'done', outcome = 'pending', '', '', '' FROM run ORDER BY number",
    "DROP TABLE run",
)
_BUSY_S = 30.0


def fingerprint(record: DatasetRecord) -> str:
    """SHA-256 over URL, size and checksum of each file, in whatever order the files come."""
    files = sorted(
        [file.url, file.size or 0, (file.checksum_type or "").upper(), file.checksum or ""]
        for file in record.files
    )
    return hashlib.sha256(json.dumps(files).encode()).hexdigest()


class Ledger:
    """Append-only; several processes may write at once."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).expanduser()

    def add(self, entry: Entry, task: Task | None = None) -> None:
        """Keep one step, and with it what was decided, if that is new.

        Raises:
            StoreError: the file cannot be written.
        """
        marks = ", ".join("?" for _ in (*_COLUMNS, "task"))
        values = (*astuple(entry), json.dumps(asdict(task), sort_keys=True) if task else None)
        with self._connected() as connection:
            connection.execute(f"INSERT INTO step ({_COLUMN_LIST}, task) VALUES ({marks})", values)

    def add_audits(self, entries: Sequence[AuditEntry]) -> None:
        """Keep what audits found, each in place of what the audit before found of the same dataset.

        Raises:
            StoreError: the file cannot be written.
        """
        columns = ", ".join(_AUDIT_COLUMNS)
        marks = ", ".join("?" for _ in _AUDIT_COLUMNS)
        with self._connected() as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "DELETE FROM step WHERE dataset_id = ? AND verb = 'audit'",
                [(one.dataset_id,) for one in entries],
            )
            connection.executemany(
                f"INSERT INTO step ({columns}, verb, step, fingerprint) "
                f"VALUES ({marks}, 'audit', 'done', '')",
                map(astuple, entries),
            )
            connection.execute("COMMIT")

    def audits(self) -> dict[str, AuditEntry]:
        """What the last audit found, by dataset; of datasets for which nothing was done since."""
        later = (
            "SELECT 1 FROM step AS later WHERE later.dataset_id = step.dataset_id AND "
            "later.number > step.number"
        )
        columns = ", ".join(_AUDIT_COLUMNS)
        query = f"SELECT {columns} FROM step WHERE verb = 'audit' AND NOT EXISTS ({later})"
        found = {}
        for row in self._rows(query):
            entry = AuditEntry(*row)
            found[entry.dataset_id] = replace(entry, retryable=bool(entry.retryable))
        return found

    def entries(self, dataset_id: str | None = None) -> list[Entry]:
        """All steps, or those of one dataset, oldest first. Audits are none: they change
        nothing.
        """
        where, values = ("AND dataset_id = ?", (dataset_id,)) if dataset_id else ("", ())
        query = f"SELECT {_COLUMN_LIST} FROM step WHERE verb <> 'audit' {where} ORDER BY number"
        return [_entry(row) for row in self._rows(query, values)]

    def latest(self) -> list[Entry]:
        """The last step of each dataset, in the order of their names; one of ``generate`` only
        where no index was ever involved.
        """
        last = "COALESCE(MAX(CASE WHEN verb <> 'generate' THEN number END), MAX(number))"
        steps = f"SELECT {last} FROM step WHERE verb <> 'audit' GROUP BY dataset_id"
        query = f"SELECT {_COLUMN_LIST} FROM step WHERE number IN ({steps}) ORDER BY dataset_id"
        return [_entry(row) for row in self._rows(query)]

    def current(self, dataset_ids: Sequence[str] = ()) -> list[Entry | AuditEntry]:
        """The last step of each dataset, or what an audit found wrong with it since.

        Args:
            dataset_ids: these datasets; all if empty.
        """
        audits = self.audits()
        current: list[Entry | AuditEntry] = []
        for entry in self.latest():
            if dataset_ids and entry.dataset_id not in dataset_ids:
                continue
            audited = audits.get(entry.dataset_id)
            current.append(audited if audited and audited.code else entry)
        return current

    def href_of(self, dataset_id: str) -> str:
        """Where the references of a dataset are.

        Raises:
            SourceError: the ledger does not know the dataset, or of no references of it.
            StoreError: the file cannot be read.
        """
        name = str(DatasetId.parse(dataset_id))
        for kept in reversed(self.entries(name)):
            if kept.href:
                return kept.href
        raise SourceError(
            name,
            f"is not in the ledger {self.path}",
            expected="a dataset that was generated or published from here",
            todo="Give the URL or path of its reference file.",
            code="source-not-in-ledger",
        )

    def task(self, dataset_id: str) -> Task | None:
        """What was last decided for a dataset; None if nothing was, or only by a version that kept
        no decisions.

        Raises:
            StoreError: what is kept cannot be read.
        """
        query = (
            "SELECT task FROM step WHERE dataset_id = ? AND task IS NOT NULL ORDER BY number "
            "DESC LIMIT 1"
        )
        rows = self._rows(query, (dataset_id,))
        return _task(rows[0][0], f"{self.path}, {dataset_id}") if rows else None

    def _rows(self, query: str, values: tuple[str, ...] = ()) -> list[tuple[Any, ...]]:
        if not self.path.exists():  # looking makes no file
            return []
        with self._connected() as connection:
            return connection.execute(query, values).fetchall()

    @contextmanager
    def claimed(self, dataset_id: str, *, wait: bool = True) -> Iterator[None]:
        """Keep other processes, and other threads, off a dataset meanwhile. The claim of a process
        that is killed ends with it.

        Raises:
            BusyError: another process has it, and ``wait`` is false.
            StoreError: the lock file cannot be written.
        """
        offset = int.from_bytes(
            hashlib.sha256(dataset_id.encode()).digest()[:7]
        )  # one byte of the file for each dataset
        path = self.path.with_name(f"{self.path.name}.lock")
        try:
            make_private_file(path)
            lock = open(path, "a")  # noqa: SIM115  (closed below, and errors of opening are ours)
        except OSError as error:
            raise _unusable(path, error) from error
        with lock:
            try:
                # of the open file, not of the process: a thread that ends its claim does not end
                # those of others
                claim = struct.pack("hhqqi0q", fcntl.F_WRLCK, os.SEEK_SET, offset, 1, 0)
                fcntl.fcntl(lock, fcntl.F_OFD_SETLKW if wait else fcntl.F_OFD_SETLK, claim)
            except BlockingIOError:
                raise BusyError(
                    dataset_id,
                    "another process is at work on it",
                    todo="Try again when it has ended.",
                ) from None
            except OSError as error:
                raise _unusable(path, error) from error
            yield

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        try:
            make_private_file(
                self.path
            )  # the errors in it tell of this machine, and of others' servers
            with closing(
                sqlite3.connect(self.path, timeout=_BUSY_S, isolation_level=None)
            ) as connection:
                _use_write_ahead_log(connection)
                self._bring_up_to_date(connection)
                yield connection
        except (sqlite3.Error, OSError) as error:
            raise _unusable(self.path, error) from error

    def _bring_up_to_date(self, connection: sqlite3.Connection) -> None:
        if _version(connection) == SCHEMA_VERSION:
            return
        connection.execute("BEGIN IMMEDIATE")  # another process may be doing the same
        version = _version(connection)
        if version not in (0, SCHEMA_VERSION):
            connection.execute("ROLLBACK")
            raise StoreError(
                str(self.path),
                f"is a ledger of version {version}",
                expected=f"at most {SCHEMA_VERSION}",
                todo="Use the newer esgvzarr that wrote it, or set `ledger` to another path.",
                code="store-ledger-version",
            )
        older = connection.execute(
            "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'run'"
        ).fetchone()
        if version == 0:
            for statement in (
                *_SCHEMA,
                *(_MIGRATION if older else ()),
                f"PRAGMA user_version = {SCHEMA_VERSION}",
            ):
                connection.execute(statement)
        connection.execute("COMMIT")


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """SQLite itself does not wait for others here, only a new or older file is to be changed."""
    deadline = time.monotonic() + _BUSY_S
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _entry(row: tuple[object, ...]) -> Entry:
    values: dict[str, Any] = dict(zip(_COLUMNS, row, strict=True))
    state = State(values.pop("outcome"))
    values["verb"] = Verb(values["verb"])
    values["step"] = Step(values["step"])
    values["retryable"] = bool(values["retryable"])
    return Entry(state=state, **values)


def _task(text: str, subject: str) -> Task:
    try:
        values = json.loads(text)
        record = values["record"]
        index = IndexAddress(**values["index"])
        files = tuple(FileRecord(**file) for file in record["files"])
        dataset = DatasetRecord(**{**record, "id": DatasetId(**record["id"]), "files": files})
        verb = Verb(values["verb"])
        return Task(**{**values, "verb": verb, "record": dataset, "index": index})
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            subject,
            f"the decision that is kept cannot be read: {error}",
            todo="Publish the dataset again.",
            code="store-ledger",
        ) from error


def _unusable(path: Path, error: Exception) -> StoreError:
    return StoreError(
        str(path),
        f"cannot be used as the ledger: {error}",
        expected="a SQLite file that this user may write",
        todo="Set `ledger` to another path.",
        code="store-ledger",
    )
