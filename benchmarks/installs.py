"""How much each install weighs: ``python -m benchmarks.installs``.

Each extra is installed from this source tree into an environment of its own, without pip in it. The
numbers are the packages and the megabytes of that environment.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
MEGABYTE = 1_000_000
INSTALLS = {
    "xarray kerchunk zarr aiohttp dask cftime": "a reader without esgvzarr",
    ".": "a reader",
    ".[generator]": "generates, verifies, audits",
    ".[publisher]": "publishes with esgcet",
    ".[dev]": "changes esgvzarr",
}


def main() -> None:
    """Print a table, as docs/how-to/install.md has it."""
    print("| `pip install` | who | packages | MB |\n|---|---|--:|--:|")
    for requirement, who in INSTALLS.items():
        with tempfile.TemporaryDirectory() as folder:
            packages, size = measure(requirement.split(), Path(folder))
        shown = requirement.replace(".", "esgvzarr", 1) if requirement[0] == "." else requirement
        print(f"| `{shown}` | {who} | {packages} | {size / MEGABYTE:.0f} |", flush=True)


def measure(requirements: list[str], folder: Path) -> tuple[int, int]:
    """The number of packages, and their bytes on disk."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q"]
    subprocess.run([*install, "--no-compile", *requirements], cwd=ROOT, check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    size = 0
    for path in site.rglob("*"):
        if path.is_file() and not path.is_symlink():
            size += os.path.getsize(path)
    return len(list(site.glob("*.dist-info"))), size


if __name__ == "__main__":
    main()
