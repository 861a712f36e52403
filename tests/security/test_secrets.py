"""No token, key, password or signature is in logs, ledger, error texts, reports or reference files,
also if a server sends it back to us.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from esgvzarr import cli
from esgvzarr.errors import SettingsError, TransportError
from esgvzarr.settings import read_settings
from esgvzarr.testing import (
    DATASET_ID,
    GlobusServer,
    Problem,
    SolrServer,
    StacServer,
    make_item,
    write_monthly,
)
from esgvzarr.testing.faults import Answer
from esgvzarr.testing.globus import CLIENT_SECRET, TOKEN
from esgvzarr.testing.loopback import Asked, Response, text_response
from esgvzarr.testing.node import DataNode, schema_versions

pytest.importorskip("esgcet", reason="esgpublish is in the extra `publisher`")

pytestmark = pytest.mark.filterwarnings("ignore:Unverified HTTPS request")  # esgcet's own

ACCESS = "access-t0ken-77aa"
REFRESH = "refresh-t0ken-88bb"
PASSWORD = "passw0rd-99cc"
SIGNATURE = "signature-00dd"


def run(*arguments: object) -> str:
    """All that ``esgvzarr --debug`` prints."""
    said = io.StringIO()
    with (
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(said),
        schema_versions(),
        pytest.raises(SystemExit),
    ):
        cli.main(["--debug", *map(str, arguments)])
    return said.getvalue()


@pytest.fixture(autouse=True)
def _all_logs(caplog: pytest.LogCaptureFixture) -> None:
    """Of our own loggers and of everybody's."""
    caplog.set_level(logging.DEBUG)


def kept(node: DataNode) -> str:
    """All that lies in the node's directory but the operator's own files."""
    own = {"esg.yaml", "egi-token.json", "cert.pem"}
    files = (
        path
        for path in node.directory.rglob("*")
        if path.is_file() and path.name not in own and path.suffix != ".nc"
    )
    return "".join(path.read_bytes().decode("latin-1") for path in files)


def check_secret(
    node: DataNode, said: str, caplog: pytest.LogCaptureFixture, *secrets: str
) -> None:
    everything = {
        "printed": said,
        "kept": kept(node),
        "logged": caplog.text + "".join(repr(r.args) for r in caplog.records),
    }
    assert DATASET_ID in everything["printed"]
    assert DATASET_ID in everything["kept"]
    for secret in secrets:
        assert {where for where, text in everything.items() if secret in text} == set()


def source(node: DataNode) -> list[object]:
    return [node.directory_of(DATASET_ID), "--dataset-id", DATASET_ID, "--config", node.config]


def settings_of(node: DataNode) -> dict[str, object]:
    prefix = f"{node.thredds.url}/thredds/fileServer/esg_dataroot"
    return {"data_paths": {str(node.data): prefix}, "poll_timeout_s": 1, "retries": 0}


def login(node: DataNode) -> None:
    """Tokens that are easily found again."""
    token = node.directory / "egi-token.json"
    token.write_text(
        json.dumps(
            {**json.loads(token.read_text()), "access_token": ACCESS, "refresh_token": REFRESH}
        )
    )


@pytest.fixture
def node(stac_server: StacServer, tmp_path: Path) -> Iterator[DataNode]:
    with DataNode(tmp_path / "node", stac_server.url) as node:
        node.add_dataset(DATASET_ID, write_monthly(tmp_path / "made"))
        node.write_config(**settings_of(node))
        login(node)
        yield node


ECHO = f"Authorization: Bearer {ACCESS}, {ACCESS}"


@pytest.mark.parametrize("status", [200, 401, 403, 500])
def test_publishing_to_a_stac_api_tells_no_token(
    status: int, node: DataNode, stac_server: StacServer, caplog: pytest.LogCaptureFixture
) -> None:
    """An API that fails may send back what it was sent."""
    if status != 200:
        stac_server.fault(Problem(status, "Failed", ECHO), methods=("PATCH",))
    said = run("publish", "--map", node.maps / f"{DATASET_ID}.map", "--config", node.config)
    assert ("index-http" in said) == (status != 200), said
    assert any(
        f"Bearer {ACCESS}" in request.headers.get("Authorization", "")
        for request in stac_server.requests
    )
    said += run("resume", DATASET_ID, "--config", node.config) + run(
        "status", "--json", "--config", node.config
    )
    said += run("unpublish", DATASET_ID, "--config", node.config)
    check_secret(node, said, caplog, ACCESS, REFRESH, "egi-token.json")


class Echo:
    """An error that says again what it was sent, and more."""

    def __init__(self, make: Callable[[str], Response]) -> None:
        self._make = make

    def apply(self, asked: Asked, answer: Answer) -> Response:
        return self._make(" ".join(f"{name}: {value}" for name, value in asked.headers.items()))


