"""Check published references again: whether the served files are those that the references were
made from, and whether the link leads to the references.

For each dataset the reference file is fetched as readers fetch it, and the first bytes of each of
its files. The server's statements about a file are compared with those recorded when the references
were made. A file is read only if this leaves its state open.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..generate import make_transport
from ..settings import Settings
from .auditor import Auditor
from .auditor import Thoroughness as Thoroughness
from .findings import AuditResult as AuditResult
from .findings import keep_found
from .targets import Target as Target
from .targets import find_targets as find_targets

_BATCH = 64
"""Number of datasets whose files are requested together."""


def audit(
    targets: Sequence[Target],
    settings: Settings,
    thoroughness: Thoroughness = Thoroughness(),  # noqa: B008  (frozen)
    *,
    keep: bool = True,
) -> Iterator[AuditResult]:
    """Check each target.

    Args:
        targets: the result of `find_targets`.
        settings: how to fetch, the ledger, `data_paths`.
        thoroughness: how much is read.
        keep: whether the ledger stores the findings of datasets that it knows.

    Yields:
        The findings of each target, in their order.
    """
    with make_transport(settings) as transport:
        auditor = Auditor(transport, settings, thoroughness)
        for start in range(0, len(targets), _BATCH):
            found = auditor.look_at(targets[start : start + _BATCH])
            if keep:
                keep_found(found, settings)
            yield from found
