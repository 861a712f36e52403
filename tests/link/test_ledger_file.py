"""Connections to the ledger's file, kept open for many steps in a row."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from esgvzarr.errors import StoreError
from esgvzarr.link.ledger import Ledger
from esgvzarr.link.ledger_file import LedgerFile
from esgvzarr.link.states import State, Step, Verb
from esgvzarr.link.task import Entry

_WRITER = """
import sys
from esgvzarr.link.ledger import Ledger
from esgvzarr.link.states import State, Step, Verb
from esgvzarr.link.task import Entry

ledger = Ledger(sys.argv[1])
with ledger.kept_open():
    for number in range(10**6):
        name = f"dataset {number}"
        created = "2026-11-20T00:00:00+00:00"
        ledger.add(Entry(name, Verb.LINK, State.OPEN, "", "", "", created, Step.DECIDED))
        print(number, flush=True)
"""


def entry(dataset_id: str = "one") -> Entry:
    return Entry(
        dataset_id, Verb.LINK, State.OPEN, "", "", "", "2026-11-20T00:00:00+00:00", Step.DECIDED
    )


def log_of(ledger: Ledger) -> Path:
    return ledger.path.with_name(f"{ledger.path.name}-wal")


def test_a_connection_serves_many_steps_and_is_closed_at_the_end(tmp_path: Path) -> None:
    """SQLite deletes its log when the last connection is closed."""
    file = LedgerFile(tmp_path / "ledger.sqlite")
    with file.kept_open():
        with file.connected() as first:
            pass
        with file.connected() as second, file.connected() as third:
            pass
        assert first is second
        assert third is not first
    for connection in (first, third):
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")
    with file.connected() as later:
        assert later is not first


def test_what_is_stored_is_seen_by_others_at_once(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    with ledger.kept_open():
        ledger.add(entry())
        assert len(Ledger(ledger.path).entries()) == 1
        Ledger(ledger.path).add(entry("two"))
        assert len(ledger.entries()) == 2
        assert log_of(ledger).exists()
    assert not log_of(ledger).exists()


def test_threads_do_not_share_a_connection(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    names = [f"dataset {number}" for number in range(100)]
    with ledger.kept_open(), ThreadPoolExecutor(8) as threads:
        list(threads.map(ledger.add, map(entry, names)))
    assert sorted(step.dataset_id for step in ledger.entries()) == sorted(names)


def test_a_file_that_took_the_place_of_the_ledger_is_the_ledger(tmp_path: Path) -> None:
    """Also while connections to the file before it are open."""
    ledger = Ledger(tmp_path / "ledger.sqlite")
    with ledger.kept_open():
        ledger.add(entry())
        for path in tmp_path.iterdir():
            path.unlink()
        assert ledger.entries() == []
        ledger.add(entry("two"))
        assert [step.dataset_id for step in Ledger(ledger.path).entries()] == ["two"]


def test_after_an_error_a_connection_is_not_used_again(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    with ledger.kept_open():
        ledger.add(entry())
        with pytest.raises(StoreError) as caught:
            ledger.add(replace(entry(), step=Step.SHOWN))
        assert caught.value.code == "store-ledger-order"
        ledger.add(entry("two"))
        assert len(ledger.entries()) == 2


def test_what_was_stored_survives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with subprocess.Popen(
        [sys.executable, "-c", _WRITER, path], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        said = [int(writer.stdout.readline()) for _ in range(20)]
        writer.send_signal(signal.SIGKILL)
    ledger = Ledger(path)
    before = len(ledger.entries())
    assert before >= len(said)
    ledger.add(entry("next"))
    assert len(ledger.entries()) == before + 1
