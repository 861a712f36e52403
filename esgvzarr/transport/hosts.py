"""Which hosts a record lets us ask."""

from __future__ import annotations

from ..model import DatasetRecord
from . import Transport, host_of, is_url


def allow_hosts(transport: Transport, record: DatasetRecord, *, named: bool = False) -> None:
    """Let the data node of a record be fetched from, and the hosts of its files.

    They differ where a node serves its files under another name: CEDA's is ``ceda.ac.uk``, and its
    files are at ``dap.ceda.ac.uk``. A record could as well name any host as its data node, so this
    gives it nothing more: hosts that only records name must be at public addresses.

    Args:
        transport: fetches.
        record: of a dataset.
        named: by the operator: the dataset is registered from this node.
    """
    hosts = {host_of(file.url) for file in record.files if is_url(file.url)}
    for host in (record.data_node, *sorted(hosts)):
        transport.allow(host, named=named)
