"""The verbs, on real files, a real data node and a real index."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import xarray

from esgvzarr.errors import (
    FormatError,
    RefusedError,
    SettingsError,
    StoreError,
    TransportError,
)
from esgvzarr.generate import generate, make_transport
from esgvzarr.indexes import LinkState
from esgvzarr.link.add import catalogue, discard, place, show
from esgvzarr.link.attempt import keep_made, kept_proof
from esgvzarr.link.ledger import Ledger
from esgvzarr.model import AccessLink, DatasetId, DatasetRecord, FileRecord, ReferenceFile
from esgvzarr.outcome import Verb, Written, failure
from esgvzarr.settings import Settings
from esgvzarr.testing import (
    DATASET_ID,
    DEFECTS,
    DRS_PATH,
    ThreddsServer,
    write_monthly,
)
from esgvzarr.testing.faults import Answer
from esgvzarr.testing.loopback import Asked, Response, text_response
from esgvzarr.transport import Transport

from .shelf import Shelf, ShelfIndex

ID = DatasetId.parse(DATASET_ID)
NAME = f"{DATASET_ID}.json"


def record_of(server: ThreddsServer, files: list[Path], **changes: Any) -> DatasetRecord:
    """As esgcet registers the files, which lie on this machine."""
    return DatasetRecord(
        ID,
        server.host,
        tuple(
            replace(
                FileRecord(file.name, server.url_of(file), file.stat().st_size, path=str(file)),
                **changes,
            )
            for file in files
        ),
    )


@pytest.fixture
def record(thredds_server: ThreddsServer, tmp_path: Path) -> DatasetRecord:
    """Three years of monthly data, served."""
    return record_of(thredds_server, write_monthly(tmp_path / DRS_PATH))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(ledger=tmp_path / "ledger.sqlite", retries=0, poll_timeout_s=2)


@pytest.fixture
def transport(thredds_server: ThreddsServer, settings: Settings) -> Iterator[Transport]:
    with make_transport(settings) as transport:
        transport.allow(thredds_server.host, named=True)
        yield transport


@dataclass(frozen=True)
class Busy:
    """503 to some requests for each file: the first has the number 0."""

    at: set[int]

    def apply(self, asked: Asked, answer: Answer) -> Response:
        return text_response(503) if asked.earlier in self.at else answer(asked)


def spoil(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


class TestPlace:
    def test_is_beside_the_files(
        self, record: DatasetRecord, settings: Settings, tmp_path: Path
    ) -> None:
        """Directory and URL are those of the files; the version is in the name."""
        directory, href = place(record, settings)
        assert directory == tmp_path / DRS_PATH
        assert href == f"{record.files[0].url.rpartition('/')[0]}/{NAME}"

    def test_is_where_the_settings_say(self, record: DatasetRecord, tmp_path: Path) -> None:
        """One slash between prefix and name."""
        settings = Settings(reference_dir=tmp_path / "zarr", reference_url="https://node/zarr/")
        assert place(record, settings) == (tmp_path / "zarr", f"https://node/zarr/{NAME}")

    def test_follows_the_home_directory(self, record: DatasetRecord) -> None:
        """``~`` in the setting is the user's own."""
        settings = Settings(reference_dir=Path("~/zarr"), reference_url="https://node/zarr")
        assert place(record, settings)[0] == Path.home() / "zarr"

    @pytest.mark.parametrize("field", ["path", "url"])
    def test_is_not_guessed(self, record: DatasetRecord, settings: Settings, field: str) -> None:
        """Files in two directories, or under two URL prefixes, have no place between them: the
        settings that give one are named.
        """
        first, *others = record.files
        elsewhere = replace(first, **{field: getattr(first, field).replace("/gn/", "/gr/")})
        with pytest.raises(
            SettingsError, match="Set `reference_dir` and `reference_url`"
        ) as caught:
            place(replace(record, files=(elsewhere, *others)), settings)
        assert caught.value.code == "settings-reference-dir"

    def test_needs_files_on_this_machine(self, record: DatasetRecord, settings: Settings) -> None:
        """Files that are only served have no known directory."""
        with pytest.raises(SettingsError):
            place(
                replace(record, files=tuple(replace(file, path=None) for file in record.files)),
                settings,
            )


