"""What a dry run says."""

from __future__ import annotations

from dataclasses import replace

from esgvzarr.link.dry_run import PlannedFile
from esgvzarr.model import ReferenceFile
from esgvzarr.output.reading import Reading


def test_a_planned_file_says_whether_it_would_be_written() -> None:
    reference = ReferenceFile("/a.json", "https://a/a.json", 12, "ab" * 32, written=True)
    assert str(PlannedFile(reference, Reading())) == "/a.json: 12 bytes would be written"
    there = replace(reference, written=False)
    said = "/a.json: 12 bytes is there already, with equal bytes"
    assert str(PlannedFile(there, Reading())) == said
