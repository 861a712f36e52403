"""What was done for which dataset, from which inputs, with which outcome: one SQLite file."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import astuple, fields
from pathlib import Path

from .errors import StoreError
from .model import Entry

_COLUMNS = tuple(field.name for field in fields(Entry))
_TABLE = f"CREATE TABLE IF NOT EXISTS run (number INTEGER PRIMARY KEY, {', '.join(f'{name} TEXT NOT NULL' for name in _COLUMNS)})"
_INDEX = "CREATE INDEX IF NOT EXISTS run_by_dataset ON run (dataset_id)"
_BUSY_S = 30.0


class Ledger:
    """Append-only; several processes may write at once."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path).expanduser()

    def add(self, entry: Entry) -> None:
        """Keep one outcome.

        Raises:
            StoreError: the file cannot be written.
        """
        marks = ", ".join("?" for _ in _COLUMNS)
        with self._connected() as connection:
            connection.execute(f"INSERT INTO run ({', '.join(_COLUMNS)}) VALUES ({marks})", astuple(entry))

    def entries(self, dataset_id: str | None = None) -> list[Entry]:
        """All outcomes, or those of one dataset, oldest first."""
        where, values = ("WHERE dataset_id = ?", (dataset_id,)) if dataset_id else ("", ())
        with self._connected() as connection:
            rows = connection.execute(f"SELECT {', '.join(_COLUMNS)} FROM run {where} ORDER BY number", values)  # noqa: S608
            return [Entry(*row) for row in rows]

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        try:
            self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            with closing(sqlite3.connect(self._path, timeout=_BUSY_S)) as connection, connection:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute(_TABLE)
                connection.execute(_INDEX)
                yield connection
        except (sqlite3.Error, OSError) as error:
            raise StoreError(
                str(self._path), f"cannot be used as the ledger: {error}", expected="a SQLite file that this user may write",
                todo="Set `ledger` to another path.", code="store-ledger",
            ) from error  # fmt: skip
