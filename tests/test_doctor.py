"""What ``esgvzarr doctor`` finds: each check green on a good node, and yellow or red on one that
has the trouble.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml

from esgvzarr import cli
from esgvzarr.doctor import NGINX_CORS, Diagnosis, examine
from esgvzarr.link.ledger import Ledger
from esgvzarr.link.states import State, Step, Verb
from esgvzarr.link.task import Entry
from esgvzarr.settings import Settings, read_settings
from esgvzarr.testing import (
    DATASET_ID,
    Fault,
    GlobusServer,
    HtmlPage,
    Latency,
    NginxServer,
    NoRanges,
    SolrServer,
    Status,
    ThreddsServer,
    WrongLength,
    write_monthly,
)
from esgvzarr.testing.faults import Answer
from esgvzarr.testing.loopback import Asked, Response
from esgvzarr.testing.nginx import available
from esgvzarr.testing.node import DataNode, schema_versions

pytest.importorskip("esgcet", reason="esgcet is in the extra `publisher`")


@dataclass(frozen=True)
class Headers:
    """The usual answer with these headers, and without those that are empty."""

    changed: Mapping[str, str] = field(default_factory=dict)

    def apply(self, asked: Asked, answer: Answer) -> Response:
        response = answer(asked)
        return replace(response, headers={**response.headers, **self.changed})


def rows_of(config: Path, url: str = "") -> list[Diagnosis]:
    return examine(config, read_settings(config), url)


def told(rows: list[Diagnosis], check: str) -> tuple[str, str]:
    """The worst of a check's rows: its health, and what it says with what to do."""
    worst = max(
        (row for row in rows if row.check == check),
        key=lambda row: ("good", "note", "bad").index(row.health),
    )
    return worst.health, f"{worst.found} {worst.todo}"


@pytest.fixture(autouse=True)
def vocabulary() -> Iterator[None]:
    """As where esgvoc has the vocabularies."""
    with schema_versions():
        yield


def test_without_a_vocabulary_esgpublish_cannot_register(node: DataNode) -> None:
    from esgcet.util.settings import STAC_schema_versions

    STAC_schema_versions.clear()
    health, text = told(rows_of(node.config), "vocabulary")
    assert (health, "esgvoc use cmip6@latest" in text) == ("bad", True)


def test_looking_makes_no_files(node: DataNode) -> None:
    before = set(node.directory.rglob("*"))
    rows_of(node.config)
    assert set(node.directory.rglob("*")) == before


def test_a_good_node(node: DataNode) -> None:
    """Every check has a row, only http and CORS are yellow; the file that was written for it is
    gone; the index was only read.
    """
    rows = rows_of(node.config)
    assert {row.check for row in rows if row.health != "good"} - {"latency"} == {"tls", "browsers"}
    assert [row.check for row in rows] == [
        "esgcet",
        "ledger",
        "file",
        "proxy",
        "head",
        "ranges",
        "encoding",
        "tls",
        "clock",
        "latency",
        "browsers",
        "directory",
        "caching",
        "vocabulary",
        "index",
        "login",
        "endpoints",
    ]
    assert not list(node.data.rglob("*.json"))
    assert not list(node.data.rglob(".*"))


