"""The public functions: one for each command, with defaults, and not hidden by rooms."""

from __future__ import annotations

import argparse
import importlib
import inspect
import sys
from pathlib import Path

import pytest
import xarray

import esgvzarr
from esgvzarr.cli import make_parser
from esgvzarr.settings import Settings
from esgvzarr.testing import DATASET_ID, DEFECTS, write_monthly

NOT_FUNCTIONS = {
    "publish": "takes the arguments of esgpublish; programs that publish call `link`",
    "backfill": "runs for hours, with signals and a bar: `esgvzarr.backfill.backfill`",
    "demo": "prints a tour",
    "pages": "writes pages for a web server: `esgvzarr.pages`",
    "show": "prints; `references` and `open_dataset` give what it shows",
}
"""Commands without a public function, and why."""
NAMES = {
    "all": "every",
    "output_dir": "out",
    "target": "href",
    "allow_host": "allowed_hosts",
    "variable": "variables",
}
"""Option -> parameter or setting, where the names differ."""
NOT_PARAMETERS = {
    ("generate", "dry_run"): "`references` writes nothing",
    ("combine", "dry_run"): "the document is not made without its place",
    ("generate", "catalog"): "`esgvzarr.link.add.catalogue`",
    ("audit", "repair"): "`esgvzarr.audit.repair.repair`, for what `audit` returned",
    ("audit", "dry_run"): "only with --repair",
}
"""Options without a parameter, and why."""
PRINTING = {"help", "json", "verbose"}


def commands() -> dict[str, argparse.ArgumentParser]:
    for action in make_parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    raise AssertionError("no commands")


@pytest.mark.parametrize("name", sorted(commands().keys() - NOT_FUNCTIONS))
def test_each_option_of_a_command_is_a_parameter_of_its_function(name: str) -> None:
    function = getattr(esgvzarr, name)
    parameters = inspect.signature(function).parameters
    takes_settings = "settings" in parameters
    for action in commands()[name]._actions:
        option = NAMES.get(action.dest, action.dest)
        if option in PRINTING or (name, option) in NOT_PARAMETERS:
            continue
        is_setting = takes_settings and option in Settings.model_fields
        assert option in parameters or is_setting, f"{name}: {action.dest}"


def test_the_commands_without_a_function_are_commands() -> None:
    assert NOT_FUNCTIONS.keys() <= commands().keys()
    assert not {name for name in NOT_FUNCTIONS if name in esgvzarr.__all__}


@pytest.mark.parametrize(
    "name", ["audit", "combine", "doctor", "extract", "generate", "inspect", "link"]
)
def test_a_function_is_not_hidden_by_the_room_of_its_name(name: str) -> None:
    room = importlib.import_module(f"esgvzarr.{name}")
    assert inspect.ismodule(room)
    assert inspect.isfunction(getattr(esgvzarr, name))


def test_the_package_lists_its_public_names() -> None:
    assert dir(esgvzarr) == sorted(esgvzarr.__all__)


def open_all(files: list[Path]) -> xarray.Dataset:
    return xarray.open_mfdataset(
        files,
        combine="nested",
        concat_dim="time",
        data_vars="minimal",
        coords="minimal",
        compat="override",
    )


class TestReferences:
    @pytest.fixture
    def files(self, tmp_path: Path) -> list[Path]:
        return write_monthly(tmp_path / "files", lengths=(2, 3))

    def test_open_before_anything_is_written(self, files: list[Path]) -> None:
        references = esgvzarr.references(files, dataset_id=DATASET_ID)
        with open_all(files) as expected:
            xarray.testing.assert_equal(
                references.to_xarray()["tas"].load(), expected["tas"].load()
            )
        assert {path.suffix for path in files[0].parent.iterdir()} == {".nc"}

    def test_say_what_they_are_in_a_line_and_in_a_notebook(self, files: list[Path]) -> None:
        references = esgvzarr.references(files, dataset_id=esgvzarr.DatasetId.parse(DATASET_ID))
        assert repr(references).startswith(f"<References of {DATASET_ID}: 2 files, ")
        assert "\n" not in repr(references)
        shown = references._repr_html_()
        assert "<td>tas<td>time: 5" in shown
        assert "&lt;References" in shown

    def test_prove_and_write_what_generate_writes(self, files: list[Path], tmp_path: Path) -> None:
        settings = {"ledger": tmp_path / "ledger.sqlite"}
        references = esgvzarr.references(files, dataset_id=DATASET_ID, **settings)
        assert references.prove().passed
        one = references.write(tmp_path / "one")
        other = esgvzarr.generate(files, tmp_path / "other", dataset_id=DATASET_ID, **settings)
        assert one.sha256 == other.reference.sha256
        assert esgvzarr.verify(Path(one.path), files, **settings).passed

    def test_count_segments(self, tmp_path: Path) -> None:
        files = DEFECTS["packing_differs"].make(tmp_path)
        references = esgvzarr.references(map(str, files), dataset_id=DATASET_ID)
        assert " segments" in repr(references)


def test_a_setting_that_there_is_not_is_an_error() -> None:
    with pytest.raises(esgvzarr.EsgvzarrError, match="reed"):
        esgvzarr.references("x.nc", dataset_id=DATASET_ID, reed="http")


def test_one_file_as_a_path_will_do(tmp_path: Path) -> None:
    (path,) = write_monthly(tmp_path, lengths=(2,))
    assert len(esgvzarr.references(path, dataset_id=DATASET_ID).record.files) == 1


@pytest.mark.parametrize(
    "module", ["link.states", "combine.rules", "audit.judgement", "extract.parts", "doctor.node"]
)
def test_a_module_of_a_room_is_imported_by_its_whole_name(module: str) -> None:
    """Though the room's name is that of a function."""
    names: dict[str, object] = {}
    exec(f"import esgvzarr.{module} as found", names)  # noqa: S102
    assert names["found"] is sys.modules[f"esgvzarr.{module}"]
    assert not inspect.ismodule(getattr(esgvzarr, module.partition(".")[0]))
