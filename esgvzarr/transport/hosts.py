"""Choose the hosts that a record allows."""

from __future__ import annotations

from ..model import DatasetRecord
from . import Transport, host_of, is_url


def allow_hosts(transport: Transport, record: DatasetRecord, *, named: bool = False) -> None:
    """Allow requests to the data node of a record, and to the hosts of its files.

    They differ if a node serves its files under another name: CEDA's is ``ceda.ac.uk``, and its
    files are at ``dap.ceda.ac.uk``. A record could also name any host as its data node, so allowing
    these hosts too adds no risk: hosts that only records name must have public addresses.

    Args:
        transport: fetches the files.
        record: record of a dataset.
        named: whether the operator named the hosts, because the dataset is registered from this
            node.
    """
    hosts = {host_of(file.url) for file in record.files if is_url(file.url)}
    for host in (record.data_node, *sorted(hosts)):
        transport.allow(host, named=named)
