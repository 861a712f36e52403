"""docs/internals/ledger.md says what the code does."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

from esgvzarr.link.states import Step
from esgvzarr.outcome import DONE, State

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "internals" / "ledger.md").read_text(encoding="utf-8")


def writer() -> ModuleType:
    place = DOCS / "write_internals.py"
    spec = importlib.util.spec_from_file_location(place.stem, place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_schema_and_the_table_of_transitions_are_those_of_the_code() -> None:
    assert writer().page() == PAGE, "stale: run python docs/write_internals.py"


def test_every_step_is_explained_and_has_its_row_of_what_a_kill_leaves() -> None:
    _, _, steps = PAGE.partition("## Steps and states")
    steps, _, kills = steps.partition("## What lies on disk at every kill")
    for step in Step:
        assert f"| `{step}` |" in steps
        assert f"| `{step}`" in kills


def test_the_states_after_which_no_change_is_awaited_are_named() -> None:
    last = PAGE.rpartition("**Changes that may come late.**")[2]
    assert all(f"`{state}`" in last for state in (*DONE, State.QUEUED))
