"""Tests that every output must pass, as a class: the tests of a new output subclass it and define
the fixture ``output``.

::

    class TestMyOutput(OutputTests):
        @pytest.fixture
        def output(self) -> MyOutput:
            return MyOutput()
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ..errors import ProofError, TransportError
from ..generate import make_references
from ..model import DatasetId, DatasetRecord, FileRecord, ReferenceSet
from ..output import Contents, Output
from ..output.parts import measure
from ..proof import verify
from ..transport import Transport
from .datasets import DATASET_ID, write_monthly


def rows_of(contents: Contents, path: str) -> set[tuple[object, ...]]:
    """Return key, URL, offset and size of each chunk of an array; only the keys of chunks that the
    output holds.
    """
    table = contents.arrays[path]
    rows: set[tuple[object, ...]] = {(tuple(key),) for key in table.inline.tolist()}
    for key, file, offset, size in zip(
        table.keys.tolist(), table.file_index, table.offsets, table.sizes, strict=True
    ):
        rows.add((tuple(key), contents.urls[file], int(offset), int(size)))
    return rows


class OutputTests:
    """``output`` can be written and read here."""

    @pytest.fixture
    def record(self, tmp_path: Path) -> DatasetRecord:
        """A dataset of three local files."""
        paths = write_monthly(tmp_path / "files", compression="zlib", shuffle=True)
        files = tuple(FileRecord(path.name, str(path), path.stat().st_size) for path in paths)
        return DatasetRecord(DatasetId.parse(DATASET_ID), "", files)

    @pytest.fixture
    def transport(self) -> Iterator[Transport]:
        """A transport that reads them."""
        with Transport() as transport:
            yield transport

    @pytest.fixture
    def references(self, record: DatasetRecord, transport: Transport) -> ReferenceSet:
        """The references to write."""
        return make_references(record, transport)

    @pytest.fixture
    def place(self, output: Output, tmp_path: Path) -> Path:
        """The place of the output."""
        return tmp_path / f"{DATASET_ID}{output.suffix}"

    def test_follows_the_protocol(self, output: Output) -> None:
        """An output has all names of the protocol."""
        assert isinstance(output, Output)
        assert output.suffix.startswith(".")
        assert output.asset_fields["title"]
        assert output.requirements

    def test_writes_what_it_says(
        self, output: Output, references: ReferenceSet, place: Path
    ) -> None:
        """It writes one file, or a directory, and nothing beside it."""
        output.write(references, place)
        assert place.is_dir() is output.directory
        left = {path.name for path in place.parent.iterdir()}
        assert left - {"files"} == {place.name}

    def test_reads_back_each_chunk(
        self, output: Output, references: ReferenceSet, place: Path
    ) -> None:
        """Each chunk is read back with its file, place and size, and the provenance too."""
        output.write(references, place)
        contents = output.staged(place, references).contents
        (group,) = references.groups
        for array in group.arrays:
            rows = rows_of(contents, array.name)
            urls = [references.files[n].file.url for n in array.file_index.tolist()]
            expected = zip(
                array.chunks.keys.tolist(),
                urls,
                array.chunks.offsets,
                array.chunks.sizes,
                strict=True,
            )
            for key, url, offset, size in expected:
                assert (tuple(key) or (0,), url, int(offset), int(size)) in rows
            assert len(rows) == array.chunk_count
        named = [file["url"] for file in contents.provenance["files"]]
        assert named == [file.file.url for file in references.files]

    def test_shows_what_the_files_hold(
        self,
        output: Output,
        references: ReferenceSet,
        record: DatasetRecord,
        transport: Transport,
        place: Path,
    ) -> None:
        """Values are equal through the staged and through the published output."""
        output.write(references, place)
        for artefact in (output.staged(place, references), output.read(str(place), transport)):
            report = verify(artefact, record.files, transport, location=str(place), full=True)
            assert report.passed, report.failures

    def test_opens_its_groups_undecoded(
        self, output: Output, references: ReferenceSet, place: Path
    ) -> None:
        """Groups open as stored, because the proof decodes nothing."""
        output.write(references, place)
        open_group = output.staged(place, references).opener({})
        dataset = open_group("", decode_cf=False, chunks=None)
        assert np.issubdtype(dataset["time"].dtype, np.floating)
        assert dataset["tas"].shape == (36, 4, 6)

    def test_knows_equal_content(
        self, output: Output, references: ReferenceSet, place: Path, tmp_path: Path
    ) -> None:
        """Equal references are the same for readers, and different ones are not."""
        other = tmp_path / f"other{output.suffix}"
        output.write(references, place)
        output.write(references, other, place)
        assert output.same(place, other)
        shutil.rmtree(other) if other.is_dir() else other.unlink()
        output.write(_fewer(references), other)
        assert not output.same(place, other)

    def test_leaves_what_is_present_alone(
        self, output: Output, references: ReferenceSet, place: Path, tmp_path: Path
    ) -> None:
        """Another state is written beside it, and the present output is not changed."""
        output.write(references, place)
        before = measure(place)
        output.write(_fewer(references), tmp_path / f"next{output.suffix}", place)
        assert measure(place) == before

    def test_says_where_it_came_from(
        self, output: Output, references: ReferenceSet, place: Path
    ) -> None:
        """The provenance can be read without opening the data."""
        output.write(references, place)
        assert output.provenance(place)["dataset_id"] == DATASET_ID

    def test_refuses_what_is_not_there(
        self, output: Output, place: Path, transport: Transport
    ) -> None:
        """A missing output raises an error of esgvzarr."""
        with pytest.raises((ProofError, TransportError)):
            output.read(str(place), transport)


def _fewer(references: ReferenceSet) -> ReferenceSet:
    """Return references without one variable."""
    from dataclasses import replace

    (group,) = references.groups
    arrays = tuple(array for array in group.arrays if array.name != "height")
    return replace(references, groups=(replace(group, arrays=arrays),))
