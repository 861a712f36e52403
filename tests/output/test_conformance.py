"""Each output does what outputs do; so does one that another package registers."""

from __future__ import annotations

from pathlib import Path

import pytest

import esgvzarr
from esgvzarr import DatasetId, DatasetRecord, Transport
from esgvzarr.generate import generate, verify_published
from esgvzarr.indexes.catalog import CatalogIndex
from esgvzarr.link.add import access_link
from esgvzarr.model import Layout
from esgvzarr.output import Output, esgvzarr_for, named, of_place, opening_call
from esgvzarr.settings import Settings
from esgvzarr.testing import DATASET_ID
from esgvzarr.testing.output_conformance import OutputTests

from . import skip_unless_installed


class TestBuiltIns(OutputTests):
    @pytest.fixture(params=["json", "json.zst", "parquet", "icechunk", "zarr3"])
    def output(self, request: pytest.FixtureRequest) -> Output:
        skip_unless_installed(request.param)
        return named(request.param)


class TestOutside(OutputTests):
    """A package that nothing here knows of: its module, and its entry point."""

    @pytest.fixture
    def output(self, outside_output: str) -> Output:
        return named(outside_output)

    @pytest.fixture
    def place(self, output: Output, tmp_path: Path) -> Path:
        directory = tmp_path / "out"
        directory.mkdir()
        return directory / f"{DATASET_ID}{output.suffix}"

    def test_it_is_written_linked_found_and_taken_back(
        self, output: Output, record: DatasetRecord, transport: Transport, tmp_path: Path
    ) -> None:
        """Beside JSON, as an asset of its own."""
        settings = Settings(outputs=("json", "notes"))
        made = generate(record, tmp_path / "made", transport, settings)
        paths = [Path(reference.path).name for reference in made.references]
        assert paths == [f"{DATASET_ID}.json", f"{DATASET_ID}.notes.json"]
        index = CatalogIndex(tmp_path / "stac")
        index.add_dataset(record)
        links = [access_link(record, reference, settings) for reference in made.references]
        for link in links:
            index.add_link(record.id, link)
        dataset_id = DatasetId.parse(DATASET_ID)
        assert [link.asset_key for link in index.links(dataset_id)] == ["reference_file", "notes"]
        item = index.find(dataset_id)
        assert item is not None
        assert item["assets"]["notes"]["title"] == "Notes"
        index.remove_link(record.id, links[1])
        assert [link.asset_key for link in index.links(dataset_id)] == ["reference_file"]
        path = made.references[1].path
        assert of_place(path) is output
        assert verify_published(path, (), transport, settings).passed
        assert esgvzarr.open_dataset(path)["tas"].shape == (36, 4, 6)
        assert opening_call(path, Layout.WHOLE).engine == "esgvzarr"
        assert esgvzarr_for(path) == "'esgvzarr[zstd]' someones-output"
