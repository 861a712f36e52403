"""Which index is meant, and how it is reached: read from ``esg.yaml``, or from what esgcet was
given; and opening it. Each kind of index says itself what it needs.
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
"""User and password in a URL. The location is kept and shown without them; no login uses them."""


def address_of_config(config: str | os.PathLike[str]) -> IndexAddress:
    """The index that ``esg.yaml`` names: one of another package, or as esgcet chooses among those
    that it may name.

    Raises:
        SettingsError: the file cannot be read, or names none.
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
    """The index in which a dataset is to be linked: one of another package that ``esg.yaml`` names,
    or that in which esgcet registered it.
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
            todo="Complete esg.yaml as esgpublish needs it.",
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
    """The index at an address. The transport may fetch from its host afterwards. Nothing is sent,
    and no login is made, before a change.

    Args:
        address: of the index.
        transport: reads, and sends what needs no login.
        settings: how long to wait.
        registration: that has just been made in it. Its settings say how to log in; without it,
            ``esg.yaml`` does.

    Raises:
        SettingsError: there is no such kind of index, or ``esg.yaml`` is gone.
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
