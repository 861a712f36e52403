"""Make the references of a dataset: scan its files, check and combine them. Nothing is written or
proved here.
"""

from __future__ import annotations

from functools import partial

from ..combine.overlaps import serve_once
from ..combine.several import combine_dataset
from ..errors import FormatError
from ..formats import Fetched, Reading, check_served, scan_and_keep
from ..model import DatasetRecord, ReferenceSet
from ..transport import Transport


def make_references(
    record: DatasetRecord,
    transport: Transport,
    *,
    read: str = "auto",
    keep: dict[str, Fetched] | None = None,
) -> ReferenceSet:
    """Make the references of a dataset: scan, check and combine its files. The references are not
    proved.

    Args:
        record: the dataset.
        transport: reads the files.
        read: ``http``, ``local`` or ``auto``, as the setting of that name.
        keep: receives what was read of each file over HTTP, for the proof.

    Raises:
        RefusedError, FormatError, TransportError: the references cannot be made; the error says
            why.
    """
    served = check_served(record.files, transport, read=read)
    try:
        scanned, fetched = scan_and_keep(record.files, transport, Reading(read, served))
    except FormatError as error:
        from .damage import explained

        raise explained(error, record.files, transport, read) from error.__cause__
    if keep is not None:
        keep.update(fetched)
    return combine_dataset(scanned, record.id, partial(serve_once, transport=transport, read=read))
