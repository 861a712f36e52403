"""Speed and memory against kerchunk, VirtualiZarr and esgcet, as ratios in the same run. ``python
-m benchmarks`` does it all.

Processes keep bytecode, as those of an installed package do: else esgvzarr alone would be compiled
in every one of them.
"""

from __future__ import annotations

import os

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
