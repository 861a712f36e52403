"""Packages of others that register what they have: an index, an output, a format."""

from __future__ import annotations

from pathlib import Path


def write_distribution(site: Path, name: str, entry_points: str, code: str = "") -> None:
    """Write a distribution into a directory, which becomes installed when it is on the import path.

    Args:
        site: the directory.
        name: of the distribution, and of its module if there is code.
        entry_points: the text of ``entry_points.txt``.
        code: of its module; none is written without it.
    """
    info = site / f"{name}-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    (info / "entry_points.txt").write_text(entry_points)
    if code:
        (site / f"{name}.py").write_text(code)
