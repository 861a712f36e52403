"""Benchmarks and long trials. Their processes keep bytecode, as an installed package does: else
esgvzarr alone would be compiled in every one of them.
"""

from __future__ import annotations

import os

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
