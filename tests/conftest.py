"""What all tests share: which are slow, how many examples are drawn, and a data node.

Servers and files come as fixtures of ``esgvzarr.testing.plugin``.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import HealthCheck

from esgvzarr.testing import DATASET_ID, StacServer, write_monthly
from esgvzarr.testing.node import DataNode

HERE = Path(__file__).parent
SLOW = {
    "audit/test_audit.py": "links dozens of datasets",
    "audit/test_repair.py": "links dozens of datasets",
    "cli/test_loops.py": "starts the program in processes of its own, and interrupts it",
    "backfill": "runs whole backfills, and kills them",
    "documents": "makes and proves whole simulations",
    "esgpublish": "runs the real esgpublish",
    "extract": "compares with CDO",
    "link/test_transitions.py": "kills a process at every transition",
    "link/test_live.py": "links, fails, resumes and audits with real servers",
    "link/test_legacy_indexes.py": "runs the real esgpublish",
    "link/test_lifecycle.py": "runs the real esgpublish, and kills it at every step",
    "output": "writes every defect with every output",
    "pages": "starts Chromium",
    "proof/test_over_http.py": "proves large datasets over HTTP",
    "security/test_bombs.py": "inflates much",
    "stage/test_apart.py": "starts several processes for each dataset",
    "test_demo.py": "runs the demo",
    "test_wall.py": "starts a process for each dataset",
    "test_workers.py": "starts clusters",
    "testing/test_defects.py": "makes and reads every defect",
    "testing/test_pgstac_server.py": "starts PostgreSQL",
    "trust/test_defects.py": "makes, references and reads every defect",
    "trust/test_end_to_end.py": "runs the real esgpublish",
    "trust/test_faults.py": "puts faults into a data node",
    "trust/test_odd_times.py": "makes and proves files of many calendars",
    "trust/test_properties.py": "makes random files",
    "trust/test_real_datasets.py": "references real datasets",
}
"""Directories and modules that `pytest -m "not slow"` leaves out, with the reason."""
SLOW_TESTS = {
    "cli/test_cli.py": [
        "TestFullAndClosedStreams::test_a_full_disk_is_said_in_one_line",
        "TestFullAndClosedStreams::test_a_full_standard_error_changes_no_exit_status",
        "TestFullAndClosedStreams::test_a_reader_that_ends_early_ends_the_command_quietly",
        "TestFullAndClosedStreams::test_closed_streams_are_as_good_as_any",
    ],
    "cli/test_printing.py": [
        "TestOfReferences::test_generate_ends_with_the_line_that_opens_its_file",
        "TestOfReferences::test_verify_counts_and_prints_all_only_with_verbose",
        "TestOfReferences::test_verify_prints_what_is_wrong_in_one_line_each",
        "TestOfReferences::test_verify_takes_the_item_that_shows_references",
        "test_generate_shows_a_percentage_on_a_terminal",
    ],
    "combine/test_combine.py": ["test_equal_input_gives_equal_bytes_in_any_order_of_files"],
    "combine/test_overlaps.py": ["test_a_chunk_that_neither_file_is_stated_for_is_missed"],
    "combine/test_several.py": [
        "test_a_variable_that_does_not_fit_is_a_group_of_its_own_and_named"
    ],
    "formats/test_hdf5.py": [
        "test_a_damaged_file_gives_an_error_or_libhdf5s_own_index",
        "test_no_more_bytes_than_the_metadata_and_the_head",
        "test_rounds_do_not_grow_with_the_number_of_files",
        "test_the_walk_finds_what_libhdf5_finds",
    ],
    "indexes/test_plugin.py": ["test_goes_through_the_life_of_a_link"],
    "link/test_add.py": [
        "TestGenerate::test_equal_input_gives_equal_bytes",
        "test_a_file_made_by_another_version_is_left_alone",
    ],
    "link/test_ledger.py": ["test_what_was_kept_survives_kill_9"],
    "proof/test_imports.py": ["test_the_proof_makes_no_lazy_arrays"],
    "proof/test_proof.py": [
        "test_a_chunk_that_was_dropped_is_missed_by_the_count_wherever_it_lies",
        "test_a_spoilt_reference_fails",
        "test_every_single_swap_of_neighbouring_chunks_is_found_in_full",
    ],
    "proof/test_share.py": ["test_shares_find_together_what_one_process_finds"],
    "reader/test_engine.py": [
        "test_a_dataset_goes_to_another_process_and_reads_there",
        "test_any_selection_is_that_of_the_whole",
        "test_every_step_is_what_its_file_alone_decodes_to",
        "test_looking_for_an_engine_imports_next_to_nothing_of_ours",
        "test_readers_need_nothing_that_makes_references",
        "test_stock_readers_get_advised_tasks_in_one_layer_and_without_a_warning",
    ],
    "reader/test_esgf.py": [
        "test_a_node_that_dies_in_the_middle_is_replaced_once_and_with_a_warning",
        "test_an_index_that_never_answers_is_waited_for_no_longer_than_the_limit",
        "test_references_that_cannot_be_read_are_looked_for_on_the_next_host",
    ],
    "security/test_fuzz.py": ["test_each_damaged_input_ends_in_an_outcome_with_a_code"],
    "security/test_hostile_documents.py": [
        "test_a_page_of_too_many_elements_is_refused",
        "test_any_json_is_a_dataset_or_a_typed_error",
    ],
    "security/test_hostile_references.py": [
        "test_whatever_json_is_given_the_answer_is_a_report_or_a_typed_error"
    ],
    "sources/test_thredds.py": ["test_a_page_of_many_files_is_read_in_time"],
    "security/test_security.py": ["test_what_expands_on_arrival_is_refused"],
    "test_codes.py": ["test_a_demo_whose_esgpublish_fails"],
    "test_docs.py": ["test_the_examples_of_the_api_run", "test_the_recipes_for_readers_run"],
    "testing/test_plugin.py": [
        "test_a_failed_conformance_test_of_a_stranger_shows_what_was_compared"
    ],
    "transport/test_in_flight.py": [
        "test_a_server_that_slows_down_beyond_16_is_asked_no_more_than_32_at_once"
    ],
    "test_packaging.py": [
        "test_a_command_without_its_packages_names_the_extra",
        "test_a_reader_needs_no_extra",
        "test_links_in_the_description_on_pypi_lead_to_pages_of_the_site",
        "test_the_source_distribution_is_complete_and_its_tests_run",
    ],
}
"""Single tests that take a second or more, or many times half of one."""


if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
    # Tests start hundreds of interpreters, and each would compile the package. The bytecode goes
    # where the tests keep what they know of each other, and not into the tree.
    sys.pycache_prefix = str(HERE.parent / ".pytest_cache" / "bytecode")
    sys.dont_write_bytecode = False
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix


# One profile for all modules, whichever is imported first. A loaded machine breaks no deadline.
_QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
hypothesis.settings.register_profile(
    "ci", max_examples=100, deadline=None, derandomize=True, suppress_health_check=_QUIET
)
hypothesis.settings.register_profile(
    "nightly", max_examples=3000, deadline=None, suppress_health_check=_QUIET
)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """``-n auto``: one worker more than cores, since tests wait for processes and for answers."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Tests of a module mostly run in one worker, which makes its servers and files once."""
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log) if config.getvalue("dist") == "load" else None


