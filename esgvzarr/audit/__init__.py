"""Check published references again: whether the served files are still those that the references
were made from, and whether the link leads to the references.

For each dataset the reference file is fetched as readers fetch it, and the first bytes of each of
its files; what the server says of a file is held against what it said when references were made.
Only what that does not decide is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..generate import make_transport
from ..settings import Settings
from .auditor import Auditor
from .auditor import Thoroughness as Thoroughness
from .findings import Audited as Audited
from .findings import keep_found
from .targets import Target as Target
from .targets import find_targets as find_targets

_BATCH = 64
"""Datasets whose files are asked for together."""


def audit(
    targets: Sequence[Target],
    settings: Settings,
    thoroughness: Thoroughness = Thoroughness(),  # noqa: B008  (frozen)
    *,
    keep: bool = True,
) -> Iterator[Audited]:
    """Check each target.

    Args:
        targets: of `find_targets`.
        settings: how to fetch, the ledger, `data_paths`.
        thoroughness: how much is read.
        keep: what is found of datasets that the ledger knows is kept there.

    Yields:
        What was found of each, in their order.
    """
    with make_transport(settings) as transport:
        auditor = Auditor(transport, settings, thoroughness)
        for start in range(0, len(targets), _BATCH):
            found = auditor.look_at(targets[start : start + _BATCH])
            if keep:
                keep_found(found, settings)
            yield from found
