"""Find the index of a dataset, from ``esg.yaml`` or from esgcet's settings, and open it. Each kind
of index reads the settings that it needs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .. import esgpublish
from ..errors import SettingsError
from ..esg_yaml import read_config
from ..indexes import Index, Opening, address_in, kinds, open_at
from ..settings import Settings
from ..transport import Transport, host_of, is_url
from .task import IndexAddress

_USER = re.compile(r"(?<=://)[^/?#]*@")
"""User and password in a URL. They are removed from the stored location; no login uses them."""


def address_of_config(config: str | os.PathLike[str]) -> IndexAddress:
    """Return the index that ``esg.yaml`` names: one of another package, or the one that esgcet
    would choose.

    Raises:
        SettingsError: the file cannot be read, or names no index.
    """
    document = read_config(config)
    node = str(document.get("index_node") or "")
    others = [kind for kind in kinds() if kind not in esgpublish.INDEX_KINDS]
    found = address_in(document, node, others)
    if found is None:
        found = address_in(document, node, [esgpublish.index_kind(document)])
    return _address(found, config)


def address_of_registration(
    registration: esgpublish.Registration, config: str | os.PathLike[str]
) -> IndexAddress:
    """Return the index for the link of a dataset: one of another package that ``esg.yaml`` names,
    or the index to which esgcet registered the dataset.
    """
    node = str(registration.records[-1].get("index_node") or "")
    others = [kind for kind in kinds() if kind not in esgpublish.INDEX_KINDS]
    # esgcet drops keys of esg.yaml that it does not know
    found = address_in(read_config(config), node, others)
    if found is None:
        found = address_in(registration.config, node, [registration.index_kind])
    return _address(found, config)


def _address(found: IndexAddress | None, config: str | os.PathLike[str]) -> IndexAddress:
    if found is None:
        raise SettingsError(
            str(config),
            "names no index",
            expected="stac_config with stac_api, globus_index with index_UUID, or index_node",
            todo="Complete esg.yaml as esgpublish requires.",
            code="settings-index",
        )
    location = _USER.sub("", found.location)
    return replace(found, location=location, config=os.path.abspath(config))


def open_index(
    address: IndexAddress,
    transport: Transport,
    settings: Settings,
    registration: esgpublish.Registration | None = None,
) -> Index:
    """Open the index at an address. The transport allows its host from then on. Nothing is sent,
    and no login is made, before a change.

    Args:
        address: address of the index.
        transport: reads, and sends requests that need no login.
        settings: how long to wait.
        registration: the registration that esgcet just made in the index. Its settings hold the
            login; without it, ``esg.yaml`` does.

    Raises:
        SettingsError: this kind of index is not installed, or ``esg.yaml`` no longer exists.
    """
    if is_url(address.location):
        transport.allow(host_of(address.location), named=True)
    own = registration is not None and registration.index_kind == address.kind
    if own and registration is not None:
        opening = Opening(transport, settings, registration.config, registration.sent)
    else:
        opening = Opening(transport, settings, _config_of(address))
    return open_at(address, opening)


def _config_of(address: IndexAddress) -> Mapping[str, Any]:
    return read_config(address.config) if address.config else {}
