"""Documents that esgvzarr wrote, read into tables."""

from __future__ import annotations

import mmap
from pathlib import Path

from esgvzarr.output.document import PROVENANCE, START, read_own

CHUNKS = 300_000


def test_pages_of_a_document_that_were_parsed_do_not_stay_in_memory(tmp_path: Path) -> None:
    """A document of ten million chunks has a gigabyte."""
    path = tmp_path / "references.json"
    with path.open("wb") as file:
        file.write(START)
        file.write(",".join(_entry(number) for number in range(CHUNKS)).encode())
        file.write(PROVENANCE + b'"{}"}')
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as document:
        contents = read_own(document, str(path))
        assert len(contents.arrays["tas"].keys) == CHUNKS
        assert _mapped_pages(path) < len(document) / 2


def _entry(number: int) -> str:
    return f'"tas/{number}.0.0":["https://data.example/thredds/fileServer/a.nc",{number},9]'


def _mapped_pages(path: Path) -> int:
    """Bytes of a mapped file that are in this process's memory."""
    lines = iter(Path("/proc/self/smaps").read_text().splitlines())
    for line in lines:
        if line.endswith(str(path)):
            resident = next(entry for entry in lines if entry.startswith("Rss:"))
            return int(resident.split()[1]) * 1024
    raise AssertionError(f"{path} is not mapped")