def test_a_proxy_of_the_environment_is_named_unless_no_proxy_excludes_the_host(
    node: DataNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://someone:secret@proxy.example:3128")
    health, text = told(rows_of(node.config), "proxy")
    assert (health, "proxy.example:3128" in text) == ("note", True)
    assert "secret" not in text
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert told(rows_of(node.config), "proxy")[0] == "good"


@pytest.mark.parametrize(
    ("fault", "check", "health", "says"),
    [
        (Status(404), "head", "bad", "404"),
        (Status(404), "ranges", "bad", "404"),
        (HtmlPage(), "head", "bad", "login"),
        (WrongLength(8), "head", "bad", "30215"),
        (Headers({"Content-Length": ""}), "head", "bad", "no Content-Length"),
        (NoRanges(), "ranges", "bad", "ignores the Range header"),
        (Headers({"ETag": "", "Last-Modified": ""}), "ranges", "note", "audit"),
        (Headers({"Content-Encoding": "gzip"}), "encoding", "bad", "Turn compression off"),
        (
            Headers({"Date": format_datetime(datetime.now(UTC) - timedelta(hours=1), usegmt=True)}),
            "clock",
            "bad",
            "NTP",
        ),
        (Headers({"Date": "yesterday"}), "clock", "note", "yesterday"),
        (Latency(0.35), "latency", "note", "data_paths"),
    ],
)
def test_a_file_server_with_a_fault(
    node: DataNode, fault: Fault, check: str, health: str, says: str
) -> None:
    node.thredds.fault(fault, "*.nc")
    worst, text = told(rows_of(node.config), check)
    assert worst == health
    assert says in text


def test_a_file_that_is_none(node: DataNode) -> None:
    for file in node.data.rglob("*.nc"):
        file.write_bytes(b"<html>no</html>")
    assert told(rows_of(node.config), "ranges")[0] == "bad"


class TestTheFileThatIsTried:
    def test_is_the_one_that_is_named(self, node: DataNode, tmp_path: Path) -> None:
        (other,) = write_monthly(node.data / "other", lengths=(12,))
        url = node.thredds.url_of(other)
        assert told(rows_of(node.config, url), "file") == ("good", f"{url} is read by the checks ")

    def test_is_found_by_data_paths(self, node: DataNode, tmp_path: Path) -> None:
        prefix = node.thredds.url_of(node.data)
        settings = Settings(data_paths={str(node.data): prefix}, ledger=tmp_path / "ledger.sqlite")
        assert told(examine(None, settings), "file")[1].startswith(prefix)

    def test_is_asked_for_where_there_is_none(self, node: DataNode) -> None:
        """What needs no file is looked at all the same."""
        shutil.rmtree(node.data)
        rows = rows_of(node.config)
        assert told(rows, "file")[0] == "bad"
        assert "esgvzarr doctor URL" in told(rows, "file")[1]
        assert told(rows, "login")[0] == "good"


class TestDirectory:
    def test_that_is_not_served(self, node: DataNode, tmp_path: Path) -> None:
        node.write_config(
            reference_dir=str(tmp_path), reference_url=f"{node.thredds.url}/elsewhere"
        )
        health, text = told(rows_of(node.config), "directory")
        assert health == "bad"
        assert "404" in text
        assert not list(tmp_path.glob("esgvzarr.doctor*"))

    def test_that_hides_the_file_ends_of_zarr3(self, node: DataNode, tmp_path: Path) -> None:
        """A document would lead to nothing: what lies beside it is written and fetched too."""
        if available():
            pytest.skip(available())
        served = tmp_path / "served"
        served.mkdir()
        hidden = 'if ($uri ~ "[.]ends$") { return 404; }'
        for lines, health in ((hidden, "bad"), ("", "good")):
            with NginxServer(served, lines=lines) as server:
                node.write_config(
                    reference_dir=str(served),
                    reference_url=f"{server.url}{server.prefix}",
                    outputs=["json", "zarr3"],
                    allowed_hosts=[server.host],
                )
                found, text = told(rows_of(node.config), "directory")
            assert found == health, text
            assert (".ends" in text) is (lines == hidden)
            assert not list(served.iterdir())

    def test_that_cannot_be_written(self, node: DataNode) -> None:
        """The process file system takes no files, even from root."""
        node.write_config(reference_dir="/proc", reference_url=f"{node.thredds.url}/elsewhere")
        health, text = told(rows_of(node.config), "directory")
        assert health == "bad"
        assert "/proc" in text
        assert "reference_dir" in text

    def test_that_is_missing(self, node: DataNode, tmp_path: Path) -> None:
        """It is not made by looking."""
        node.write_config(
            reference_dir=str(tmp_path / "zarr"), reference_url=f"{node.thredds.url}/zarr"
        )
        assert told(rows_of(node.config), "directory")[0] == "bad"
        assert not (tmp_path / "zarr").exists()

    def test_whose_files_are_not_on_this_machine(self, node: DataNode, tmp_path: Path) -> None:
        """A URL alone says nothing of where to write."""
        (other,) = write_monthly(node.data / "other", lengths=(12,))
        settings = Settings(ledger=tmp_path / "ledger.sqlite")
        health, text = told(examine(None, settings, node.thredds.url_of(other)), "directory")
        assert health == "bad"
        assert "reference_dir" in text

    @pytest.mark.parametrize(
        ("said", "health"), [("max-age=315360000", "good"), ("no-store", "note")]
    )
    def test_caching(self, node: DataNode, said: str, health: str) -> None:
        node.thredds.fault(Headers({"Cache-Control": said}), "*.json")
        worst, text = told(rows_of(node.config), "caching")
        assert worst == health
        assert said in text


@pytest.mark.skipif(bool(available()), reason=available())
class TestBrowsers:
    """With the real nginx, and the very lines that are advised."""

    def look(self, tmp_path: Path, lines: str) -> tuple[str, str]:
        (file,) = write_monthly(tmp_path / "files", lengths=(12,))
        with NginxServer(tmp_path / "files", lines=lines) as server:
            return told(
                examine(None, Settings(ledger=tmp_path / "ledger.sqlite"), server.url_of(file)),
                "browsers",
            )

    def test_without_the_lines(self, tmp_path: Path) -> None:
        health, text = self.look(tmp_path, "")
        assert health == "note"
        assert NGINX_CORS in text
        assert "threddsConfig.xml" in text

    def test_with_half_of_them(self, tmp_path: Path) -> None:
        health, text = self.look(tmp_path, NGINX_CORS.splitlines()[0])
        assert health == "note"
        assert "Content-Range" in text

    def test_with_the_lines(self, tmp_path: Path) -> None:
        assert self.look(tmp_path, NGINX_CORS)[0] == "good"


class TestTls:
    @pytest.fixture
    def served(self, tmp_path: Path) -> Iterator[tuple[ThreddsServer, str]]:
        (file,) = write_monthly(tmp_path / "files", lengths=(12,))
        with ThreddsServer(tmp_path / "files", tls=True) as server:
            yield server, server.url_of(file)

    def test_that_is_trusted(self, served: tuple[ThreddsServer, str], tmp_path: Path) -> None:
        server, url = served
        settings = Settings(ca_bundle=server.ca_bundle, ledger=tmp_path / "ledger.sqlite")
        health, text = told(examine(None, settings, url), "tls")
        assert health == "good"
        assert "days" in text

    def test_that_is_not(self, served: tuple[ThreddsServer, str], tmp_path: Path) -> None:
        health, text = told(
            examine(None, Settings(ledger=tmp_path / "ledger.sqlite"), served[1]), "head"
        )
        assert health == "bad"
        assert "ca_bundle" in text


class TestLedger:
    def test_with_unfinished_datasets(self, node: DataNode) -> None:
        entry = Entry(
            DATASET_ID,
            Verb.PUBLISH,
            State.FAILED,
            "transport-unreachable",
            "no answer",
            "",
            "2026-11-20T10:00:00+00:00",
            Step.DONE,
        )
        ledger = Ledger(read_settings(node.config).ledger)
        ledger.add(replace(entry, state=State.OPEN, step=Step.DECIDED))
        ledger.add(entry)
        health, text = told(rows_of(node.config), "ledger")
        assert health == "note"
        assert "esgvzarr resume" in text

    def test_that_cannot_be_used(self, node: DataNode) -> None:
        node.write_config(ledger="/proc/esgvzarr.sqlite")
        assert told(rows_of(node.config), "ledger")[0] == "bad"


class TestEsgcet:
    def test_that_makes_references_of_its_own(self, node: DataNode) -> None:
        node.write_config(esgcet={"kerchunk": {"generation": True}})
        health, text = told(rows_of(node.config), "esgcet")
        assert health == "bad"
        assert "kerchunk.generation" in text

    def test_that_is_not_set_up(self, node: DataNode, tmp_path: Path) -> None:
        url = node.thredds.url_of(next(node.data.rglob("*.nc")))
        rows = examine(None, Settings(ledger=tmp_path / "ledger.sqlite"), url)
        assert told(rows, "esgcet")[0] == "note"
        assert not [row for row in rows if row.check in ("index", "login", "endpoints")]


class TestStac:
    def change(self, node: DataNode, **changed: Any) -> None:
        stac = yaml.safe_load(node.config.read_text())["stac_config"]
        api = {**stac["stac_transaction_api"], **changed.pop("api", {})}
        node.write_config(esgcet={"stac_config": {**stac, "stac_transaction_api": api, **changed}})

    def test_that_is_down(self, node: DataNode) -> None:
        self.change(node, stac_api="http://127.0.0.1:9")
        assert told(rows_of(node.config), "index")[0] == "bad"

    def test_that_is_something_else(self, node: DataNode) -> None:
        self.change(node, stac_api=f"{node.thredds.url}/thredds/catalog.xml")
        health, text = told(rows_of(node.config), "index")
        assert health == "bad"
        assert "stac_api" in text

    def test_that_is_not_named(self, node: DataNode) -> None:
        node.write_config(esgcet={"stac_config": {}})
        assert told(rows_of(node.config), "index")[0] == "bad"

    @pytest.mark.parametrize(
        ("kept", "health"),
        [
            (None, "bad"),
            ({}, "bad"),
            (
                {
                    "expires_at": 1.0,
                    "refresh_expires_at": 2.0,
                    "access_token": "x",
                    "refresh_token": "x",
                },
                "bad",
            ),
            (
                {
                    "expires_at": 4e9,
                    "refresh_expires_at": time.time() + 86400 * 3,
                    "access_token": "x",
                    "refresh_token": "x",
                },
                "good",
            ),
        ],
    )
    def test_login(self, node: DataNode, kept: dict[str, Any] | None, health: str) -> None:
        token = node.directory / "egi-token.json"
        token.unlink()
        if kept is not None:
            token.write_text(json.dumps(kept))
        worst, text = told(rows_of(node.config), "login")
        assert worst == health
        assert ("esglogin" in text) == (health == "bad")

    def test_login_that_ends_soon(self, node: DataNode) -> None:
        soon = time.time() + 86400 * 3
        kept = {
            "expires_at": soon,
            "refresh_expires_at": soon,
            "access_token": "x",
            "refresh_token": "x",
        }
        (node.directory / "egi-token.json").write_text(json.dumps(kept))
        assert told(rows_of(node.config), "login")[0] == "note"

    def test_login_at_a_server_that_is_down(self, node: DataNode) -> None:
        self.change(node, api={"scope_endpoint": "http://127.0.0.1:9/scope"})
        assert told(rows_of(node.config), "login")[0] == "bad"

    def test_endpoints_that_are_half_set(self, node: DataNode) -> None:
        stac = yaml.safe_load(node.config.read_text())["stac_config"]
        del stac["stac_transaction_api"]["token_endpoint"]
        node.write_config(esgcet={"stac_config": stac})
        health, text = told(rows_of(node.config), "endpoints")
        assert health == "note"
        assert "token_endpoint" in text

    def test_endpoints_without_tls(self, node: DataNode) -> None:
        self.change(node, api={"verify": False})
        assert told(rows_of(node.config), "endpoints")[0] == "bad"

    def test_transactions_that_are_down(self, node: DataNode) -> None:
        self.change(node, api={"base_url": "http://127.0.0.1:9"})
        assert told(rows_of(node.config), "endpoints")[0] == "bad"


class TestSolr:
    def configure(self, node: DataNode, server: SolrServer, certificate: Path | None) -> None:
        esgcet = {"stac_config": None, "index_node": server.host, "cert": str(certificate or "")}
        node.write_config(esgcet=esgcet, ca_bundle=str(server.ca_bundle))

    def test_that_answers(self, node: DataNode, solr_server: SolrServer) -> None:
        self.configure(node, solr_server, solr_server.client_certificate)
        rows = rows_of(node.config)
        assert told(rows, "index")[0] == told(rows, "login")[0] == "good"

    def test_without_a_certificate(self, node: DataNode, solr_server: SolrServer) -> None:
        self.configure(node, solr_server, None)
        assert told(rows_of(node.config), "login")[0] == "note"

    def test_with_one_that_ended(
        self, node: DataNode, solr_server: SolrServer, tmp_path: Path
    ) -> None:
        old = trustme.CA().issue_cert(
            common_name="publisher", not_after=datetime.now(UTC) - timedelta(days=2)
        )
        old.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "old.pem"))
        self.configure(node, solr_server, tmp_path / "old.pem")
        health, text = told(rows_of(node.config), "login")
        assert health == "bad"
        assert "old.pem" in text

    def test_with_what_is_none(
        self, node: DataNode, solr_server: SolrServer, tmp_path: Path
    ) -> None:
        (tmp_path / "none.pem").write_text("nothing")
        self.configure(node, solr_server, tmp_path / "none.pem")
        assert told(rows_of(node.config), "login")[0] == "bad"

    def test_that_is_broken(self, node: DataNode, solr_server: SolrServer) -> None:
        self.configure(node, solr_server, None)
        solr_server.fault(Status(500))
        assert told(rows_of(node.config), "index")[0] == "bad"


