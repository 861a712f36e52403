"""The real esgpublish on real CMIP6 files, to real STAC APIs; opened through the item that
pystac-client finds.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray

from esgvzarr import cli
from esgvzarr.testing import (
    DATASET_ID,
    Fault,
    HtmlPage,
    NoRanges,
    Problem,
    StacServer,
    Status,
    Truncated,
    WrongLength,
    make_item,
    write_monthly,
)
from esgvzarr.testing.node import DataNode, command, schema_versions
from esgvzarr.testing.projects import CMIP7, INPUT4MIPS, write_cmip7, write_input4mips
from esgvzarr.testing.samples import sample_datasets

pytest.importorskip("esgcet", reason="esgpublish is in the extra `publisher`")

_CMIP = "CMIP6.CMIP"
MONTHLY_65 = f"{_CMIP}.EC-Earth-Consortium.EC-Earth3.historical.r1i1p1f1.Amon.ta.gr.v20200310"
DATASETS = (
    MONTHLY_65,
    f"{_CMIP}.MPI-M.MPI-ESM1-2-HR.historical.r1i1p1f1.Amon.ta.gn.v20190710",  # 13 files
    # 480, 480 and 60 months, each file with its own epoch
    f"{_CMIP}.BCC.BCC-CSM2-MR.historical.r1i1p1f1.Amon.ta.gn.v20181126",
    f"{_CMIP}.CAMS.CAMS-CSM1-0.historical.r1i1p1f1.Amon.ta.gn.v20190708",  # the same, five epochs
    f"{_CMIP}.CAS.FGOALS-g3.historical.r1i1p1f1.day.ta.gn.v20190826",
    f"{_CMIP}.CMCC.CMCC-CM2-SR5.historical.r1i1p1f1.day.ta.gn.v20200616",
)


def run(*arguments: object) -> tuple[int, str]:
    """Exit status of esgvzarr, and all that it printed."""
    said = io.StringIO()
    with (
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(said),
        schema_versions(),
        pytest.raises(SystemExit) as stop,
    ):
        cli.main(list(map(str, arguments)))
    return int(stop.value.code or 0), said.getvalue()


def publish(*arguments: object) -> tuple[int, str]:
    """The same of ``esgvzarr publish``."""
    return run("publish", *arguments)


def find(stac_url: str, dataset_id: str) -> Any:
    """The item, as a search user finds it."""
    import pystac_client

    collection = dataset_id.removeprefix("MIP-DRS7.").partition(".")[0]
    (item,) = (
        pystac_client.Client.open(stac_url)
        .search(collections=[collection], ids=[dataset_id])
        .items()
    )
    return item


def open_asset(asset: Any) -> xarray.Dataset:
    """As the asset itself says that it is to be opened."""
    return xarray.open_dataset(asset.href, **asset.extra_fields["xarray:open_kwargs"])


def check_equal(opened: xarray.Dataset, files: list[Path]) -> None:
    """Each file, opened alone and decoded, is what the dataset shows of it: variables, times,
    bounds, types, attributes.
    """
    truths = sorted(
        (xarray.open_dataset(file, engine="netcdf4") for file in files),
        key=lambda truth: truth.time.values[0],
    )
    assert opened.sizes["time"] == sum(truth.sizes["time"] for truth in truths)
    start = 0
    for truth in truths:
        assert set(opened.variables) == set(truth.variables)
        shown = opened.isel(time=slice(start, start + truth.sizes["time"]))
        start += truth.sizes["time"]
        for name, variable in truth.variables.items():
            assert shown[name].dims == variable.dims
            assert shown[name].dtype.kind == variable.dtype.kind
            np.testing.assert_array_equal(
                shown[name].values, variable.values, err_msg=f"{name} of {truth.encoding['source']}"
            )
    assert public(opened.attrs) == equal_in_all([truth.attrs for truth in truths])
    for name, variable in opened.variables.items():
        assert plain(variable.attrs) == equal_in_all([truth[name].attrs for truth in truths]), name


def equal_in_all(attributes: list[dict[str, Any]]) -> dict[str, Any]:
    """What all files say alike."""
    first, *others = [plain(each) for each in attributes]
    return {
        name: value
        for name, value in first.items()
        if all(other.get(name) == value for other in others)
    }


def plain(attributes: dict[str, Any]) -> dict[str, Any]:
    """NumPy numbers as Python's."""
    return {name: np.asarray(value).tolist() for name, value in attributes.items()}


