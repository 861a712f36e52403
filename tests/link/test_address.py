"""Which index is meant, and how it is reached."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from esgvzarr.errors import SettingsError
from esgvzarr.esgpublish import Registration
from esgvzarr.link.address import address_of_config, address_of_registration, open_index
from esgvzarr.settings import Settings
from esgvzarr.transport import Transport

from .shelf import ID, Shelf

STAC = {"stac_config": {"stac_api": "https://user:secret@stac.example/api"}}
TEXT = 'stac_config: {stac_api: "https://user:secret@stac.example/api"}\n'


def registered_in(kind: Any, config: dict[str, Any]) -> Registration:
    records = ({"index_node": "index.example"},)
    return Registration(records, paths={}, config=config, index_kind=kind, dry_run=False)


def test_an_index_of_another_package_that_esg_yaml_names_is_meant(shelf: Shelf) -> None:
    shelf.config.write_text(shelf.config.read_text() + TEXT)
    found = address_of_config(shelf.config)
    assert (found.kind, found.location, found.config) == (
        "shelf",
        str(shelf.root / "shelf"),
        str(shelf.config),
    )
    assert address_of_registration(registered_in("stac", STAC), shelf.config) == found
    assert address_of_registration(registered_in("solr", {}), shelf.config) == found


def test_else_it_is_the_one_in_which_esgcet_registers(tmp_path: Path) -> None:
    config = tmp_path / "esg.yaml"
    config.write_text(TEXT)
    found = address_of_config(config)
    assert (found.kind, found.location) == ("stac", "https://stac.example/api")  # no password
    config.write_text("data_node: node.example\n")
    again = address_of_registration(registered_in("stac", STAC), config)
    assert (again.kind, again.location) == ("stac", "https://stac.example/api")
    solr = address_of_registration(registered_in("solr", {}), config)
    assert solr.kind == "solr"
    assert "index.example" in solr.location


def test_esg_yaml_that_names_no_index_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "esg.yaml"
    config.write_text("data_node: node.example\n")
    with pytest.raises(SettingsError) as caught:
        address_of_config(config)
    assert caught.value.code == "settings-index"


@pytest.mark.parametrize("kind", ["shelf", "stac"])
def test_a_login_is_that_of_the_registration_in_the_same_index_alone(
    shelf: Shelf, kind: str
) -> None:
    with Transport() as transport:
        index = open_index(shelf.address, transport, Settings(), registered_in(kind, STAC))
    assert index.links(ID) == ()
    shelf.config.unlink()
    with Transport() as transport:
        if kind == shelf.address.kind:
            open_index(shelf.address, transport, Settings(), registered_in(kind, STAC))
            return
        with pytest.raises(SettingsError):  # how to log in is said by esg.yaml, which is gone
            open_index(shelf.address, transport, Settings(), registered_in(kind, STAC))