class TestGlobus:
    def configure(self, node: DataNode, server: GlobusServer) -> None:
        node.write_config(
            esgcet={"stac_config": None, "globus_index": True, "index_UUID": server.index_uuid}
        )

    def test_with_a_login(self, node: DataNode, globus_server: GlobusServer) -> None:
        self.configure(node, globus_server)
        rows = rows_of(node.config)
        assert told(rows, "index")[0] == told(rows, "login")[0] == "good"

    def test_without_one(
        self, node: DataNode, globus_server: GlobusServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("GLOBUS_CLI_CLIENT_ID")
        self.configure(node, globus_server)
        health, text = told(rows_of(node.config), "login")
        assert health == "bad"
        assert "globus login" in text

    def test_with_one_that_is_not_taken(
        self, node: DataNode, globus_server: GlobusServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GLOBUS_CLI_CLIENT_SECRET", "wrong")
        self.configure(node, globus_server)
        assert told(rows_of(node.config), "login")[0] == "bad"


class TestCommand:
    @pytest.fixture
    def run(self, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
        def run(*arguments: object) -> tuple[int, str]:
            with pytest.raises(SystemExit) as stop:
                cli.main(["doctor", *map(str, arguments)])
            return int(stop.value.code or 0), capsys.readouterr().out

        return run

    def test_exit_status_and_json(
        self, node: DataNode, run: Callable[..., tuple[int, str]]
    ) -> None:
        status, text = run("--json", "--config", node.config)
        assert status == 0
        assert {"check", "health", "found", "todo"} == set(json.loads(text)[0])
        node.thredds.fault(NoRanges(), "*.nc")
        status, text = run("--json", "--config", node.config)
        assert status == 1
        assert [row["check"] for row in json.loads(text) if row["health"] == "bad"] == ["ranges"]

    def test_table(self, node: DataNode, run: Callable[..., tuple[int, str]]) -> None:
        status, text = run("--config", node.config)
        assert status == 0
        assert "add_header Access-Control-Allow-Origin *" in text
        assert "<allowedOrigin>*</allowedOrigin>" in "".join(
            line[17:].strip() for line in text.splitlines()
        )

    def test_a_config_that_is_not_there(
        self, tmp_path: Path, run: Callable[..., tuple[int, str]]
    ) -> None:
        assert run("--config", tmp_path / "none.yaml")[0] == 2