def public(attributes: dict[str, Any]) -> dict[str, Any]:
    """Without what only a reference file has."""
    return {
        name: value for name, value in plain(attributes).items() if not name.startswith("esgvzarr")
    }


def patches(server: StacServer) -> list[Any]:
    """All changes of items that the index was sent."""
    return [json.loads(request.body) for request in server.requests if request.method == "PATCH"]


@contextlib.contextmanager
def index_of(kind: str, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A STAC API: ``sync`` or ``queued`` over a memory store, or the real ``pgstac``."""
    if kind == "pgstac":
        yield request.getfixturevalue("pgstac_server")
    else:
        with StacServer(delay_s=0.2 if kind == "queued" else 0.0) as server:
            yield server


class Published:
    """One run of esgvzarr publish over all datasets: two maps, a list file of two, a directory of
    the others.
    """

    def __init__(self, node: DataNode, sample: Path, index: str) -> None:
        self.node = node
        self.index = index
        files = sample_datasets(sample)
        first, second, third, fourth, *rest = [
            node.add_dataset(name, files[name]) for name in DATASETS
        ]
        listed = node.directory / "maps.txt"
        folder = node.directory / "more"
        listed.write_text(f"{third}\n{fourth}\n")
        folder.mkdir()
        for mapfile in rest:
            mapfile.rename(folder / mapfile.name)
        self.status, self.said = publish(
            "--map", first, second, listed, folder, "--config", node.config
        )


@pytest.fixture(scope="module", params=["sync", "queued", "pgstac"])
def published(
    request: pytest.FixtureRequest, sample_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Published]:
    with (
        index_of(request.param, request) as server,
        DataNode(tmp_path_factory.mktemp("node"), server.url, poll_timeout_s=10) as node,
    ):
        yield Published(node, sample_root, request.param)


class TestRealFiles:
    def test_all_are_linked(self, published: Published) -> None:
        """Several maps, a list file and a directory in one run; the status is esgpublish's 0."""
        assert published.status == 0, published.said
        lines = published.said.splitlines()
        assert sorted(line.split(":")[0] for line in lines if ": linked: " in line) == sorted(
            DATASETS
        )

    @pytest.mark.parametrize("dataset_id", DATASETS, ids=lambda name: name.split(".")[3])
    def test_equal_the_files_value_for_value(self, published: Published, dataset_id: str) -> None:
        """What pystac-client finds and xarray opens is what the NetCDF files hold. Values do not
        depend on the index: all datasets are compared through one, and one dataset through each.
        """
        asset = find(published.node.stac_url, dataset_id).assets["reference_file"]
        assert asset.href == published.node.url_of(dataset_id)
        files = sorted(published.node.directory_of(dataset_id).glob("*.nc"))
        with open_asset(asset) as opened:
            if published.index == "sync" or dataset_id == MONTHLY_65:
                check_equal(opened, files)
            else:
                assert set(opened.variables) == set(xarray.open_dataset(files[0]).variables)

    def test_opening_reads_no_data(self, published: Published) -> None:
        """Coordinates and bounds are in the reference file: nothing else is asked for."""
        asset = find(published.node.stac_url, MONTHLY_65).assets["reference_file"]
        published.node.thredds.clear()
        with open_asset(asset) as opened:
            str(opened)
            opened.time_bnds.load()
        assert {
            published.node.thredds.url + request.path for request in published.node.thredds.requests
        } == {asset.href}

    def test_opening_takes_one_request(self, published: Published) -> None:
        """The reference file is fetched once by the call that its asset states; fsspec asks for its
        length first.
        """
        asset = find(published.node.stac_url, MONTHLY_65).assets["reference_file"]
        published.node.thredds.clear()
        with open_asset(asset) as opened:
            opened.time_bnds.load()
        assert [request.method for request in published.node.thredds.requests] == ["HEAD", "GET"]

    def test_is_one_array(self, published: Published) -> None:
        """Contiguous files of unequal length are virtually chunked again, not refused nor cut in
        segments.
        """
        refs = json.loads(
            next(published.node.data.glob("**/CMIP6.*BCC-CSM2-MR*.json")).read_text()
        )["refs"]
        assert {key.partition("/")[0] for key in refs if key.endswith(".zarray")} >= {
            "ta",
            "time",
            "time_bnds",
        }
        assert json.loads(refs["ta/.zarray"])["shape"] == [1020, 2, 2, 2]


@pytest.mark.parametrize(
    ("dataset_id", "write"),
    [(CMIP7, write_cmip7), (INPUT4MIPS, write_input4mips)],
    ids=["CMIP7", "input4MIPs"],
)
def test_other_projects(
    dataset_id: str, write: Callable[[Path], list[Path]], tmp_path: Path
) -> None:
    """Datasets of CMIP7 and input4MIPs are registered, linked and opened like those of CMIP6."""
    with StacServer() as server, DataNode(tmp_path / "node", server.url) as node:
        mapfile = node.add_dataset(dataset_id, write(tmp_path / "made"))
        status, said = publish("--map", mapfile, "--config", node.config)
        assert status == 0, said
        assert ": linked: " in said, said
        with open_asset(find(server.url, dataset_id).assets["reference_file"]) as opened:
            check_equal(opened, sorted(node.directory_of(dataset_id).glob("*.nc")))


@pytest.fixture
def node(stac_server: StacServer, tmp_path: Path) -> Iterator[DataNode]:
    """A data node with one small dataset, and no patience."""
    with DataNode(tmp_path / "node", stac_server.url, poll_timeout_s=5, retries=0) as node:
        node.add_dataset(DATASET_ID, write_monthly(tmp_path / "made"))
        yield node


def publish_on(node: DataNode, *arguments: object) -> tuple[int, str]:
    """Publish the small dataset."""
    return publish(*arguments, "--map", node.maps / f"{DATASET_ID}.map", "--config", node.config)


def check_only_registered(node: DataNode, server: StacServer) -> None:
    """esgpublish did its work, and nothing of ours is left, in the index or on disk."""
    names = {path.name for path in node.directory_of(DATASET_ID).iterdir()}
    assert {Path(name).suffix for name in names} == {".nc"}
    assert set(server.item("CMIP6", DATASET_ID)["assets"]) == names


class TestBadDataNodes:
    """Registration is unharmed and the status is esgpublish's 0; the reason is said, and nothing is
    left behind.
    """

    @pytest.mark.parametrize("read", ["auto", "http"])
    @pytest.mark.parametrize(
        ("fault", "code", "reason"),
        [
            (NoRanges(), "transport-no-range", "Turn on byte ranges on the data node"),
            (HtmlPage(), "transport-html", "answered with an HTML page"),
            (Truncated(), "transport-truncated", "ended early"),
            (
                WrongLength(-4096),
                "transport-(size-differs|range-wrong)",
                "cut short|shorter than its metadata state",
            ),
            (Status(403), "transport-http-403", "references only data that anyone can read"),
        ],
        ids=["no Range", "HTML", "truncated", "shorter", "403"],
    )
    def test_files_that_no_reader_could_read(
        self,
        node: DataNode,
        stac_server: StacServer,
        fault: Fault,
        code: str,
        reason: str,
        read: str,
    ) -> None:
        """Whether the metadata come from disk or over HTTP, the files are looked at as users have
        them.
        """
        node.write_config(read=read)
        node.thredds.fault(fault, "*_185101-185112.nc")
        status, said = publish_on(node)
        assert status == 0
        assert re.search(
            rf"{DATASET_ID}: failed \[{code}\]: .*_185101-185112\.nc: .*({reason})", said
        ), said
        check_only_registered(node, stac_server)
        assert patches(stac_server) == []

    def test_a_page_that_was_saved_as_a_file(self, node: DataNode, stac_server: StacServer) -> None:
        """esgpublish itself cannot read it: nothing is registered, and nothing referenced."""
        (file, *_) = node.directory_of(DATASET_ID).glob("*.nc")
        file.write_text("<!DOCTYPE html><html></html>")
        status, said = publish_on(node)
        assert status == 1
        assert "no references are made" in said
        assert not list(node.data.glob("**/*.json"))

    def test_a_directory_that_cannot_be_written(
        self, node: DataNode, stac_server: StacServer
    ) -> None:
        """Here a file stands in its place, which stops even root."""
        (node.directory / "occupied").write_text("")
        node.write_config(
            reference_dir=str(node.directory / "occupied" / "zarr"),
            reference_url=f"{node.thredds.url}/zarr",
        )
        status, said = publish_on(node)
        assert status == 0
        assert "failed [store-unwritable]" in said
        assert "Set `reference_dir` and `reference_url`" in said
        check_only_registered(node, stac_server)

    def test_strict_makes_it_the_exit_status(self, node: DataNode) -> None:
        """For operators whose scripts look at the status only."""
        node.thredds.fault(NoRanges(), "*.nc")
        assert publish_on(node, "--strict")[0] == 1


class TestBadIndexes:
    def test_refuses_the_change(self, node: DataNode, stac_server: StacServer) -> None:
        """The API's own words (RFC 9457) are passed on; the file that nothing links to is gone."""
        stac_server.fault(Problem(), "/collections/*/items/*", methods=("PATCH",))
        status, said = publish_on(node)
        assert status == 0
        assert "failed [index-http-403]" in said
        assert "Forbidden: You are not entitled to publish from this data node." in said
        check_only_registered(node, stac_server)

    @pytest.mark.parametrize("methods", [("GET",), ("PATCH",)], ids=["discovery", "transaction"])
    def test_down_after_registration(
        self, node: DataNode, stac_server: StacServer, methods: tuple[str, ...]
    ) -> None:
        """What was proved stays, the item is as esgpublish made it, and `resume` goes on. An index
        that cannot be asked costs no scan.
        """
        stac_server.fault(Status(503), "/collections/*/items/*", methods=methods)
        status, said = publish_on(node)
        assert status == 0
        assert re.search(r"failed \[index-(unreachable|http-503)\]", said), said
        written = [path.name for path in node.directory_of(DATASET_ID).glob("*.json")]
        assert written == ([f"{DATASET_ID}.json"] if methods == ("PATCH",) else [])
        assert "reference_file" not in stac_server.item("CMIP6", DATASET_ID)["assets"]
        stac_server.heal()
        status, said = run("resume", "--config", node.config)
        assert (status, ": linked: " in said) == (0, True), said
        assert "reference_file" in stac_server.item("CMIP6", DATASET_ID)["assets"]


class TestLaterLives:
    """On an API that queues, as ESGF's does: a second version, a retraction, a replica."""

    @pytest.fixture(autouse=True)
    def queue(self, stac_server: StacServer) -> None:
        stac_server.delay_s = 0.1

    def test_a_second_version_and_the_retraction_of_the_first(
        self, node: DataNode, stac_server: StacServer, tmp_path: Path
    ) -> None:
        """esgcet marks the first as not the latest, and its link stays; retracted, it goes, and the
        second's stays.
        """
        newer = f"{DATASET_ID.rpartition('.v')[0]}.v20990101"
        node.add_dataset(newer, write_monthly(tmp_path / "newer", seed=1))
        for name in (DATASET_ID, newer):
            status, said = publish("--map", node.maps / f"{name}.map", "--config", node.config)
            assert (status, ": linked: " in said) == (0, True), said
        items = {name: stac_server.item("CMIP6", name) for name in (DATASET_ID, newer)}
        assert {name: item["properties"]["latest"] for name, item in items.items()} == {
            DATASET_ID: False,
            newer: True,
        }
        for name in items:
            with open_asset(find(node.stac_url, name).assets["reference_file"]) as opened:
                check_equal(opened, sorted(node.directory_of(name).glob("*.nc")))
        assert run("unpublish", DATASET_ID, "--config", node.config)[0] == 0
        assert "reference_file" not in find(node.stac_url, DATASET_ID).assets
        assert not list(node.directory_of(DATASET_ID).glob("*.json"))
        assert stac_server.item("CMIP6", newer) == items[newer]
        assert (node.directory_of(newer) / f"{newer}.json").exists()

    def test_a_replica_stands_beside_the_link_of_the_first_node(
        self, node: DataNode, stac_server: StacServer
    ) -> None:
        """The item is another node's, which has our files as alternates: theirs stays the first
        link, ours is an alternate.
        """
        other = "first.example.org"
        names = [file.name for file in sorted(node.directory_of(DATASET_ID).glob("*.nc"))]
        item = make_item(
            DATASET_ID, {name: f"https://{other}/{name}" for name in names}, data_node=other
        )
        for asset in item["assets"].values():
            asset["alternate"] = {
                node.thredds.host: {"href": node.url_of(DATASET_ID).replace(".json", ".nc")}
            }
        theirs = {
            **item["assets"][names[0]],
            "href": f"https://{other}/{DATASET_ID}.json",
            "description": "VirtualZarr Link",
            "type": "application/vnd.zarr+kerchunk",
            "protocol": "kerchunk",
        }
        del theirs["alternate"]
        item["assets"]["reference_file"] = theirs
        stac_server.add_item(item)
        status, said = publish_on(node)
        assert (status, ": linked: " in said) == (0, True), said
        asset = stac_server.item("CMIP6", DATASET_ID)["assets"]["reference_file"]
        alternates = asset.pop("alternate")
        assert asset == theirs
        assert {name: alternate["href"] for name, alternate in alternates.items()} == {
            node.thredds.host: node.url_of(DATASET_ID)
        }
        ((operation,),) = patches(stac_server)
        assert (operation["op"], operation["path"]) == ("add", "/assets/reference_file/alternate")
        assert run("unpublish", DATASET_ID, "--config", node.config)[0] == 0
        assert stac_server.item("CMIP6", DATASET_ID)["assets"]["reference_file"] == theirs


class TestBadConfigurations:
    """Status 2, before esgpublish begins: nothing is registered."""

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("project: none\nx: [1\ny: 2\n", r"esg\.yaml, line 3: is not YAML"),
            (
                "project: none\nesgvzarr:\n  proof_sample: 3\n",
                r"line 3, key esgvzarr\.proof_sample: .* Did you mean 'proof_samples'",
            ),
            (
                "project: none\nesgvzarr:\n  retries: many\n",
                r"line 3, key esgvzarr\.retries: .*'many'",
            ),
            (
                "project: none\nkerchunk:\n  generation: true\n",
                r"key kerchunk\.generation: .* Set `generation: false`",
            ),
        ],
        ids=["not YAML", "unknown setting", "wrong value", "esgcet's own references"],
    )
    def test_is_named_with_its_line(
        self, node: DataNode, stac_server: StacServer, text: str, reason: str
    ) -> None:
        """File, line and key are in the last line that is printed."""
        node.config.write_text(text)
        status, said = publish_on(node)
        assert status == 2
        assert re.search(reason, said.splitlines()[-1]), said
        assert list(stac_server.requests) == []

    def test_no_such_config(self, node: DataNode) -> None:
        """The path is named."""
        status, said = publish("--map", node.maps, "--config", node.directory / "none.yaml")
        assert status == 2
        assert "none.yaml: cannot be read" in said.splitlines()[-1]

    def test_no_such_map(self, node: DataNode, stac_server: StacServer) -> None:
        """esgpublish's own status 1; the map is named in a line, without a traceback."""
        status, said = publish("--map", node.maps / "none.map", "--config", node.config)
        assert status == 1
        assert "none.map" in said.splitlines()[-1]
        assert "Traceback" not in said


