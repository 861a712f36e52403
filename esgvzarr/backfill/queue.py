"""The plan of a backfill: its datasets and their states, in one SQLite file beside the ledger.

The ledger keeps what was done, and is only appended to. A plan keeps what is left to do, and its
rows change; it may be deleted, and is then made again from the sources and the ledger. Millions of
datasets are never in memory at once.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from ..errors import StoreError
from ..outcome import DONE, State
from ..permissions import make_private_file
from .queue_rows import EarlierOutcome as EarlierOutcome
from .queue_rows import Page as Page
from .queue_rows import Planned as Planned
from .queue_rows import Result as Result

_SCHEMA = """
CREATE TABLE IF NOT EXISTS plan (number INTEGER PRIMARY KEY, arguments TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS page (
    number INTEGER PRIMARY KEY,
    plan INTEGER NOT NULL,
    locator TEXT NOT NULL,
    cursor TEXT NOT NULL,
    depth INTEGER NOT NULL,
    state TEXT NOT NULL DEFAULT 'open',
    code TEXT NOT NULL DEFAULT '',
    detail TEXT NOT NULL DEFAULT '',
    UNIQUE (plan, locator, cursor)
);
CREATE INDEX IF NOT EXISTS page_by_state ON page (plan, state, number);
CREATE TABLE IF NOT EXISTS dataset (
    number INTEGER PRIMARY KEY,
    plan INTEGER NOT NULL,
    dataset_id TEXT NOT NULL,
    data_node TEXT NOT NULL,
    locator TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'open',
    code TEXT NOT NULL DEFAULT '',
    detail TEXT NOT NULL DEFAULT '',
    href TEXT NOT NULL DEFAULT '',
    seconds REAL,
    finished REAL,
    UNIQUE (plan, dataset_id)
);
CREATE INDEX IF NOT EXISTS dataset_by_state ON dataset (plan, state, data_node, number);
"""
_BUSY_S = 30.0


class Plan:
    """The datasets and pages of one backfill; the file holds several backfills. Threads may share
    it.

    Args:
        path: path of the file.
        arguments: identify the backfill: runs with equal arguments continue each other's work.

    Raises:
        StoreError: the file cannot be used.
    """

    def __init__(self, path: Path, arguments: str) -> None:
        self.path = path
        self._lock = threading.RLock()
        with self._translated():
            make_private_file(path)
            self._connection = sqlite3.connect(
                path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute(
                "PRAGMA synchronous = NORMAL"
            )  # The ledger decides: a dataset whose row is lost is done again.
            self._connection.executescript(_SCHEMA)
            self._connection.execute(
                "INSERT OR IGNORE INTO plan (arguments) VALUES (?)", (arguments,)
            )
            self._number = self._one("SELECT number FROM plan WHERE arguments = ?", arguments)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    # ---- making it

    def begin(self, roots: Iterable[str]) -> None:
        """Continue the listing; list anew if nothing was left to list or do."""
        states = {
            state
            for (state,) in self._rows(
                "SELECT DISTINCT state FROM page WHERE plan = ?", self._number
            )
        }
        with self._transaction():
            if states == {"read"} and not self.counts()[State.OPEN]:
                self._rows("DELETE FROM page WHERE plan = ?", self._number)
            self._rows(
                "UPDATE page SET state = 'open' WHERE plan = ? AND state = 'failed'", self._number
            )
            self._add_pages(map(Page, roots))

    def next_page(self) -> Page | None:
        """Return a page that is still to be read."""
        query = (
            "SELECT locator, cursor, depth FROM page WHERE plan = ? AND state = 'open' ORDER BY "
            "number LIMIT 1"
        )
        rows = self._rows(query, self._number)
        return Page(*rows[0]) if rows else None

    def keep_page(self, page: Page, datasets: Iterable[Planned], pages: Iterable[Page]) -> int:
        """Keep everything that a page lists, in one transaction, and return the number of new
        datasets.
        """
        with self._transaction():
            before = self._connection.total_changes
            self._connection.executemany(
                "INSERT OR IGNORE INTO dataset (plan, dataset_id, data_node, locator) VALUES (?, "
                "?, ?, ?)",
                ((self._number, one.dataset_id, one.data_node, one.locator) for one in datasets),
            )
            new = self._connection.total_changes - before
            self._add_pages(pages)
            self._set_page(page, "read", "", "")
        return new

    def keep_unread(self, page: Page, code: str, detail: str) -> None:
        """Keep why a page could not be read; the next run tries it again."""
        self._set_page(page, "failed", code, detail)

    def unread(self) -> list[tuple[str, str, str]]:
        """Return locator, code and detail of the pages that could not be read; at most a
        thousand.
        """
        query = (
            "SELECT locator, code, detail FROM page WHERE plan = ? AND state = 'failed' ORDER BY "
            "number LIMIT 1000"
        )
        return self._rows(query, self._number)

    def _add_pages(self, pages: Iterable[Page]) -> None:
        self._connection.executemany(
            "INSERT OR IGNORE INTO page (plan, locator, cursor, depth) VALUES (?, ?, ?, ?)",
            ((self._number, page.locator, page.cursor, page.depth) for page in pages),
        )

    def _set_page(self, page: Page, state: str, code: str, detail: str) -> None:
        query = (
            "UPDATE page SET state = ?, code = ?, detail = ? WHERE plan = ? AND locator = ? AND "
            "cursor = ?"
        )
        self._rows(query, state, code, detail, self._number, page.locator, page.cursor)

    # ---- doing it

    def open_nodes(self) -> list[str]:
        """Return the data nodes of the open datasets. The query skips through the index, so its
        time does not depend on the number of datasets.
        """
        first = "SELECT MIN(data_node) FROM dataset WHERE plan = :plan AND state = 'open'"
        query = (
            f"WITH RECURSIVE node (name) AS ({first} UNION ALL SELECT ({first} AND data_node > "
            "node.name) FROM node WHERE node.name IS NOT NULL) SELECT name FROM node WHERE name "
            "IS NOT NULL"
        )
        with self._lock, self._translated():
            return [name for (name,) in self._connection.execute(query, {"plan": self._number})]

    def open_datasets(self, data_node: str, after: int, most: int) -> list[tuple[int, Planned]]:
        """Return the next open datasets of a node, with their numbers, in the order in which they
        were listed.
        """
        query = (
            "SELECT number, dataset_id, data_node, locator FROM dataset WHERE plan = ? AND state "
            "= 'open' AND data_node = ? AND number > ? ORDER BY number LIMIT ?"
        )
        return [
            (row[0], Planned(*row[1:]))
            for row in self._rows(query, self._number, data_node, after, most)
        ]

    def reopen(self, code: str) -> None:
        """Reopen the datasets that were refused or failed: those with a code, or all if it is
        empty.
        """
        done = ", ".join(f"'{state}'" for state in sorted(DONE))
        query = (
            "UPDATE dataset SET state = 'open', code = '', detail = '' WHERE plan = ? AND state "
            f"NOT IN ('open', {done}) AND (? = '' OR code = ?)"
        )
        self._rows(query, self._number, code, code)

    def withdrawn(self) -> set[str]:
        """Return the ids of the datasets whose links were removed."""
        query = (
            "SELECT dataset_id FROM dataset WHERE plan = ? AND state IN ('withdrawn', 'deleted')"
        )
        return {name for (name,) in self._rows(query, self._number)}

    def listed(self) -> list[tuple[str, str, str]]:
        """Return dataset id, data node and state of all datasets, sorted by id."""
        query = (
            "SELECT dataset_id, data_node, state FROM dataset WHERE plan = ? ORDER BY dataset_id"
        )
        return self._rows(query, self._number)

    def follow(self, dataset_id: str, state: str, detail: str) -> None:
        """Keep what another command did since to a dataset that was done."""
        done = ", ".join(f"'{state}'" for state in sorted(DONE))
        query = (
            "UPDATE dataset SET state = ?, detail = ? WHERE plan = ? AND dataset_id = ? AND state "
            f"IN ({done}) AND state <> ?"
        )
        self._rows(query, state, detail, self._number, dataset_id, state)

    def finish(self, planned: Planned, result: Result) -> None:
        """Keep the outcome of a dataset."""
        columns = "state = ?, code = ?, detail = ?, href = ?, seconds = ?, finished = ?"
        query = f"UPDATE dataset SET {columns} WHERE plan = ? AND dataset_id = ?"
        values = (
            result.state,
            result.code,
            result.detail,
            result.href,
            result.seconds,
            time.time(),
        )
        self._rows(query, *values, self._number, planned.dataset_id)

    # ---- looking at it

    def counts(self) -> Counter[str]:
        """Return the number of datasets by state."""
        query = "SELECT state, COUNT(*) FROM dataset WHERE plan = ? GROUP BY state"
        return Counter(dict(self._rows(query, self._number)))

    def counts_by_reason(self) -> list[tuple[str, str, int, str, str]]:
        """Return state, code, number of datasets, and one of them with its detail, of all that are
        not done; most frequent first.
        """
        query = (
            "SELECT state, code, COUNT(*), dataset_id, detail FROM dataset WHERE plan = ? AND "
            "code <> '' GROUP BY state, code ORDER BY 3 DESC, 1, 2"
        )
        return self._rows(query, self._number)

    def counts_by_node(self) -> list[tuple[str, str, int]]:
        """Return data node, state, number of datasets."""
        query = (
            "SELECT data_node, state, COUNT(*) FROM dataset WHERE plan = ? GROUP BY 1, 2 ORDER "
            "BY 1, 2"
        )
        return self._rows(query, self._number)

    def counts_by_time(self, bins: int) -> list[tuple[float, int]]:
        """Return how many datasets were finished in each of ``bins`` equal spans, with the
        beginning of each in seconds since 1970-01-01.
        """
        first, last = self._rows(
            "SELECT MIN(finished), MAX(finished) FROM dataset WHERE plan = ?", self._number
        )[0]
        if first is None:
            return []
        width = max((last - first) / bins, 1.0)
        query = (
            "SELECT CAST((finished - ?) / ? AS INTEGER), COUNT(*) FROM dataset WHERE plan = ? "
            "AND finished IS NOT NULL GROUP BY 1"
        )
        counted = dict(self._rows(query, first, width, self._number))
        return [
            (first + number * width, counted.get(number, 0)) for number in range(max(counted) + 1)
        ]

    def counts_by_seconds(self, limits: Sequence[float]) -> list[int]:
        """Return how many datasets took a time between each limit and the one before; the last
        number counts those above all limits.
        """
        case = " ".join(
            f"WHEN seconds < {limit} THEN {number}" for number, limit in enumerate(limits)
        )
        query = (
            f"SELECT CASE {case} ELSE {len(limits)} END, COUNT(*) FROM dataset WHERE plan = ? "
            "AND finished IS NOT NULL GROUP BY 1"
        )
        counted = dict(self._rows(query, self._number))
        return [counted.get(number, 0) for number in range(len(limits) + 1)]

    def problem_rows(self, most: int) -> list[tuple[str, str, str, str, str, str]]:
        """Return dataset id, data node, locator, state, code, detail of datasets with an error;
        refused and failed ones first.
        """
        query = (
            "SELECT dataset_id, data_node, locator, state, code, detail FROM dataset WHERE plan "
            "= ? AND code <> '' ORDER BY state = 'open', code, number LIMIT ?"
        )
        return self._rows(query, self._number, most)

    def done_rows(self, most: int) -> list[tuple[str, str, str, str]]:
        """Return dataset id, URL or path of the reference file, state and detail of datasets that
        are done; the latest first.
        """
        done = ", ".join(f"'{state}'" for state in sorted(DONE))
        query = (
            "SELECT dataset_id, href, state, detail FROM dataset WHERE plan = ? AND state IN "
            f"({done}) ORDER BY finished DESC LIMIT ?"
        )
        return self._rows(query, self._number, most)

    # ---- SQLite

    def _rows(self, query: str, *values: object) -> list[Any]:
        with (
            self._lock,
            self._translated(),
            closing(self._connection.execute(query, values)) as cursor,
        ):
            return cursor.fetchall()

    def _one(self, query: str, *values: object) -> Any:
        return self._rows(query, *values)[0][0]

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock, self._translated():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StoreError(
                str(self.path),
                f"cannot be used as the plan: {error}",
                expected="a SQLite file that this user may write",
                todo="Set `ledger` to another path: the plan lies beside it.",
                code="store-plan",
            ) from error