@pytest.mark.parametrize("status", [200, 500])
def test_linking_in_solr_tells_no_key(
    status: int, solr_server: SolrServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of the certificate that the index is shown."""
    assert solr_server.client_certificate is not None
    key = [
        line for line in solr_server.client_certificate.read_text().splitlines() if len(line) > 60
    ]
    with DataNode(tmp_path / "node", "") as node:
        node.add_dataset(DATASET_ID, write_monthly(tmp_path / "made"))
        esgcet = {
            "stac_config": {},
            "index_node": solr_server.host,
            "cert": str(solr_server.client_certificate),
        }
        node.write_config(esgcet=esgcet, **settings_of(node), ca_bundle=str(solr_server.ca_bundle))
        solr_server.add_document(
            {
                "id": f"{DATASET_ID}|{node.thredds.host}",
                "instance_id": DATASET_ID,
                "type": "Dataset",
                "title": "x",
                "access": ["x"],
                "data_node": node.thredds.host,
                "url": [],
                "xlink": [],
            }
        )
        if status != 200:
            solr_server.fault(
                Echo(lambda headers: text_response(status, headers)), "/esg-search/ws/update"
            )
        said = run("link", *source(node))
        assert ("index-http-500" in said) == (status != 200), said
        check_secret(node, said, caplog, *key)


@pytest.mark.parametrize("status", [200, 401, 500])
def test_linking_in_globus_search_tells_no_token(
    status: int, globus_server: GlobusServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither that of the index, nor what it was got with."""
    with DataNode(tmp_path / "node", "") as node:
        node.add_dataset(DATASET_ID, write_monthly(tmp_path / "made"))
        node.write_config(
            esgcet={
                "stac_config": {},
                "globus_index": True,
                "index_UUID": globus_server.index_uuid,
            },
            **settings_of(node),
        )
        globus_server.add_entry(
            {
                "id": f"{DATASET_ID}|{node.thredds.host}",
                "instance_id": DATASET_ID,
                "type": "Dataset",
                "access": ["x"],
                "data_node": node.thredds.host,
            }
        )
        if status != 200:
            globus_server.fault(
                Echo(
                    lambda headers: text_response(
                        status, json.dumps({"code": "X", "message": headers}), "application/json"
                    )
                ),
                "*/ingest",
            )
        said = run("link", *source(node))
        assert ("index-http" in said) == (status != 200), said
        assert any(
            TOKEN in request.headers.get("Authorization", "") for request in globus_server.requests
        )
        check_secret(node, said, caplog, TOKEN, CLIENT_SECRET)


def test_passwords_and_signatures_in_urls_are_not_shown(
    node: DataNode, stac_server: StacServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Of sources, of the index, of settings. No login uses them: restricted data are not for
    references.
    """
    query = f"?X-Amz-Signature={SIGNATURE}&token={SIGNATURE}"
    users = node.thredds.url.replace("//", f"//me:{PASSWORD}@")
    hrefs = {
        file.name: node.thredds.url_of(file)
        for file in sorted(node.directory_of(DATASET_ID).glob("*.nc"))
    }
    stac_server.add_item(make_item(DATASET_ID, hrefs, data_node=node.thredds.host))
    with_user = stac_server.url.replace("//", f"//me:{PASSWORD}@")
    node.stac_url = with_user
    node.write_config(**settings_of(node))
    login(node)
    said = run("link", *source(node))
    for place in (
        f"{users}/catalog.xml{query}",
        f"{users}/a.nc{query}",
        f"{users}/gone.json{query}",
        f"http://[bad/{query}",
    ):
        said += run("link", place, "--dataset-id", DATASET_ID, "--config", node.config)
        said += run(
            "generate",
            place,
            "--dataset-id",
            DATASET_ID,
            "--output-dir",
            node.directory / "out",
            "--config",
            node.config,
        )
        said += run("verify", place, "--config", node.config)
    stated = caplog.text
    caplog.clear()
    assert PASSWORD not in stated
    check_secret(node, said, caplog, PASSWORD, SIGNATURE)
    assert SIGNATURE not in "".join(line for line in stated.splitlines() if "esgvzarr" in line)


def test_a_setting_with_a_password_is_refused_without_repeating_it(tmp_path: Path) -> None:
    """It would be in every link."""
    for section in (
        {"reference_dir": "/x", "reference_url": f"https://me:{PASSWORD}@node/x"},
        {"data_paths": {"/data": f"https://me:{PASSWORD}@node/x"}},
    ):
        config = tmp_path / "esg.yaml"
        config.write_text(json.dumps({"esgvzarr": section}))
        with pytest.raises(SettingsError) as caught:
            read_settings(config)
        assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        f"http://me:{PASSWORD}@node/x",
        f"https://{PASSWORD}@node",
        f"('http://a:{PASSWORD}@b/c')",
        f"x http://node/?sig={PASSWORD}&a=1",
        f"http://node/?a=1&X-Amz-Credential={PASSWORD}",
        f"http://node/?access_token={PASSWORD}'",
    ],
)
def test_errors_take_secrets_out_of_urls(text: str) -> None:
    error = TransportError(text, text, expected=text, todo=text)
    assert PASSWORD not in str(error) + repr(error) + repr(error.__dict__)
    assert "node" in str(error) or "b/c" in str(error)
