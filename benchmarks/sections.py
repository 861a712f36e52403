"""The section of a page that one program writes, while another writes the rest."""

from __future__ import annotations

from pathlib import Path

CMOR = "## Chunks of CMOR 3.14 { #cmor }"
"""Heading of the last section of docs/explanation/comparison.md, by ``benchmarks.segments``."""


def without_last(page: Path, heading: str) -> str:
    """The page before a section that ends it; all of it where there is no such section."""
    return page.read_text().partition(f"\n{heading}\n")[0].rstrip("\n") + "\n"


def last(page: Path, heading: str) -> str:
    """The section that ends a page, after an empty line; empty where it is not there."""
    if not page.exists():
        return ""
    _, found, text = page.read_text().partition(f"\n{heading}\n")
    return f"{found}{text}"


def replace_last(page: Path, heading: str, text: str) -> None:
    """Write the section that ends a page, in place of an older one."""
    page.write_text(f"{without_last(page, heading)}\n{heading}\n\n{text.strip()}\n")