def is_slow_module(path: Path) -> bool:
    """Whether all tests of a module, or of a directory, are slow."""
    name = path.relative_to(HERE).as_posix()
    return name in SLOW or name.split("/")[0] in SLOW


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out slow modules before they are imported: each worker imports all that it collects."""
    is_left_out = config.option.markexpr == "not slow" and is_slow_module(collection_path)
    return True if is_left_out else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is slow."""
    for item in items:
        name = item.path.relative_to(HERE).as_posix()
        test = item.nodeid.partition("::")[2].partition("[")[0]
        if is_slow_module(item.path) or test in SLOW_TESTS.get(name, ()):
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Exempt what is imported and collected from garbage collections: it stays to the end.

    With all tests collected, one full collection took half a second, and took place hundreds of
    times.
    """
    gc.disable()
    try:
        result = yield
    finally:
        gc.freeze()
        gc.collect()  # so that Python knows how little is left, and still collects garbage as often
        gc.enable()
    return result


@pytest.fixture(scope="session")
def monthly_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The files of a small dataset, for all tests: to be read and copied, and not to be changed."""
    return write_monthly(tmp_path_factory.mktemp("monthly"))


@pytest.fixture
def node(tmp_path: Path, stac_server: StacServer, monthly_files: list[Path]) -> Iterator[DataNode]:
    """A data node with one small dataset, which is not registered in its index ``stac_server``.

    It serves plain HTTP, without CORS.
    """
    with DataNode(tmp_path / "node", stac_server.url, poll_timeout_s=3, retries=0) as node:
        node.add_dataset(DATASET_ID, monthly_files)
        yield node