class TestGenerate:
    def test_writes_what_was_proved(
        self, record: DatasetRecord, transport: Transport, settings: Settings, tmp_path: Path
    ) -> None:
        """The outcome says where, how much and what was checked; each step is told."""
        told: list[tuple[str, str]] = []
        outcome = generate(
            record, tmp_path / "out", transport, settings, progress=lambda *step: told.append(step)
        )
        assert (outcome.state, outcome.verb, outcome.files, outcome.done) == (
            "written",
            "generate",
            3,
            True,
        )
        assert outcome.reference.size == (tmp_path / "out" / NAME).stat().st_size
        assert outcome.report is not None
        assert outcome.report.passed
        assert {name for name, _ in told} == {DATASET_ID}
        assert [step.split()[0] for _, step in told] == ["scanning", "proving", "writing"]

    def test_equal_input_gives_equal_bytes(
        self, record: DatasetRecord, transport: Transport, settings: Settings, tmp_path: Path
    ) -> None:
        """Read from disk or over HTTP, listed in this order or that: the second run finds its file
        there already.
        """
        generate(record, tmp_path / "out", transport, settings)
        before = (tmp_path / "out" / NAME).stat()
        backwards = replace(record, files=record.files[::-1])
        for read in ("http", "local", "auto"):
            outcome = generate(
                backwards, tmp_path / "out", transport, settings.model_copy(update={"read": read})
            )
            assert not outcome.reference.written
            assert "existed already" in outcome.detail
        assert (tmp_path / "out" / NAME).stat().st_ino == before.st_ino

    def test_other_hosts_are_not_asked(
        self, record: DatasetRecord, settings: Settings, tmp_path: Path
    ) -> None:
        """Files on a host that is not allowed are refused before a byte is read, though they lie on
        this machine too.
        """
        with (
            make_transport(settings) as transport,
            pytest.raises(TransportError, match="allowed_hosts"),
        ):
            generate(record, tmp_path / "out", transport, settings)
        assert not (tmp_path / "out").exists()

    def test_a_directory_that_cannot_be_made_is_found_before_files_are_read(
        self,
        record: DatasetRecord,
        transport: Transport,
        settings: Settings,
        thredds_server: ThreddsServer,
        tmp_path: Path,
    ) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(StoreError) as caught:
            generate(record, tmp_path / "file" / "out", transport, settings)
        assert caught.value.code == "store-unwritable"
        assert not list(thredds_server.requests)

    def test_what_is_refused_leaves_nothing(
        self,
        thredds_server: ThreddsServer,
        transport: Transport,
        settings: Settings,
        tmp_path: Path,
    ) -> None:
        """Neither a file nor its directory."""
        files = DEFECTS["scalar_missing"].make(tmp_path / DRS_PATH)
        with pytest.raises(RefusedError) as caught:
            generate(record_of(thredds_server, files), tmp_path / "out", transport, settings)
        assert caught.value.code == DEFECTS["scalar_missing"].outcome
        assert not (tmp_path / "out").exists()

    def test_served_bytes_that_differ_from_those_on_disk_are_named(
        self,
        record: DatasetRecord,
        transport: Transport,
        settings: Settings,
        thredds_server: ThreddsServer,
        tmp_path: Path,
    ) -> None:
        """The public file has the size and the first bytes of the local one, and other values: what
        readers get decides.
        """
        other = write_monthly(tmp_path / "other", seed=1)[1]
        second = replace(record.files[1], path=str(other))
        assert other.stat().st_size == second.size
        with pytest.raises(TransportError, match="the server gives other bytes") as caught:
            generate(
                replace(record, files=(record.files[0], second, record.files[2])),
                tmp_path / "out",
                transport,
                settings,
            )
        assert caught.value.code == "transport-path-differs"
        assert not (tmp_path / "out").exists()

    def test_a_busy_data_node_is_asked_again(
        self,
        record: DatasetRecord,
        transport: Transport,
        settings: Settings,
        thredds_server: ThreddsServer,
        tmp_path: Path,
    ) -> None:
        """fsspec does not try a 503 again by itself: the proof does."""
        thredds_server.fault(Busy({10, 12, 14}), "*.nc")
        assert generate(record, tmp_path / "out", transport, settings).state == "written"

    def test_a_data_node_that_stays_busy_is_to_blame(
        self,
        record: DatasetRecord,
        transport: Transport,
        settings: Settings,
        thredds_server: ThreddsServer,
        tmp_path: Path,
    ) -> None:
        """And not the references: it may be tried again later."""
        thredds_server.fault(Busy(set(range(2, 1000))), "*.nc")
        with pytest.raises(TransportError) as stop:
            generate(record, tmp_path / "out", transport, settings)
        assert (stop.value.code, stop.value.retryable) == ("transport-http-503", True)

    @pytest.mark.parametrize(
        ("change", "error", "code"),
        [
            (lambda data: data[: len(data) // 2], TransportError, "transport-size-differs"),
            (lambda data: b"<html>".ljust(len(data)), FormatError, "file-not-netcdf"),
        ],
        ids=["truncated", "HTML"],
    )
    def test_files_that_are_none(
        self,
        record: DatasetRecord,
        transport: Transport,
        settings: Settings,
        tmp_path: Path,
        change: Any,
        error: Any,
        code: str,
    ) -> None:
        """A file that was cut short or replaced by a page after it was registered."""
        spoil(Path(str(record.files[2].path)), change)
        with pytest.raises(error, match=record.files[2].name) as caught:
            generate(record, tmp_path / "out", transport, settings)
        assert caught.value.code == code
        assert not (tmp_path / "out").exists()

    def test_other_bytes_under_the_name_need_force(
        self, record: DatasetRecord, transport: Transport, settings: Settings, tmp_path: Path
    ) -> None:
        """What is there is not touched, until it is asked for."""
        (tmp_path / NAME).write_text("{}")
        with pytest.raises(StoreError) as caught:
            generate(record, tmp_path, transport, settings)
        assert caught.value.code == "store-bytes-differ"
        assert (tmp_path / NAME).read_text() == "{}"
        outcome = generate(record, tmp_path, transport, settings, force=True)
        assert outcome.reference.written


class TestKeepMade:
    def test_each_output_with_its_own_proof(
        self, record: DatasetRecord, transport: Transport, settings: Settings, tmp_path: Path
    ) -> None:
        """By the bytes of each; what the dataset is known by is the first output."""
        first = generate(record, tmp_path / "first", transport, settings)
        zst = settings.with_outputs(("json.zst",))
        second = generate(record, tmp_path / "second", transport, zst)
        assert second.report is not None
        others = {"others": (second.reference,), "other_reports": (second.report,)}
        ledger = Ledger(settings.ledger)
        keep_made(replace(first, **others), ledger)
        for made in (first, second):
            assert kept_proof(made.reference.path, ledger) == made.report
        last = ledger.last(DATASET_ID)
        assert last is not None
        assert last.path == first.reference.path

    def test_outcomes_in_order(
        self, record: DatasetRecord, transport: Transport, settings: Settings, tmp_path: Path
    ) -> None:
        """What was done, the proof with it; and what was not, with its code."""
        ledger = Ledger(settings.ledger)
        keep_made(generate(record, tmp_path / "out", transport, settings), ledger)
        assert '"passed": true' in ledger.report(DATASET_ID)
        refused = RefusedError(DATASET_ID, ())
        keep_made(failure(DATASET_ID, Verb.GENERATE, refused), ledger)
        written, failed = ledger.entries(DATASET_ID)
        assert (written.verb, written.state, written.href, written.proved) == (
            "generate",
            "written",
            str(tmp_path / "out" / NAME),
            True,
        )
        assert (failed.verb, failed.state, failed.code, failed.proved) == (
            "generate",
            "refused",
            "refused",
            False,
        )

    def test_refusals_are_told_from_failures(self) -> None:
        """Refused: the files are not to be combined. Failed: something went wrong."""
        assert failure("x", Verb.PUBLISH, RefusedError("x", ())).state == "refused"
        assert failure("x", Verb.PUBLISH, StoreError("x", "y")).state == "failed"


def test_catalogue(
    record: DatasetRecord, transport: Transport, settings: Settings, tmp_path: Path
) -> None:
    """Without a server, a static catalogue shows the link; once, however often it is added."""
    made = generate(record, tmp_path / "out", transport, settings)
    shown = [catalogue(made, record, tmp_path / "catalog", settings) for _ in range(2)]
    assert [(outcome.state, outcome.reference) for outcome in shown] == [
        ("linked", made.reference)
    ] * 2
    reference = made.reference
    assert reference is not None
    import pystac

    (item,) = pystac.Catalog.from_file(tmp_path / "catalog" / "catalog.json").get_items(
        recursive=True
    )
    assert item.assets["reference_file"].href == reference.href
    assert os.path.exists(reference.href)


def test_a_file_made_by_another_version_is_left_alone(
    record: DatasetRecord, tmp_path: Path, transport: Transport, settings: Settings
) -> None:
    """Readers see the same; and bytes under a published name never change."""
    made = Path(generate(record, tmp_path, transport, settings).reference.path)
    older = made.read_bytes().replace(b'\\"esgvzarr ', b'\\"esgvzarr 0.0.')
    made.write_bytes(older)
    again = generate(record, tmp_path, transport, settings)
    assert not again.reference.written
    assert made.read_bytes() == older
    assert generate(record, tmp_path, transport, settings, force=True).reference.written
    assert made.read_bytes() != older


def test_very_many_chunks_are_written_with_advice(
    record: DatasetRecord, tmp_path: Path, transport: Transport, settings: Settings
) -> None:
    """And the advice is good: the same data are read from the parquet that it speaks of."""
    made = generate(record, tmp_path, transport, settings.model_copy(update={"many_chunks": 3}))
    assert [finding.code for finding in made.warnings] == ["chunks-many"]
    assert not generate(record, tmp_path, transport, settings).warnings
    kerchunk_df = pytest.importorskip("kerchunk.df")
    pytest.importorskip("fastparquet")
    path = made.reference.path
    kerchunk_df.refs_to_dataframe(path, str(tmp_path / "references.parquet"))
    options: dict[str, Any] = {"engine": "kerchunk", "open_dataset_options": {"chunks": None}}
    remote = {"remote_protocol": "http", "remote_options": {"asynchronous": True}}
    parquet = xarray.open_dataset(
        str(tmp_path / "references.parquet"), storage_options=remote, **options
    )
    xarray.testing.assert_identical(parquet.load(), xarray.open_dataset(path, **options).load())


class LateIndex(ShelfIndex):
    """It takes a link, and shows it later."""

    def add_link(self, dataset_id: DatasetId, link: AccessLink) -> LinkState:
        return LinkState.PENDING


class TestShow:
    def test_says_whether_the_index_shows_the_link(self, shelf: Shelf) -> None:
        shelf.place.write_text("{}")
        reference = ReferenceFile(str(shelf.place), str(shelf.place), 2, "ab" * 32, written=True)
        made = Written(str(shelf.record.id), Verb.GENERATE, "", reference)
        with make_transport(shelf.settings) as transport:
            late = LateIndex(shelf.root / "shelf")
            sent = show(made, shelf.record, late, transport, shelf.settings)
            shown = show(made, shelf.record, shelf.index, transport, shelf.settings)
            again = show(made, shelf.record, shelf.index, transport, shelf.settings)
        assert (sent.state, sent.detail) == ("pending", f"{shelf.place} was sent to the index")
        assert (shown.state, shown.detail) == ("linked", f"{shelf.place} is shown by the index")
        assert again.state == "linked"
        assert {one.verb for one in (sent, shown, again)} == {Verb.PUBLISH}


class TestDiscard:
    def test_deletes_a_file_to_which_no_link_leads(self, shelf: Shelf) -> None:
        shelf.place.write_text("{}")
        discard(str(shelf.place), str(shelf.place), shelf.record, shelf.index)
        assert not shelf.place.exists()
        discard(str(shelf.place), str(shelf.place), shelf.record, shelf.index)

    def test_leaves_a_file_that_is_linked(self, shelf: Shelf) -> None:
        shelf.link()
        discard(str(shelf.place), str(shelf.place), shelf.record, shelf.index)
        assert shelf.place.exists()
        discard(str(shelf.place), "https://node.example/other", shelf.record, shelf.index)
        assert not shelf.place.exists()

    def test_leaves_a_file_of_which_the_index_cannot_say_whether_it_is_linked(
        self, shelf: Shelf, caplog: pytest.LogCaptureFixture
    ) -> None:
        shelf.place.write_text("{}")
        shelf.item().write_text("{}")
        discard(str(shelf.place), str(shelf.place), shelf.record, shelf.index)
        assert shelf.place.exists()
        assert f"{shelf.place} stays" in caplog.text
