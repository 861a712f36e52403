"""Which index, and how it is reached: from ``esg.yaml``, or from what esgcet was given. Opening one
is here, too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import esgpublish
from ..errors import SettingsError
from ..indexes import Index, connect
from ..settings import Settings, read_config
from ..transport import Transport, host_of, is_url
from .task import IndexAddress

_USER = re.compile(r"(?<=://)[^/?#]*@")
"""User and password in a URL: the location is kept and shown, and nobody logs in with them."""


def address_of_config(config: str | os.PathLike[str]) -> IndexAddress:
    """The index that ``esg.yaml`` names, as esgcet chooses among those that it may name.

    Raises:
        SettingsError: the file cannot be read, or names none.
    """
    document = read_config(config)
    kind = esgpublish.index_kind(document)
    return _address(kind, str(document.get("index_node") or ""), document, config)


def address_of_registration(
    registration: esgpublish.Registration, config: str | os.PathLike[str]
) -> IndexAddress:
    """The index in which esgcet registered the dataset."""
    node = str(registration.records[-1].get("index_node") or "")
    return _address(registration.index_kind, node, registration.config, config)


def _address(
    kind: str, index_node: str, document: Mapping[str, Any], config: str | os.PathLike[str]
) -> IndexAddress:
    stac = document.get("stac_config") or {}
    api = stac.get("stac_api") if isinstance(stac, Mapping) else None
    locations = {
        "stac": api or document.get("stac_api"),
        "globus": document.get("index_UUID"),
        "solr": index_node,
    }
    if not locations[kind]:
        raise SettingsError(
            str(config),
            "names no index",
            expected="stac_config with stac_api, globus_index with index_UUID, or index_node",
            todo="Complete esg.yaml as esgpublish needs it.",
            code="settings-index",
        )
    certificate = esgpublish.client_certificate(document) if kind == "solr" else None
    return IndexAddress(
        kind, _USER.sub("", str(locations[kind])), os.path.abspath(config), str(certificate or "")
    )


def open_index(
    address: IndexAddress,
    transport: Transport,
    settings: Settings,
    registration: esgpublish.Registration | None = None,
) -> Index:
    """The index at an address. Its host may be fetched from hereafter. Nothing is sent, and nobody
    logs in, before a change.

    Args:
        address: of the index.
        transport: reads, and sends what needs no login.
        settings: how long to wait.
        registration: that has just been made in it. Its settings say how to log in; without it,
            ``esg.yaml`` does.

    Raises:
        SettingsError: there is no such kind of index, or ``esg.yaml`` is gone.
    """
    wait_s = settings.poll_timeout_s
    sent = registration.sent if registration else None
    if address.kind == "solr":
        transport.allow(host_of(f"https://{address.location}"), named=True)
        certificate = Path(address.certificate) if address.certificate else None
        return connect(
            "solr",
            index_node=address.location,
            transport=transport,
            certificate=certificate,
            poll_timeout_s=wait_s,
            registered=sent,
        )
    if address.kind == "globus":
        return connect(
            "globus",
            index_uuid=address.location,
            poll_timeout_s=wait_s,
            retries=settings.retries,
            registered=sent,
        )
    if is_url(address.location):
        transport.allow(host_of(address.location), named=True)
    client = esgpublish.TransactionClient(
        registration.config if registration else login_of(address)
    )
    options: dict[str, Any] = {
        "poll_timeout_s": wait_s,
        "list_access": settings.list_access,
        "schema_of": esgpublish.item_schema,
    }
    return connect("stac", api_url=address.location, client=client, transport=transport, **options)


def login_of(address: IndexAddress) -> dict[str, Any]:
    """What esgcet's transaction clients look at."""
    stac = read_config(address.config).get("stac_config") if address.config else None
    return {"stac_config": stac} if stac else {"stac_api": address.location}