class TestAgain:
    """Run twice. An index that queues takes a dataset again; one that answers at once says that it
    has it.
    """

    @pytest.fixture(autouse=True)
    def first(self, node: DataNode, stac_server: StacServer) -> None:
        stac_server.delay_s = 0.1
        status, said = publish_on(node)
        assert (status, ": linked: " in said) == (0, True), said
        assert [operation["path"] for patch in patches(stac_server) for operation in patch] == [
            "/assets/reference_file"
        ]
        stac_server.clear()

    def test_changes_nothing(self, node: DataNode, stac_server: StacServer) -> None:
        """No change is sent, and the file is not touched."""
        path = node.directory_of(DATASET_ID) / f"{DATASET_ID}.json"
        before = path.stat()
        status, said = publish_on(node)
        assert (status, ": linked: " in said) == (0, True), said
        assert patches(stac_server) == []
        assert (path.stat().st_mtime_ns, path.stat().st_ino) == (before.st_mtime_ns, before.st_ino)

    def test_an_index_that_has_it_leaves_the_link(
        self, node: DataNode, stac_server: StacServer
    ) -> None:
        """409 is esgpublish's own failure, status 1; link and file stay."""
        stac_server.delay_s = 0
        status, said = publish_on(node)
        assert status == 1
        assert "esgpublish did not register it" in said
        assert "reference_file" in stac_server.item("CMIP6", DATASET_ID)["assets"]
        assert (node.directory_of(DATASET_ID) / f"{DATASET_ID}.json").exists()

    def test_other_bytes_need_force(
        self, node: DataNode, stac_server: StacServer, tmp_path: Path
    ) -> None:
        """Caches keep what is under a public URL: bytes there change only when that is asked for,
        and then so does the link.
        """
        path = node.directory_of(DATASET_ID) / f"{DATASET_ID}.json"
        old = path.read_bytes()
        node.add_dataset(DATASET_ID, write_monthly(tmp_path / "again", seed=1, compression="zlib"))
        status, said = publish_on(node)
        assert (status, "failed [store-bytes-differ]" in said) == (0, True), said
        assert (path.read_bytes(), patches(stac_server)) == (old, [])
        status, said = publish_on(node, "--force")
        assert (status, ": linked: " in said) == (0, True), said
        (((operation,)),) = patches(stac_server)
        new = hashlib.sha256(path.read_bytes()).hexdigest()
        assert operation["value"]["file:checksum"] == f"1220{new}"
        with open_asset(find(node.stac_url, DATASET_ID).assets["reference_file"]) as opened:
            check_equal(opened, sorted(node.directory_of(DATASET_ID).glob("*.nc")))


def test_as_a_program(node: DataNode) -> None:
    """In a process of its own: status 0, our lines on stderr, one a dataset at the end."""
    words = command("publish", "--map", node.maps, "--config", node.config)
    done = subprocess.run(
        words,
        cwd=node.directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (
        done.stderr.splitlines()[-1]
        == f"{DATASET_ID}: linked: {node.url_of(DATASET_ID)} is shown by the index"
    )
    told = [line for line in done.stderr.splitlines() if "Running index pub" in line]
    assert len(told) == 1  # esgcet's own lines are not said twice
