"""A table of the output ``parquet`` that is missing, damaged or not served is named: its chunks are
never shown as fill values.
"""

from __future__ import annotations

import itertools
import math
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import orjson
import pytest
import xarray
from trust import oracle

import esgvzarr
from esgvzarr import pages
from esgvzarr.audit.judgement import State
from esgvzarr.errors import EsgvzarrError, ProofError, SourceError
from esgvzarr.output import named, whole_files
from esgvzarr.output.reference_tables import MARK, RECORD
from esgvzarr.testing import DATASET_ID, DEFECTS

pytest.importorskip("fastparquet")

TABLE = "tas/refs.0.parq"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("written")
    place = directory / f"{DATASET_ID}.parq"
    references, _ = oracle.make(DEFECTS["compressed"].make(directory / "files"))
    named("parquet").write(references, place)
    return place


@pytest.fixture
def place(written: Path, tmp_path: Path) -> Path:
    """A directory of tables that a test may spoil."""
    return Path(shutil.copytree(written, tmp_path / written.name))


@contextmanager
def served(
    directory: Path, answer: int | bytes, end: str, times: float = math.inf
) -> Iterator[str]:
    """The URL of a server of a directory, dot-files too, that answers otherwise for one file, so
    many times.
    """
    numbers = itertools.count()

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if not self.path.endswith(end) or next(numbers) >= times:
                super().do_GET()
            elif isinstance(answer, int):
                self.send_error(answer)
            else:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=directory)) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def remove(table: Path) -> None:
    table.unlink()


def empty(table: Path) -> None:
    table.write_bytes(b"")


def cut(table: Path) -> None:
    table.write_bytes(table.read_bytes()[:500])


def put_another_page_in(table: Path) -> None:
    table.write_bytes(b"<html>404</html>")


def break_inside(table: Path) -> None:
    data = table.read_bytes()
    table.write_bytes(data[:4] + b"\xff" * (len(data) - 8) + data[-4:])


def break_rows(table: Path) -> None:
    data = table.read_bytes()
    table.write_bytes(data[:40] + b"\xff" * 40 + data[80:])


def lose_rows(table: Path) -> None:
    _rewrite(table, lambda rows: rows.head(1))


def lose_references(table: Path) -> None:
    _rewrite(table, lambda rows: rows.assign(path=None))


def _rewrite(table: Path, change: Callable[..., object]) -> None:
    import pandas

    changed = change(pandas.read_parquet(table, engine="fastparquet"))
    changed.to_parquet(  # type: ignore[attr-defined]
        table,
        engine="fastparquet",
        index=False,
        object_encoding={"raw": "bytes", "path": "utf8"},
        has_nulls=["path", "raw"],
    )


DAMAGES = [
    remove,
    empty,
    cut,
    put_another_page_in,
    break_inside,
    break_rows,
    lose_rows,
    lose_references,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_readers_name_the_table_and_show_no_fill_values(
    place: Path, damage: Callable[[Path], None]
) -> None:
    damage(place / TABLE)
    for data in (esgvzarr.open_dataset(str(place)), xarray.open_dataset(place, engine="esgvzarr")):
        with pytest.raises(SourceError, match=r"\.parq/tas") as raised:
            data["tas"].load()
        assert raised.value.code == "source-reference-table"
        assert "make it again" in raised.value.todo


def test_a_missing_coordinate_is_named_too(place: Path) -> None:
    remove(place / "lat" / "refs.0.parq")
    with pytest.raises(SourceError, match=r"lat/refs\.0\.parq: does not exist"):
        esgvzarr.open_dataset(str(place))


def test_a_damaged_record_hides_no_missing_table(place: Path) -> None:
    (place / RECORD).write_bytes(b"{")
    remove(place / TABLE)
    with pytest.raises(SourceError, match=r"tas/refs\.0\.parq: does not exist"):
        esgvzarr.open_dataset(str(place))["tas"].load()


def test_a_directory_is_ours_by_its_own_metadata_too(place: Path) -> None:
    (place / RECORD).unlink()
    assert esgvzarr.open_dataset(str(place))["tas"].notnull().all()
    remove(place / TABLE)
    with pytest.raises(SourceError, match=r"tas/refs\.0\.parq: does not exist"):
        esgvzarr.open_dataset(str(place))["tas"].load()


def test_directories_of_others_may_leave_out_chunks_that_were_never_written(place: Path) -> None:
    (place / RECORD).unlink()
    metadata = place / ".zmetadata"
    said = orjson.loads(metadata.read_bytes())
    del said[MARK]
    metadata.write_bytes(orjson.dumps(said))
    remove(place / TABLE)
    stored = xarray.open_dataset(place, engine="esgvzarr")
    assert np.isnan(stored["tas"].values).all()


@pytest.mark.parametrize(
    ("answer", "code", "retryable"),
    [
        (404, "source-reference-table", False),
        (b"<html>Log in</html>", "source-reference-table", False),
        (403, "transport-http-403", False),
        (500, "transport-http-500", False),
        (503, "transport-http-503", True),
    ],
)
def test_what_a_server_answers_for_a_table_is_told(
    place: Path,
    answer: int | bytes,
    code: str,
    retryable: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(whole_files, "FIRST_WAIT_S", 0)
    with served(place.parent, answer, TABLE) as url:
        data = esgvzarr.open_dataset(f"{url}/{place.name}")
        with pytest.raises(EsgvzarrError) as raised:
            data["tas"].load()
    assert (raised.value.code, raised.value.retryable) == (code, retryable)


@pytest.mark.parametrize("end", ["lat/refs.0.parq", ".zmetadata", RECORD])
def test_what_a_busy_server_refuses_at_first_is_asked_for_again(
    place: Path, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole_files, "FIRST_WAIT_S", 0)
    with served(place.parent, 503, end, times=whole_files.TRIES - 1) as url:
        data = esgvzarr.open_dataset(f"{url}/{place.name}")
        assert data["lat"].shape == (4,)


@pytest.mark.parametrize("status", [403, 503])
def test_what_a_server_answers_for_a_document_is_told(
    tmp_path: Path, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole_files, "FIRST_WAIT_S", 0)
    with (
        served(tmp_path, status, "x.json") as url,
        pytest.raises(EsgvzarrError) as raised,
    ):
        esgvzarr.open_dataset(f"{url}/x.json")
    assert raised.value.code == f"transport-http-{status}"


def test_the_other_directories_are_audited_and_listed_all_the_same(place: Path) -> None:
    for name, damage in (("empty.parq", empty), ("removed.parq", remove)):
        damage(Path(shutil.copytree(place, place.with_name(name))) / TABLE)
    with pytest.raises(ProofError, match=r"empty\.parq/tas/refs\.0\.parq") as raised:
        esgvzarr.verify(place.with_name("empty.parq"))
    assert raised.value.code == "proof-not-references"
    states = {Path(one.target.location).name: one.state for one in esgvzarr.audit(place.parent)}
    assert states.pop(place.name) is State.FINE
    assert set(states.values()) == {State.STALE}
    assert pages.write_pages(place.parent)[1] == 1
