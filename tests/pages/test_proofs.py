"""What pages say of the proof, however they were made: a proof is kept in the ledger."""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from esgvzarr import cli
from esgvzarr.testing import DATASET_ID, ThreddsServer
from esgvzarr.testing.datasets import specs_of, write_files

NAME = f"{DATASET_ID}.json"
SAID = re.compile(r"On (\d{4}-\d\d-\d\d) the references were read back .*?(\d+) checks", re.DOTALL)
WITHOUT = "made without the record of the proof"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Settings with a ledger of the test's own."""
    path = tmp_path / "esg.yaml"
    path.write_text(json.dumps({"esgvzarr": {"ledger": str(tmp_path / "ledger.sqlite")}}))
    return path


@pytest.fixture
def generated(config: Path, tmp_path: Path) -> Path:
    """The directory into which ``esgvzarr generate`` wrote."""
    files = write_files(tmp_path / "data", specs_of((2, 2), grid=(2, 3)))
    out = tmp_path / "out"
    with ThreddsServer(tmp_path / "data") as server:
        urls = [server.url_of(file) for file in files]
        run("generate", *urls, "--dataset-id", DATASET_ID, "--output-dir", out, "--config", config)
    return out


def run(*arguments: Any) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(list(map(str, arguments)))
    assert stop.value.code == 0


def page_of(directory: Path) -> str:
    return (directory / f"{DATASET_ID}.html").read_text()


def assert_proved(page: str) -> None:
    """It says when the references were proved, and by how many checks."""
    found = SAID.search(page)
    assert found is not None
    assert found[1] == datetime.now(UTC).date().isoformat()
    assert int(found[2]) > 3
    assert WITHOUT not in page


def test_pages_of_a_directory_tell_the_proof_that_generate_kept(
    generated: Path, config: Path
) -> None:
    run("pages", generated, "--url", "https://node.example/zarr", "--config", config)
    assert_proved(page_of(generated))


def test_a_page_without_the_proof_is_renewed_when_the_ledger_has_it(
    generated: Path, config: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere.yaml"
    elsewhere.write_text(json.dumps({"esgvzarr": {"ledger": str(tmp_path / "other.sqlite")}}))
    run("pages", generated, "--config", elsewhere)
    assert WITHOUT in page_of(generated)
    run("pages", generated, "--config", config)
    assert_proved(page_of(generated))


def test_the_proof_of_other_bytes_is_not_told(generated: Path, config: Path) -> None:
    """The reference file was changed since it was proved."""
    reference = generated / NAME
    reference.write_text(reference.read_text().replace("K", "k", 1))
    run("pages", generated, "--config", config)
    assert WITHOUT in page_of(generated)


def test_a_page_that_is_renewed_without_the_ledger_keeps_the_proof_of_the_same_bytes(
    generated: Path, config: Path, tmp_path: Path
) -> None:
    run("pages", generated, "--config", config)
    elsewhere = tmp_path / "elsewhere.yaml"
    elsewhere.write_text(json.dumps({"esgvzarr": {"ledger": str(tmp_path / "other.sqlite")}}))
    before = page_of(generated)
    run("pages", generated, "--url", "https://node.example/zarr", "--config", elsewhere)
    assert page_of(generated) != before
    assert_proved(page_of(generated))
    os.utime(generated / NAME)
    run("pages", generated, "--config", elsewhere)
    assert_proved(page_of(generated))
    reference = generated / NAME
    reference.write_text(reference.read_text().replace("K", "k", 1))
    run("pages", generated, "--config", elsewhere)
    assert WITHOUT in page_of(generated)


def test_a_page_is_renewed_when_its_directory_gets_a_url(generated: Path, config: Path) -> None:
    """A page draws a map where the reference file is served; without URL the page keeps its own."""
    run("pages", generated, "--config", config)
    assert '"href": ""' in settings_of(page_of(generated))
    run("pages", generated, "--url", "https://node.example/zarr", "--config", config)
    assert f'"href": "./{NAME}"' in settings_of(page_of(generated))
    before = os.stat(generated / f"{DATASET_ID}.html").st_mtime_ns
    run("pages", generated, "--config", config)
    assert os.stat(generated / f"{DATASET_ID}.html").st_mtime_ns == before


def settings_of(page: str) -> str:
    return page.partition('id="settings">')[2].partition("</script>")[0]


def test_generate_with_a_catalogue_keeps_the_proof_too(config: Path, tmp_path: Path) -> None:
    files = write_files(tmp_path / "data", specs_of((2,), grid=(2, 3)))
    out = tmp_path / "out"
    with ThreddsServer(tmp_path / "data") as server:
        source = [server.url_of(files[0]), "--dataset-id", DATASET_ID]
        places = ["--output-dir", out, "--catalog", tmp_path / "catalogue"]
        run("generate", *source, *places, "--config", config)
    run("pages", out, "--config", config)
    assert_proved(page_of(out))
