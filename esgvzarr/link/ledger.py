"""One SQLite file that keeps what was decided and done for each dataset, from which inputs and with
which outcome, and which links are live.

A step is kept before the next begins, so a process that comes after a kill -9 finds how far the
killed one went. The task, which is enough to finish the work without esgpublish, is kept with the
first step. What is live is kept apart from what was last tried: only a confirmed link or removal
changes it. No token and no certificate is ever in here.

docs/internals/ledger.md describes the file.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import sqlite3
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from ..directories import is_there
from ..errors import BusyError, SourceError, StoreError
from ..model import DatasetId, DatasetRecord, Report
from ..permissions import make_private_file
from . import schema
from .ledger_file import LedgerFile, unusable
from .ledger_rows import LAST, LIVE, MADE, STEPS, audit_of, entry_of, live_of, proof_of, read_task
from .states import MAKING, Stage, State, Step, Verb, find_transition
from .task import AuditEntry, Entry, LiveLink, Task

SCHEMA_VERSION = schema.SCHEMA_VERSION
_T = TypeVar("_T")


def fingerprint(record: DatasetRecord, states: Sequence[str] = ()) -> str:
    """Return the SHA-256 over URL, size and checksum of each file; the order of the files does not
    matter.

    Args:
        record: the dataset.
        states: more about its files as they are now.
    """
    files = sorted(
        [file.url, file.size or 0, (file.checksum_type or "").upper(), file.checksum or ""]
        for file in record.files
    )
    described = [files, *states] if states else files
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()


class Ledger:
    """The ledger. Steps are only added; several processes may write at the same time."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).expanduser()
        self._file = LedgerFile(self.path)

    def kept_open(self) -> AbstractContextManager[None]:
        """Keep connections to the file open while the block runs, for many steps in a row."""
        return self._file.kept_open()

    def add(self, entry: Entry, task: Task | None = None, report: str = "") -> None:
        """Store one step, and change the live links as the step requires, in one transaction.

        Args:
            entry: the step.
            task: the decision; None for the decision of the step before.
            report: the proof, as JSON.

        Raises:
            StoreError: the file cannot be written; or the step may not follow the one before it
                (``store-ledger-order``), and nothing is stored.
        """
        with self._file.connected() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                self._add(connection, entry, task, report)
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def _add(
        self, connection: sqlite3.Connection, entry: Entry, task: Task | None, report: str
    ) -> None:
        dataset = schema.number_of(connection, entry.dataset_id)
        last = connection.execute(
            f"SELECT verb, step, state, decision, proof FROM step WHERE number = "
            f"(SELECT {LAST} FROM step WHERE dataset = ?) AND verb NOT IN ({MADE})",
            (dataset,),
        ).fetchone()
        before = Stage(Verb(last[0]), Step(last[1]), State(last[2])) if last else None
        after = Stage(entry.verb, entry.step, entry.state)
        transition = find_transition(before, after, entry.dataset_id)
        if task is None and last is not None and entry.verb not in MAKING:
            decision = last[3]
            proof = last[4]
        else:
            place = (entry.fingerprint, entry.path, entry.href)
            text = schema.text_of(task) if task else None
            decision = schema.keep_decision(connection, dataset, place, text)
            proof = None
        if report:
            proof = schema.keep_proof(connection, report)
        elif entry.sha256:  # The file was proved at an earlier step.
            proof = schema.proof_of(connection, dataset, entry.sha256)
        values = (
            dataset,
            entry.verb,
            entry.step,
            entry.state,
            entry.code,
            entry.detail,
            entry.created,
            int(entry.retryable),
            int(entry.unsure),
            entry.sha256,
            decision,
            proof,
        )
        connection.execute(
            "INSERT INTO step (dataset, verb, step, state, code, detail, created, retryable, "
            f"unsure, sha256, decision, proof) VALUES ({', '.join('?' for _ in values)})",
            values,
        )
        confirmed = schema.ConfirmedLink(dataset, decision, entry.sha256, entry.created)
        schema.apply_effect(connection, transition.effect, confirmed)

    def add_audits(self, entries: Sequence[AuditEntry]) -> None:
        """Store the findings of audits, each in place of the earlier one for the same dataset.

        Raises:
            StoreError: the file cannot be written.
        """
        with self._file.connected() as connection:
            connection.execute("BEGIN IMMEDIATE")
            for one in entries:
                connection.execute(
                    "INSERT OR REPLACE INTO audit SELECT dataset.number, (SELECT MAX(number) FROM "
                    "step WHERE dataset = dataset.number), ?, ?, ?, ?, ?, ?, ?, ?, ? FROM dataset "
                    "WHERE name = ?",
                    (
                        one.state,
                        one.code,
                        one.detail,
                        one.href,
                        one.path,
                        one.sha256,
                        schema.pack(one.proofs),
                        one.created,
                        int(one.retryable),
                        one.dataset_id,
                    ),
                )
            connection.execute("COMMIT")

    def audits(self) -> dict[str, AuditEntry]:
        """Return the findings of the last audit, by dataset; only of datasets without a later
        step.
        """
        query = (
            "SELECT dataset.name AS dataset_id, audit.* FROM audit JOIN dataset ON dataset.number "
            "= audit.dataset WHERE NOT EXISTS (SELECT 1 FROM step WHERE step.dataset = "
            "audit.dataset AND step.number > audit.step)"
        )
        return {one.dataset_id: one for one in self._read(query, (), audit_of)}

    def entries(self, dataset_id: str | None = None) -> list[Entry]:
        """Return all steps, or those of one dataset, oldest first."""
        where, values = ("WHERE dataset.name = ?", (dataset_id,)) if dataset_id else ("", ())
        return self._read(f"{STEPS} {where} ORDER BY step.number", values, entry_of)

    def latest(self) -> list[Entry]:
        """Return the last step of each dataset, sorted by name; a step of ``generate`` only if no
        step concerned an index.
        """
        last = f"SELECT {LAST} FROM step GROUP BY dataset"
        return self._read(f"{STEPS} WHERE step.number IN ({last}) ORDER BY 1", (), entry_of)

    def last(self, dataset_id: str) -> Entry | None:
        """Return the last step of one dataset, as in `latest`."""
        number = "SELECT number FROM dataset WHERE name = ?"
        last = f"SELECT {LAST} FROM step WHERE dataset = ({number})"
        found = self._read(f"{STEPS} WHERE step.number IN ({last})", (dataset_id,), entry_of)
        return found[0] if found else None

    def live(self, dataset_id: str | None = None) -> list[LiveLink]:
        """Return the links that indexes show, as far as they were confirmed: all, or those of one
        dataset.
        """
        where, values = ("WHERE dataset.name = ?", (dataset_id,)) if dataset_id else ("", ())
        return self._read(f"{LIVE} {where} ORDER BY 1, 2", values, live_of)

    def report(self, dataset_id: str) -> str:
        """Return the newest proof of a dataset, as JSON; empty if there is none."""
        query = (
            "SELECT report FROM proof WHERE number = (SELECT MAX(proof) FROM step JOIN dataset ON "
            "dataset.number = step.dataset WHERE dataset.name = ?)"
        )
        found = self._read(query, (dataset_id,), lambda row: schema.unpack(row["report"]))
        return found[0] if found else ""

    def proofs(self, dataset_id: str) -> dict[str, Report]:
        """Return the newest proof of each reference file of a dataset, by the SHA-256 of its bytes.

        Raises:
            StoreError: a stored proof cannot be read.
        """
        query = (
            "SELECT sha256, report FROM step JOIN dataset ON dataset.number = step.dataset JOIN "
            "proof ON proof.number = step.proof WHERE dataset.name = ? AND sha256 != '' ORDER BY "
            "step.number"
        )
        return dict(self._read(query, (dataset_id,), proof_of))

    def current(self, dataset_ids: Sequence[str] = ()) -> list[Entry | AuditEntry]:
        """Return the last step of each dataset, or the problem that an audit has found since.

        Args:
            dataset_ids: the datasets; all if empty.
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
        """Return the URL or path of the references of a dataset.

        Raises:
            SourceError: the ledger does not know the dataset, or has no references of it.
            StoreError: the file cannot be read.
        """
        name = str(DatasetId.parse(dataset_id))
        live = self.live(name)
        if live:
            return live[0].href
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
        """Return the last decision for a dataset; None if there is none, or only by a version that
        stored no decisions.

        Raises:
            StoreError: a stored decision cannot be read.
        """
        return self._task("", dataset_id)

    def sent_task(self, dataset_id: str) -> Task | None:
        """Return the last decision of a dataset with which a link may have been sent to an
        index.
        """
        return self._task(f"AND step.step = '{Step.WRITTEN}' ", dataset_id)

    def _task(self, condition: str, dataset_id: str) -> Task | None:
        query = (
            "SELECT task FROM step JOIN decision ON decision.number = step.decision WHERE "
            "step.dataset = (SELECT number FROM dataset WHERE name = ?) AND task IS NOT NULL "
            f"{condition}ORDER BY step.number DESC LIMIT 1"
        )
        found = self._read(query, (dataset_id,), lambda row: read_task(row["task"]))
        return found[0] if found else None

    def check(self) -> None:
        """Check that steps can be stored.

        Raises:
            StoreError: the file cannot be read or written.
        """
        with self._file.connected() as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            connection.execute("COMMIT")

    def _read(
        self, query: str, values: tuple[str, ...], read: Callable[[Mapping[str, Any]], _T]
    ) -> list[_T]:
        try:
            if not is_there(self.path):  # Reading does not create the ledger.
                return []
        except OSError as error:
            raise unusable(self.path, error) from error
        with self._file.connected() as connection, closing(connection.cursor()) as cursor:
            cursor.row_factory = sqlite3.Row
            rows = cursor.execute(query, values).fetchall()
        try:
            return [read(row) for row in rows]
        except (ValueError, KeyError, TypeError, RecursionError, zlib.error) as error:
            raise StoreError(
                str(self.path),
                f"holds a row that cannot be read: {error}",
                expected="rows that esgvzarr wrote",
                todo="Restore the file from a copy, or set `ledger` to another path.",
                code="store-ledger",
            ) from error

    @contextmanager
    def claimed(self, dataset_id: str, *, wait: bool = True) -> Iterator[None]:
        """Claim a dataset: no other process or thread may work on it inside the block. The claim of
        a killed process ends with it.

        Raises:
            BusyError: another process has claimed it, and ``wait`` is false.
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
            raise unusable(path, error) from error
        with lock:
            try:
                # The lock belongs to the open file and not to the process: a thread that ends its
                # claim does not end the claims of other threads.
                claim = struct.pack("hhqqi0q", fcntl.F_WRLCK, os.SEEK_SET, offset, 1, 0)
                fcntl.fcntl(lock, fcntl.F_OFD_SETLKW if wait else fcntl.F_OFD_SETLK, claim)
            except BlockingIOError:
                raise BusyError(
                    dataset_id,
                    "another process is working on it",
                    todo="Try again when it has ended.",
                ) from None
            except OSError as error:
                raise unusable(path, error) from error
            yield
