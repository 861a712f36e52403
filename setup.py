"""Makes the long description; all else of the package stands in setup.cfg.

The README's links are relative, as a clone wants them. Relative links lead nowhere on PyPI, so
there they lead to the published documentation.
"""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent
DOCUMENTATION = "https://esgvzarr.readthedocs.io/en/latest/"
LINK = re.compile(r"!?\[([^]]*)\]\((?!https?://)([^)#]+)(#[^)]*)?\)")


def long_description() -> str:
    """The README, with links that work from anywhere."""
    return LINK.sub(_absolute, (ROOT / "README.md").read_text(encoding="utf-8"))


def _absolute(link: re.Match[str]) -> str:
    """A link into docs/ leads to the site; of another link only the text is left."""
    text, target, anchor = link.groups()
    if not target.startswith("docs/"):
        return text
    place = target.removeprefix("docs/")
    if place.endswith(".md"):
        place = f"{place.removesuffix('.md').removesuffix('index')}/".lstrip("/")
    mark = "!" if link[0].startswith("!") else ""
    return f"{mark}[{text}]({DOCUMENTATION}{place}{anchor or ''})"


if __name__ == "__main__":
    setup(long_description=long_description())
