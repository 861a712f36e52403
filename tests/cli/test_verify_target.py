"""What is given to `verify` is a file, a URL or a dataset id."""

from __future__ import annotations

from pathlib import Path

import pytest

from esgvzarr.cli import main


def test_a_misspelt_path_is_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was said to be no dataset id."""
    monkeypatch.setenv("ESGVZARR_LEDGER", str(tmp_path / "ledger.sqlite"))
    with pytest.raises(SystemExit) as stopped:
        main(["verify", str(tmp_path / "typo.json")])
    assert stopped.value.code == 1
    assert "typo.json: no such file" in capsys.readouterr().err
