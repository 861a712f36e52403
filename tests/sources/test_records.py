"""Records, items, mapfiles and plain files become the dataset that they describe, or are refused
with one clear reason.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from esgvzarr.errors import EsgvzarrError, SourceError
from esgvzarr.model import DatasetId, DatasetRecord
from esgvzarr.sources import read_source
from esgvzarr.sources.plain_files import from_locations
from esgvzarr.sources.records import from_mapfile, from_records, from_stac_item
from esgvzarr.testing import make_item
from esgvzarr.transport import Transport

MASTER = "CMIP6.CMIP.IPSL.IPSL-CM6A-LR.historical.r1i1p1f1.Amon.rlds.gr"
DSID = f"{MASTER}.v20180803"
ID = DatasetId(MASTER, "20180803")
NODE = "esgf.example.org"
BASE = f"https://{NODE}/thredds/fileServer/esg_dataroot"
SHA = "e5980ca7c6176d9964b0e352118d97c90cb0ae320e6a69f4299dd1fac1e77edb"


def file_record(name: str, *, dsid: str = DSID, node: str = NODE, **changes: Any) -> dict[str, Any]:
    """A File record as esgcet writes it for Solr: scalars, as text."""
    url = f"https://{node}/thredds/fileServer/esg_dataroot/{dsid.replace('.', '/')}/{name}"
    record = {
        "type": "File",
        "title": name,
        "dataset_id": f"{dsid}|{node}",
        "instance_id": f"{dsid}.{name}",
        "data_node": node,
        "replica": "False",
        "version": "20180803",
        "size": "409381",
        "checksum": SHA,
        "checksum_type": "SHA256",
        "tracking_id": "hdl:21.14100/b7cc33e8-ae5a-46ef-a2e9-34c2045669d7",
        "url": f"{url}|application/netcdf|HTTPServer",
    }
    return {key: value for key, value in (record | changes).items() if value is not None}


def dataset_record(
    count: int, *, dsid: str = DSID, node: str = NODE, **changes: Any
) -> dict[str, Any]:
    record = {
        "type": "Dataset",
        "id": f"{dsid}|{node}",
        "instance_id": dsid,
        "master_id": dsid.rpartition(".v")[0],
        "data_node": node,
        "replica": "False",
        "version": "20180803",
        "number_of_files": str(count),
        "pid": "hdl:21.14100/88d9aab0-cc1e-35eb-9825-9908721468a0",
    }
    return {key: value for key, value in (record | changes).items() if value is not None}


def globus_flavour(record: dict[str, Any]) -> dict[str, Any]:
    """The same record as the Globus index keeps it: lists around texts, numbers as numbers, keyed
    by its type.
    """
    plain = {"type": record["type"], "id": record.get("id"), "version": 20180803, "replica": False}
    for name in ("instance_id", "dataset_id", "title", "data_node"):
        plain |= {name: record[name]} if name in record else {}
    for name in ("size", "number_of_files"):
        plain |= {name: int(record[name])} if name in record else {}
    lists = {
        name: [record[name]]
        for name in ("checksum", "checksum_type", "tracking_id", "pid")
        if name in record
    }
    urls = (
        [record["url"], "globus:415a6320/esg_dataroot/x.nc|Globus|Globus"]
        if "url" in record
        else []
    )
    return {record["type"].lower(): plain | lists | ({"url": urls} if urls else {})}


def test_records_of_solr_give_the_published_urls_and_numbers() -> None:
    record = from_records([file_record("a_185001.nc"), dataset_record(1)])
    assert record == DatasetRecord(
        ID,
        NODE,
        record.files,
        replica=False,
        pid="hdl:21.14100/88d9aab0-cc1e-35eb-9825-9908721468a0",
    )
    (file,) = record.files
    assert (file.name, file.size, file.checksum, file.checksum_type) == (
        "a_185001.nc",
        409381,
        SHA,
        "SHA256",
    )
    assert file.url == f"{BASE}/{DSID.replace('.', '/')}/a_185001.nc"
    assert file.tracking_id == "hdl:21.14100/b7cc33e8-ae5a-46ef-a2e9-34c2045669d7"


def test_records_of_globus_mean_the_same_as_those_of_solr() -> None:
    solr = [file_record("a.nc"), file_record("b.nc"), dataset_record(2)]
    globus = {f"{number}": globus_flavour(record) for number, record in enumerate(solr)}
    assert from_records(globus) == from_records(solr)


def test_records_by_id_mean_the_same_as_a_list() -> None:
    records = [file_record("a.nc"), dataset_record(1)]
    assert from_records(
        {str(number): record for number, record in enumerate(records)}
    ) == from_records(records)


@pytest.mark.parametrize(
    ("replica", "expected"), [("True", True), ("False", False), (True, True), ([False], False)]
)
def test_replica_is_understood_as_text_and_in_lists(replica: object, expected: bool) -> None:
    assert (
        from_records([file_record("a.nc"), dataset_record(1, replica=replica)]).replica is expected
    )


def test_a_url_is_never_made_up() -> None:
    """The published URL need not look like the data node, the DRS or the publish_path."""
    url = "http://other.example.org:8080/a%20b/whatever.nc"
    record = from_records(
        [
            file_record("a.nc", url=f"{url}|application/netcdf|HTTPServer", publish_path="x/y.nc"),
            dataset_record(1),
        ]
    )
    assert record.files[0].url == url
    assert record.data_node == NODE


def test_the_same_name_in_two_directories_is_two_files() -> None:
    other = file_record("a.nc", url=f"{BASE}/other/a.nc|application/netcdf|HTTPServer")
    record = from_records([file_record("a.nc"), other, dataset_record(2)])
    assert [file.name for file in record.files] == ["a.nc", "a.nc"]
    assert len({file.url for file in record.files}) == 2


def test_local_paths_are_joined_by_url() -> None:
    records = [file_record("a.nc"), file_record("b.nc"), dataset_record(2)]
    url = records[0]["url"].split("|")[0]
    assert [file.path for file in from_records(records, paths={url: "/data/a.nc"}).files] == [
        "/data/a.nc",
        None,
    ]


def test_of_several_datasets_the_one_asked_for_is_taken() -> None:
    other = DSID.replace("rlds", "tas")
    records = [
        file_record("a.nc"),
        dataset_record(1),
        file_record("t.nc", dsid=other),
        dataset_record(1, dsid=other),
    ]
    assert [
        file.name for file in from_records(records, dataset_id=DatasetId.parse(other)).files
    ] == ["t.nc"]
    with pytest.raises(SourceError, match=r"2 datasets: .*rlds.*tas.*--dataset-id") as several:
        from_records(records)
    assert several.value.code == "source-several"


def test_another_dataset_than_asked_for_is_refused() -> None:
    with pytest.raises(SourceError, match="rlds") as mismatch:
        from_records(
            [file_record("a.nc"), dataset_record(1)], dataset_id=DatasetId(MASTER, "20200101")
        )
    assert mismatch.value.code == "source-mismatch"


def test_a_replica_and_its_original_together_are_refused() -> None:
    copy = dataset_record(1, node="copy.example.org", replica="True")
    with pytest.raises(SourceError, match=r"recorded twice.*copy\.example\.org"):
        from_records([file_record("a.nc"), dataset_record(1), copy])


def test_a_missing_file_record_is_refused() -> None:
    """An index answers page by page: half a dataset must not pass for the whole."""
    with pytest.raises(SourceError, match=r"2 File records.*number_of_files, 3") as incomplete:
        from_records([file_record("a.nc"), file_record("b.nc"), dataset_record(3)])
    assert incomplete.value.code == "source-incomplete"


def test_retracted_records_are_refused() -> None:
    with pytest.raises(SourceError, match="retracted") as retracted:
        from_records([file_record("a.nc"), dataset_record(1, retracted=True)])
    assert retracted.value.code == "source-retracted"


def test_a_dataset_without_files_is_refused() -> None:
    with pytest.raises(SourceError, match="no NetCDF files"):
        from_records([dataset_record(0)])


def test_the_same_url_twice_is_refused() -> None:
    with pytest.raises(SourceError, match="twice") as duplicate:
        from_records([file_record("a.nc"), file_record("a.nc"), dataset_record(2)])
    assert duplicate.value.code == "source-duplicate"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"size": "-1"}, "size.*-1"),
        ({"size": "many"}, "size.*many"),
        ({"title": "../../etc/passwd"}, "title"),
        ({"title": None}, "has no 'title'"),
        ({"dataset_id": None}, "has no 'dataset_id'"),
        ({"url": None}, "has no 'url'"),
        ({"url": 5}, "url"),
        ({"url": "globus:1234/a.nc|Globus|Globus"}, "no HTTPServer URL"),
        ({"url": f"{BASE}/a.nc"}, "no HTTPServer URL"),
        ({"url": "ftp://esgf.example.org/a.nc|application/netcdf|HTTPServer"}, "http"),
        ({"url": "file:///etc/passwd|application/netcdf|HTTPServer"}, "http"),
        ({"url": "/etc/passwd|application/netcdf|HTTPServer"}, "http"),
        ({"url": "https://[bad/a.nc|application/netcdf|HTTPServer"}, "http"),
        ({"url": "https:///a.nc|application/netcdf|HTTPServer"}, "http"),
        (
            {"url": "https://me:secret@esgf.example.org/a.nc|application/netcdf|HTTPServer"},
            "user name",
        ),
        ({"url": "https://esgf.example.org/a\n.nc|application/netcdf|HTTPServer"}, "control"),
        ({"checksum": "not hex"}, "checksum"),
        ({"tracking_id": ["one", "two"]}, "tracking_id"),
    ],
)
def test_broken_file_records_are_refused_with_the_key(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(SourceError, match=reason) as error:
        from_records([file_record("a.nc", **changes), dataset_record(1)])
    assert error.value.code.startswith("source-")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"instance_id": "../../etc/cron.d/x.v1"}, "not a dataset id"),
        ({"instance_id": None}, "instance_id"),
        ({"data_node": "evil host/path"}, "data_node"),
        ({"replica": "perhaps"}, "replica"),
        ({"number_of_files": "-1"}, "number_of_files"),
    ],
)
def test_broken_dataset_records_are_refused_with_the_key(
    changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(SourceError, match=reason):
        from_records([file_record("a.nc"), dataset_record(1, **changes)])


@pytest.mark.parametrize(
    "documents", [["text"], [None], [{}], [{"type": 5}], {"a": 1}, {"error": "not found"}, [[]]]
)
def test_documents_that_are_no_records_are_refused(documents: Any) -> None:
    with pytest.raises(SourceError, match="record"):
        from_records(documents)


@pytest.mark.parametrize("documents", [[], {}, [{"type": "Aggregation"}]])
def test_no_dataset_record_is_refused(documents: Any) -> None:
    with pytest.raises(SourceError, match="no dataset"):
        from_records(documents)


def asset(name: str, **changes: Any) -> dict[str, Any]:
    """A NetCDF asset as esgcet posts it."""
    value = {
        "href": f"{BASE}/{DSID.replace('.', '/')}/{name}",
        "type": "application/netcdf",
        "roles": ["data"],
        "protocol": "https",
        "description": "HTTPServer Link",
        "file:size": 100,
        "file:checksum": f"1220{SHA}",
        "alternate:name": NODE,
        "cmip6:tracking_id": "hdl:21.14100/b7cc33e8-ae5a-46ef-a2e9-34c2045669d7",
    }
    return {key: item for key, item in (value | changes).items() if item is not None}


def item(assets: dict[str, Any], **properties: Any) -> dict[str, Any]:
    sizes = [
        a["file:size"]
        for a in assets.values()
        if isinstance(a, dict) and a.get("type") == "application/netcdf"
    ]
    usual = {"size": sum(sizes), "retracted": False, "cmip6:pid": "hdl:21.14100/489253f7"}
    return {
        "type": "Feature",
        "id": DSID,
        "collection": "CMIP6",
        "properties": usual | properties,
        "assets": assets,
    }


OTHERS = {
    "reference_file": {
        "href": f"{BASE}/x.json",
        "type": "application/vnd.zarr+kerchunk",
        "roles": ["data", "virtual", "references"],
    },
    "icechunk": {
        "href": f"{BASE}/x.icechunk",
        "type": "application/vnd.icechunk",
        "roles": ["data", "virtual"],
    },
    "globus": {
        "href": "https://app.globus.org/file-manager?origin_id=1",
        "type": "text/html",
        "roles": ["data"],
    },
    "broken": "a string, as esgcet's own kerchunk option puts it",
}


def test_an_item_gives_its_netcdf_assets_and_nothing_else() -> None:
    record = from_stac_item(item({"a.nc": asset("a.nc"), **OTHERS, "b.nc": asset("b.nc")}), ID)
    assert (record.id, record.data_node, record.pid) == (ID, NODE, "hdl:21.14100/489253f7")
    assert [file.name for file in record.files] == ["a.nc", "b.nc"]
    assert (record.files[0].checksum, record.files[0].checksum_type, record.files[0].size) == (
        SHA,
        "SHA256",
        100,
    )
    assert record.files[0].tracking_id == "hdl:21.14100/b7cc33e8-ae5a-46ef-a2e9-34c2045669d7"


def test_other_nodes_copies_are_not_taken_for_the_primary() -> None:
    copies = {
        "copy.example.org": {
            "href": "https://copy.example.org/a.nc",
            "alternate:name": "copy.example.org",
        }
    }
    record = from_stac_item(item({"a.nc": asset("a.nc", alternate=copies)}))
    assert [file.url for file in record.files] == [asset("a.nc")["href"]]


def test_a_multihash_other_than_sha256_is_kept_as_one() -> None:
    file = from_stac_item(
        item({"a.nc": asset("a.nc", **{"file:checksum": "d50110" + "0" * 32})})
    ).files[0]
    assert (file.checksum, file.checksum_type) == ("d50110" + "0" * 32, "multihash")


def test_without_a_name_the_data_node_is_the_host() -> None:
    assert (
        from_stac_item(item({"a.nc": asset("a.nc", **{"alternate:name": None})})).data_node == NODE
    )


def test_an_item_with_fewer_bytes_than_it_says_is_refused() -> None:
    """Assets are keyed by file name: of two files of one name in two directories, only one survives
    in an item.
    """
    with pytest.raises(SourceError, match=r"100 bytes.*200 bytes") as incomplete:
        from_stac_item(item({"a.nc": asset("a.nc")}, size=200))
    assert incomplete.value.code == "source-incomplete"


def test_a_retracted_item_is_refused_as_such() -> None:
    with pytest.raises(SourceError, match="retracted") as retracted:
        from_stac_item(item({}, retracted=True))
    assert retracted.value.code == "source-retracted"


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (item(OTHERS), "no NetCDF files"),
        (item({"a.nc": asset("a.nc", href=None)}), "has no 'href'"),
        (item({"a.nc": asset("a.nc", href="s3://bucket/a.nc")}), "http"),
        (item({"a.nc": asset("a.nc", **{"file:checksum": "zz"})}), "file:checksum"),
        (
            item(
                {
                    "a.nc": asset("a.nc"),
                    "b.nc": asset("b.nc", **{"alternate:name": "copy.example.org"}),
                }
            ),
            "one data node",
        ),
        ({"type": "Feature", "id": DSID, "properties": {}}, "has no 'assets'"),
        ({"type": "Feature", "id": "nonsense", "properties": {}, "assets": {}}, "not a dataset id"),
        ({"type": "Feature", "id": 5, "properties": {}, "assets": {}}, "id"),
        ([], "document"),
    ],
)
def test_broken_items_are_refused_with_the_reason(broken: Any, reason: str) -> None:
    with pytest.raises(SourceError, match=reason):
        from_stac_item(broken)


def test_another_item_than_asked_for_is_refused() -> None:
    with pytest.raises(SourceError, match=DSID):
        from_stac_item(item({"a.nc": asset("a.nc")}), DatasetId(MASTER, "20200101"))


def map_line(
    name: str, *, dataset: str = f"{MASTER}#20180803", directory: str = "/data/CMIP6"
) -> str:
    return (
        f"{dataset} | {directory}/{name} | 100 | mod_time=1562646491.0 | checksum={SHA} | "
        "checksum_type=SHA256\n"
    )


def test_a_mapfile_gives_urls_below_the_longest_prefix() -> None:
    prefixes = {
        "/data": f"{BASE}/short",
        "/data/CMIP6/": f"{BASE}/long/",
        "/data/CM": f"{BASE}/wrong",
    }
    record = from_mapfile(map_line("a.nc") + "\n" + map_line("b.nc"), prefixes)
    assert [file.url for file in record.files] == [f"{BASE}/long/a.nc", f"{BASE}/long/b.nc"]
    assert (record.id, record.data_node) == (ID, NODE)
    file = record.files[0]
    assert (file.path, file.size, file.checksum, file.checksum_type) == (
        "/data/CMIP6/a.nc",
        100,
        SHA,
        "SHA256",
    )


def test_a_prefix_ends_at_a_directory() -> None:
    """/data/CMIP6 is not the prefix of /data/CMIP6Plus."""
    record = from_mapfile(map_line("a.nc", directory="/data/CMIP6Plus"), {"/data/CMIP6": BASE})
    assert [file.url for file in record.files] == ["/data/CMIP6Plus/a.nc"]
    assert record.data_node == ""


def test_parent_directories_do_not_leave_a_prefix() -> None:
    record = from_mapfile(
        map_line("a.nc", directory="/data/CMIP6/../secret"), {"/data/CMIP6": BASE}
    )
    assert record.files[0].url == "/data/secret/a.nc"


def test_urls_are_quoted() -> None:
    record = from_mapfile(map_line("a b#c?d%e+é.nc"), {"/data": BASE})
    assert record.files[0].url == f"{BASE}/CMIP6/a%20b%23c%3Fd%25e%2B%C3%A9.nc"


def test_the_v_form_of_an_id_serves_as_well() -> None:
    line = f"{DSID} | /data/a.nc | 100 | mod_time=1.0 | checksum={SHA}\n"
    record = from_mapfile(line, {})
    assert record.id == ID
    assert record.files[0].checksum_type is None


def test_of_several_datasets_in_a_map_the_one_asked_for_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "two.map"
    path.write_text(map_line("a.nc") + map_line("t.nc", dataset=f"{MASTER}#20200101"))
    with Transport() as transport:
        record = read_source([str(path)], DatasetId(MASTER, "20200101"), transport, {})
        assert [file.name for file in record.files] == ["t.nc"]
        with pytest.raises(SourceError, match=r"two\.map: describes 2 datasets.*--dataset-id"):
            read_source([str(path)], None, transport, {})


def test_files_partly_published_are_refused() -> None:
    """One reference must not mix public URLs and paths that only this machine has."""
    lines = map_line("a.nc") + map_line("b.nc", directory="/scratch")
    with pytest.raises(SourceError, match=r"this machine.*esgf\.example\.org.*data_paths"):
        from_mapfile(lines, {"/data": BASE})


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("nonsense", "line 2: .*nonsense"),
        (f"{MASTER}#20180803 | /data/b.nc", "line 2"),
        (f"{MASTER}#20180803 | /data/b.nc | -5", "line 2.*size"),
        (f"{MASTER}#20180803 | /data/b.nc | big", "line 2.*size"),
        (f"{MASTER}#20180803 | relative/b.nc | 5", "line 2.*path"),
        (f"{MASTER}#20180803 | /data/ | 5", "line 2.*path"),
        (f"{MASTER}#20180803 | /data/b.nc | 5 | checksum", "line 2"),
        (f"{MASTER}#20180803 | /data/b.nc | 5 | checksum=xyz", "line 2.*checksum"),
        (f"{MASTER}#latest | /data/b.nc | 5", "line 2.*not a dataset id"),
        ("../../x#1 | /data/b.nc | 5", "line 2.*not a dataset id"),
    ],
)
def test_broken_lines_are_named(line: str, reason: str) -> None:
    with pytest.raises(SourceError, match=reason) as error:
        from_mapfile(map_line("a.nc") + line, {}, name="my.map")
    assert error.value.subject == "my.map, line 2"


def test_an_empty_map_describes_no_dataset() -> None:
    with pytest.raises(SourceError, match="no dataset"):
        from_mapfile("\n\n", {})


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00binary"])
def test_a_map_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "my.map"
    if content is not None:
        path.write_bytes(content)
    with Transport() as transport, pytest.raises(EsgvzarrError, match=r"my\.map"):
        read_source([str(path)], None, transport, {})


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("b.nc", "a.nc", "readme.txt"):
        (tmp_path / name).write_bytes(b"CDF\x01")
    (tmp_path / "deeper").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_directory_stands_for_the_netcdf_files_in_it(directory: Path) -> None:
    record = from_locations([str(directory)], ID)
    assert [(file.url, file.path, file.size) for file in record.files] == [
        (str(directory / name), str(directory / name), 4) for name in ("a.nc", "b.nc")
    ]
    assert record.data_node == ""


def test_a_directory_is_taken_whole_or_not_at_all(directory: Path) -> None:
    """Endings in capitals count; what is packed, or in another format, is not left out in
    silence.
    """
    (directory / "c.NC4").write_bytes(b"CDF\x01")
    assert [file.name for file in from_locations([str(directory)], ID).files] == [
        "a.nc",
        "b.nc",
        "c.NC4",
    ]
    (directory / "d.nc.gz").write_bytes(b"")
    with pytest.raises(SourceError, match=r"d\.nc\.gz") as error:
        from_locations([str(directory)], ID)
    assert error.value.code == "source-incomplete"


def test_data_of_an_item_that_are_not_said_to_be_netcdf_are_missed() -> None:
    """By role and name they are data of the dataset."""
    hrefs = {"a.nc": f"{BASE}/a.nc", "b.nc": f"{BASE}/b.nc"}
    item = make_item(DSID, hrefs, data_node=NODE)
    item["properties"].pop("size", None)
    assert len(from_stac_item(item).files) == 2
    asset = next(asset for asset in item["assets"].values() if asset["href"].endswith("b.nc"))
    asset["type"] = "application/octet-stream"
    with pytest.raises(SourceError, match="octet-stream") as error:
        from_stac_item(item)
    assert error.value.code == "source-incomplete"


def test_relative_paths_become_absolute(directory: Path) -> None:
    assert from_locations(["a.nc"], ID).files[0].url == str(directory / "a.nc")


def test_local_files_get_their_public_urls(directory: Path) -> None:
    record = from_locations(["a.nc"], ID, data_paths={str(directory): BASE})
    assert (record.files[0].url, record.data_node) == (f"{BASE}/a.nc", NODE)


def test_urls_of_files_are_taken_as_they_are() -> None:
    record = from_locations([f"{BASE}/a.nc", f"https://{NODE}:443/b%20c.nc"], ID)
    assert [file.name for file in record.files] == ["a.nc", "b c.nc"]
    assert (record.data_node, record.files[1].url) == (NODE, f"https://{NODE}:443/b%20c.nc")


@pytest.mark.parametrize(
    ("locations", "reason"),
    [
        (["missing.nc"], "no such file"),
        (["deeper"], "no NetCDF files"),
        (["a.nc", "./a.nc"], "twice"),
        ([f"{BASE}/a.nc", "a.nc"], "this machine"),
        ([f"{BASE}/a.nc", "https://other.example.org/b.nc"], "one data node"),
        (["ftp://esgf.example.org/a.nc"], "http"),
        (["https:///a.nc"], "http"),
        ([], "no NetCDF files"),
    ],
)
@pytest.mark.usefixtures("directory")
def test_locations_that_are_no_dataset_are_refused(locations: list[str], reason: str) -> None:
    with pytest.raises(SourceError, match=reason):
        from_locations(locations, ID)


def test_plain_files_need_a_dataset_id() -> None:
    with pytest.raises(SourceError, match="--dataset-id") as error:
        from_locations([f"{BASE}/a.nc"], None)
    assert error.value.code == "source-dataset-id-missing"


REAL = os.environ.get("ESGVZARR_TEST_RECORDS", "")
"""Directory of records that a real esgcet wrote: solr-docs.json, globus-index.json,
stac-item-*.json.
"""


@pytest.mark.skipif(
    not os.path.isdir(REAL),
    reason="ESGVZARR_TEST_RECORDS does not name a directory of real records",
)
@pytest.mark.parametrize(
    ("name", "count"),
    [("solr-docs", 12), ("globus-index", 1), ("stac-item-posted", 17), ("stac-item-cmip7", 2)],
)
def test_real_records_give_all_their_files(name: str, count: int) -> None:
    document = json.loads((Path(REAL) / f"{name}.json").read_text())
    record = from_stac_item(document) if name.startswith("stac") else from_records(document)
    assert len(record.files) == count
    assert all(
        file.size and file.checksum_type == "SHA256" and len(file.checksum or "") == 64
        for file in record.files
    )
    assert all(file.url.startswith("https://") and file.tracking_id for file in record.files)
    assert record.pid is not None
    assert record.pid.startswith("hdl:")
