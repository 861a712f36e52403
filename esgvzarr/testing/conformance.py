"""Tests that every index must pass, as a class: the tests of a new index subclass it and define the
fixture ``index``.

::

    from esgvzarr.testing.conformance import OTHER_NODES, RECORD, IndexTests

    class TestMyIndex(IndexTests):
        @pytest.fixture
        def index(self) -> MyIndex:
            ...
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from ..errors import LinkError
from ..indexes import Index, LinkState, record_in
from ..model import AccessLink, DatasetId, DatasetRecord, FileRecord
from ..sources import from_index

NODE = "data-node.example.org"
DATASET = DatasetId.parse(
    "CMIP6.CMIP.SNU.SAM0-UNICON.historical.r1i1p1f1.SImon.siconc.gn.v20190323"
)
FOLDER = f"https://{NODE}/thredds/fileServer/esg_dataroot/{str(DATASET).replace('.', '/')}"
RECORD = DatasetRecord(
    DATASET,
    NODE,
    tuple(
        FileRecord(
            name,
            f"{FOLDER}/{name}",
            83268,
            "ab" * 32,
            "SHA256",
            "hdl:21.14100/28824573-a4b4-4d45-a7b3-cd62e1f2beca",
        )
        for name in ("siconc_185001-185912.nc", "siconc_186001-186912.nc")
    ),
    pid="hdl:21.14100/489253f7-f169-3594-ba92-5c7acdd7ae3b",
)
LINK = AccessLink(
    href=f"{FOLDER}/{DATASET}.json",
    data_node=NODE,
    media_type="application/vnd.zarr+kerchunk",
    roles=("data", "virtual", "references"),
    size=123456,
    sha256="0123456789abcdef" * 4,
    open_kwargs={
        "engine": "kerchunk",
        "chunks": {"time": 120},
        "open_dataset_options": {"chunked_array_type": "none"},
    },
    local_path=f"{str(DATASET).replace('.', '/')}/{DATASET}.json",
)
CHANGED = replace(LINK, size=123457, sha256="fedcba9876543210" * 4)
"""A link to the same place, with other bytes."""
MOVED = replace(CHANGED, href=f"https://{NODE}/zarr/{DATASET}.json", local_path=None)
"""A link to another place of the same data node."""
OTHER_NODES = replace(
    LINK, href=LINK.href.replace(NODE, "replica.example.org"), data_node="replica.example.org"
)
ABSENT = DatasetId.parse("CMIP6.CMIP.SNU.SAM0-UNICON.historical.r1i1p1f1.SImon.siconc.gn.v20991231")


_TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")


def _timeless(rest: object) -> str:
    """Return a record without the times at which it was made or changed."""
    return _TIME.sub("", json.dumps(rest, sort_keys=True))


class IndexTests:
    """``index`` holds DATASET, whose files lie on both data nodes, without any reference link; it
    does not hold ABSENT.

    RECORD describes DATASET with the files of NODE. The fixture also registers the same files on
    ``OTHER_NODES.data_node``: in a STAC item as ``alternate`` of each asset, in Solr as documents
    of their own. All these names are in this module.
    """

    @pytest.fixture
    def impatient_index(self, index: Index) -> Index:
        """The same index, looked at by a client that waits less for what is not there; ``index``,
        unless it is told otherwise.
        """
        return index

    def shown(self, link: AccessLink) -> AccessLink:
        """Return the part of a link that the index can store; all of it by default."""
        return link

    def rest(self, record: Mapping[str, Any]) -> Any:
        """Return the part of a record that must not change when a link is added and removed; by
        default the assets of a STAC item.
        """
        return record["assets"]

    def test_follows_the_protocol(self, index: Index) -> None:
        """An index has all methods of the protocol."""
        assert isinstance(index, Index)

    def test_is_not_named_by_an_empty_configuration(self, index: Index) -> None:
        """An index is not chosen by an empty configuration; otherwise no other index could be
        used.
        """
        assert type(index).configured({}, "") is None
        assert type(index).location_at("https://example.org/page.html", b"<html>") == ""

    def test_previews_what_a_link_changes(self, index: Index) -> None:
        """The preview equals the record after the change, and the record itself is not changed."""
        before = record_in(index, RECORD)
        assert before is not None
        kept = copy.deepcopy(before)
        after = index.with_link(before, LINK)
        assert after is not None
        assert before == kept
        assert index.with_link(after, LINK) is None
        assert LINK.href in json.dumps(after)
        assert LINK.href not in json.dumps(index.without_link(after, LINK))
        index.add_link(DATASET, LINK)
        shown = record_in(index, RECORD)
        assert shown is not None
        assert _timeless(self.rest(shown)) == _timeless(self.rest(after))

    def test_previews_a_link_of_a_dataset_that_is_not_registered_yet(self, index: Index) -> None:
        """The record of an unregistered dataset has all that a link needs."""
        after = index.with_link(index.to_be(RECORD), LINK)
        assert after is not None
        assert LINK.href in json.dumps(after)

    def test_finds_the_record(self, index: Index) -> None:
        """The record is returned as it is; a missing record is None, not an error."""
        record = index.find(DATASET)
        assert record is not None
        assert str(DATASET) in str(record["id"])
        assert index.find(ABSENT) is None
        assert index.links(ABSENT) == ()

    def test_describes_the_dataset(self, index: Index) -> None:
        """The documents describe all files of the requested data node."""
        found = from_index(index.documents(DATASET, NODE), DATASET)
        assert (found.id, found.data_node) == (DATASET, NODE)
        assert {file.url for file in found.files} == {file.url for file in RECORD.files}
        assert not index.documents(ABSENT, NODE)

    def test_lists_its_datasets(self, index: Index) -> None:
        """Each dataset is listed once for each of its data nodes, whatever the pages."""
        found: list[tuple[str, str]] = []
        page = ""
        while True:
            hits = index.search(page=page)
            found += hits.datasets
            page = hits.next_page
            if not page:
                break
        assert {name for name, _ in found} == {str(DATASET)}
        assert NODE in {node for _, node in found}
        assert len(found) == len(set(found))

    def test_shows_an_added_link(self, index: Index) -> None:
        """The link that is read equals the link that was added, field for field."""
        assert index.links(DATASET) == ()
        assert index.add_link(DATASET, LINK) is LinkState.ADDED
        assert index.links(DATASET) == (self.shown(LINK),)

    def test_adds_once(self, index: Index) -> None:
        """Adding the same link again changes nothing."""
        index.add_link(DATASET, LINK)
        before = index.find(DATASET)
        assert index.add_link(DATASET, LINK) is LinkState.UNCHANGED
        assert index.find(DATASET) == before

    def test_replaces_its_own_link(self, index: Index) -> None:
        """A data node has one link on a dataset: a new one replaces the old one."""
        index.add_link(DATASET, LINK)
        assert index.add_link(DATASET, MOVED) is LinkState.ADDED
        assert index.links(DATASET) == (self.shown(MOVED),)

    def test_shows_other_bytes(self, index: Index) -> None:
        """Other bytes at the same place are a change for an index that shows a checksum."""
        index.add_link(DATASET, LINK)
        expected = (
            LinkState.UNCHANGED if self.shown(CHANGED) == self.shown(LINK) else LinkState.ADDED
        )
        assert index.add_link(DATASET, CHANGED) is expected
        assert index.links(DATASET) == (self.shown(CHANGED),)

    def test_keeps_the_links_of_other_nodes(self, index: Index) -> None:
        """Adding or changing a link changes no other link."""
        index.add_link(DATASET, OTHER_NODES)
        assert index.add_link(DATASET, LINK) is LinkState.ADDED
        assert index.add_link(DATASET, MOVED) is LinkState.ADDED
        assert set(map(str, index.links(DATASET))) == {
            str(self.shown(OTHER_NODES)),
            str(self.shown(MOVED)),
        }

    @pytest.mark.parametrize("first", [LINK, OTHER_NODES], ids=["ours-first", "theirs-first"])
    def test_removes_its_own_link_only(self, index: Index, first: AccessLink) -> None:
        """The record and the links of other nodes stay, in any order of registration."""
        index.add_link(DATASET, first)
        index.add_link(DATASET, LINK if first is OTHER_NODES else OTHER_NODES)
        assert index.remove_link(DATASET, LINK) is LinkState.REMOVED
        assert index.links(DATASET) == (self.shown(OTHER_NODES),)
        assert index.remove_link(DATASET, OTHER_NODES) is LinkState.REMOVED
        assert index.links(DATASET) == ()

    def test_leaves_the_rest_of_the_record_alone(self, index: Index) -> None:
        """Adding and removing a link leaves the record's files unchanged."""
        before = index.find(DATASET)
        index.add_link(DATASET, LINK)
        index.remove_link(DATASET, LINK)
        after = index.find(DATASET)
        assert before is not None
        assert after is not None
        assert self.rest(after) == self.rest(before)

    def test_removes_once(self, index: Index) -> None:
        """Removing a missing link changes nothing."""
        assert index.remove_link(DATASET, LINK) is LinkState.UNCHANGED
        assert index.remove_link(ABSENT, LINK) is LinkState.UNCHANGED

    def test_removes_no_other_href(self, index: Index) -> None:
        """A link to another place than the named one stays."""
        index.add_link(DATASET, LINK)
        assert (
            index.remove_link(DATASET, replace(LINK, href=LINK.href + ".old"))
            is LinkState.UNCHANGED
        )
        assert index.links(DATASET) == (self.shown(LINK),)

    def test_refuses_a_dataset_that_is_not_there(self, impatient_index: Index) -> None:
        """A link cannot be added to a dataset that is not registered."""
        with pytest.raises(LinkError) as caught:
            impatient_index.add_link(ABSENT, LINK)
        assert caught.value.code == "index-item-missing"

    def test_refuses_a_link_that_would_mislead(self, index: Index) -> None:
        """A link without a valid checksum is refused."""
        with pytest.raises(LinkError) as caught:
            index.add_link(DATASET, replace(LINK, sha256="ABC"))
        assert caught.value.code == "index-asset-invalid"
        assert index.links(DATASET) == ()
