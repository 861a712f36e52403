"""Parts of pages that programs write, each between a mark and the end mark; the rest is written by
hand, or by another program.
"""

from __future__ import annotations

from pathlib import Path

TABLES = "<!-- tables made by benchmarks -->"
END_TO_END = "<!-- end to end, made by benchmarks -->"
DEFECTS = "<!-- defects, made by benchmarks.defects -->"
CMOR = "<!-- chunks of CMOR, made by benchmarks.segments -->"
END = "<!-- end -->"
"""Ends each of them."""


def replace_marked(page: Path, mark: str, text: str) -> None:
    """Replace what stands in a page between a mark and the end mark that follows it.

    Args:
        page: Markdown.
        mark: a comment that is in it once.
        text: comes in place of what was there.

    Raises:
        ValueError: the page lacks a mark.
    """
    before, start, rest = page.read_text().partition(mark)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise ValueError(f"{page} lacks {mark} with {END} after it")
    page.write_text(f"{before}{start}\n{text.strip()}\n{end}{after}")
