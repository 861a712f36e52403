"""The file of the ledger: connections to it, and its version."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import StoreError
from ..permissions import NO_LOCKS, lacks_locks, make_private_file
from . import schema

_BUSY_S = 30.0


@dataclass(frozen=True, slots=True, eq=False)
class _Open:
    """A connection, and the file that it was opened on."""

    connection: sqlite3.Connection
    file: tuple[int, int]
    """Device and inode: another file may take the path."""


class LedgerFile:
    """Gives connections to the file at a path. Several threads and processes may use it.

    A connection is opened for each use. Inside `kept_open`, used connections stay open for the next
    use: opening one, and the checkpoint of SQLite when the last one is closed, cost more than most
    queries.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._idle: list[_Open] = []
        self._is_kept_open = False

    @contextmanager
    def kept_open(self) -> Iterator[None]:
        """Keep connections open while the block runs. Do not nest."""
        self._is_kept_open = True
        try:
            yield
        finally:
            with self._lock:
                self._is_kept_open = False
                idle = self._idle
                self._idle = []
            for one in idle:
                one.connection.close()

    @contextmanager
    def connected(self) -> Iterator[sqlite3.Connection]:
        """Give a connection that no other thread uses meanwhile.

        Raises:
            StoreError: the file cannot be used, or a newer version wrote it.
        """
        try:
            opened = self._take() or self._open()
            try:
                yield opened.connection
            except BaseException:
                opened.connection.close()
                raise
            self._put_back(opened)
        except (sqlite3.Error, OSError) as error:
            raise unusable(self.path, error) from error

    def _take(self) -> _Open | None:
        """Return an idle connection to the file that is at the path now; None if there is none."""
        with self._lock:
            opened = self._idle.pop() if self._idle else None
        if opened is None:
            return None
        if opened.file == _identity_of(self.path):
            return opened
        opened.connection.close()
        return None

    def _put_back(self, opened: _Open) -> None:
        with self._lock:
            if self._is_kept_open:
                self._idle.append(opened)
                return
        opened.connection.close()

    def _open(self) -> _Open:
        # The errors in the ledger describe this machine, and quote other servers.
        make_private_file(self.path)
        if not self.path.is_file():
            raise OSError("is not a regular file")
        file = _identity_of(self.path)
        connection = sqlite3.connect(
            self.path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
        )
        try:
            _use_write_ahead_log(connection)
            self._bring_up_to_date(connection)
        except BaseException:
            connection.close()
            raise
        return _Open(connection, file)

    def _bring_up_to_date(self, connection: sqlite3.Connection) -> None:
        if _version(connection) == schema.SCHEMA_VERSION:
            return
        # Another process may migrate the ledger at the same time.
        connection.execute("BEGIN IMMEDIATE")
        version = _version(connection)
        if version in (0, 2):
            schema.write_tables(connection, version)
        elif version != schema.SCHEMA_VERSION:
            connection.execute("ROLLBACK")
            raise StoreError(
                str(self.path),
                f"is a ledger of version {version}",
                expected=f"at most {schema.SCHEMA_VERSION}",
                todo="Use the newer esgvzarr that wrote it, or set `ledger` to another path.",
                code="store-ledger-version",
            )
        connection.execute("COMMIT")


def _identity_of(path: Path) -> tuple[int, int]:
    """Return device and inode of a file; zeros if there is none."""
    try:
        state = os.stat(path)
    except OSError:
        return 0, 0
    return state.st_dev, state.st_ino


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Change the journal mode, only if the file has another one: SQLite does not wait for other
    processes here.
    """
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


def unusable(path: Path, error: Exception) -> StoreError:
    """Make the error for a ledger whose file, or lock file, cannot be used."""
    return StoreError(
        str(path),
        f"cannot be used as the ledger: {error}",
        expected="a SQLite file that this user may write",
        todo=NO_LOCKS if lacks_locks(error) else "Set `ledger` to another path.",
        code="store-ledger",
    )
