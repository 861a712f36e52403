"""The real esgpublish, run in this process and in one of its own, against a STAC API on the
loopback.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from esgvzarr.errors import LinkError, PublisherError
from esgvzarr.esgpublish import Registration, check_config, config_path, run_esgpublish
from esgvzarr.esgpublish.hook import _paths
from esgvzarr.link.with_esgcet import publish_with_esgcet
from esgvzarr.outcome import State
from esgvzarr.settings import Settings
from esgvzarr.testing.faults import Problem
from esgvzarr.testing.stac import StacServer

pytest.importorskip("esgcet", reason="esgpublish is in the extra `publisher`")

FIRST = "CMIP6/CMIP/CAS/FGOALS-g3/historical/r1i1p1f1/day/ta/gn/v20190826"
SECOND = "CMIP6/CMIP/CMCC/CMCC-CM2-SR5/historical/r1i1p1f1/day/ta/gn/v20200616"
_UNREAD = "transport-unreachable"
"""The data node of these tests serves nothing."""


def dsid(folder: str) -> str:
    return folder.replace("/", ".")


@pytest.fixture(scope="session")
def sample(sample_root: Path) -> Path:
    """Where the real CMIP6 files are."""
    return sample_root


@pytest.fixture(autouse=True)
def _schema_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    """esgcet asks an esgvoc database for these, which a closed machine does not have."""
    from esgcet.util.settings import STAC_schema_versions

    monkeypatch.setitem(STAC_schema_versions, "CMIP6", "v3.0.4")


@pytest.fixture
def write_map(sample: Path, tmp_path: Path) -> Callable[[str], str]:
    """Write the mapfile of a sample dataset, and give back its path."""

    def write(folder: str) -> str:
        master_id, _, version = dsid(folder).rpartition(".v")
        lines = []
        for file in sorted((sample / folder).glob("*.nc")):
            checksum = hashlib.sha256(file.read_bytes()).hexdigest()
            fields = (
                f"{file.stat().st_size} | mod_time=1700000000.0 | checksum={checksum} | "
                "checksum_type=SHA256"
            )
            lines.append(f"{master_id}#{version} | {file} | {fields}\n")
        path = tmp_path / f"{dsid(folder)}.map"
        path.write_text("".join(lines))
        return str(path)

    return write


@pytest.fixture
def write_config(stac_server: StacServer, sample: Path, tmp_path: Path) -> Callable[..., str]:
    """Write an esg.yaml whose every endpoint is on the loopback, and give back its path."""
    token = tmp_path / "egi-token.json"
    forever = {"expires_at": 4102444800, "refresh_expires_at": 4102444800}
    token.write_text(json.dumps({"access_token": "x", "refresh_token": "x", **forever}))

    def write(**changes: Any) -> str:
        nowhere = f"{stac_server.url}/none"
        api = {
            "base_url": stac_server.url,
            "scope_endpoint": f"{stac_server.url}/scope",
            "client_id": "loopback",
            "token_endpoint": nowhere,
            "device_endpoint": nowhere,
        }
        stac = {
            "stac_api": stac_server.url,
            "token_storage_file": str(token),
            "stac_client": {},
            "stac_transaction_api": api,
        }
        config = {
            "project": "none",
            "data_node": "localhost:8443",
            "data_roots": {str(sample): "esg_dataroot"},
            "globus_uuid": "none",
            "mountpoint_map": "none",
            "non_netcdf": False,
            "cmor_path": "none",
            "disable_citation": True,
            "disable_qaqc": True,
            "user_project_config": {},
            "stac_config": stac,
        }
        path = tmp_path / "esg.yaml"
        path.write_text(yaml.safe_dump({**config, **changes}))
        return str(path)

    return write


def posted(server: StacServer) -> list[str]:
    return [
        json.loads(request.body)["id"]
        for request in server.requests
        if request.path == "/collections/CMIP6/items"
    ]


class Heard(list[Registration]):
    """A callback that remembers."""

    def __call__(self, registration: Registration) -> None:
        self.append(registration)


class TestRun:
    def test_tells_of_each_dataset_that_was_registered(
        self, write_map: Any, write_config: Any, stac_server: StacServer, sample: Path
    ) -> None:
        """Two maps, two datasets: the records as esgcet made them, and where each file lies."""
        heard = Heard()
        assert (
            run_esgpublish(
                ["--map", write_map(FIRST), write_map(SECOND), "--config", write_config()], heard
            )
            == 0
        )
        assert posted(stac_server) == [dsid(FIRST), dsid(SECOND)]
        assert [registration.instance_id for registration in heard] == [dsid(FIRST), dsid(SECOND)]
        for registration, folder in zip(heard, (FIRST, SECOND), strict=True):
            *files, dataset = registration.records
            assert dataset["type"] == "Dataset"
            assert {file["type"] for file in files} == {"File"}
            prefix = f"https://localhost:8443/thredds/fileServer/esg_dataroot/{folder}"
            assert registration.paths == {
                f"{prefix}/{path.name}": str(path)
                for path in sorted((sample / folder).glob("*.nc"))
            }
            assert (registration.index_kind, registration.dry_run) == ("stac", False)
            assert registration.config["stac_config"]["stac_api"] == stac_server.url

    def test_leaves_everything_as_it_was(self, write_map: Any, write_config: Any) -> None:
        """The hooks are gone afterwards, the arguments are the program's own again, and stdin is
        open.
        """
        from esgcet import pub_internal
        from esgcet.project.generic_pub import BasePublisher

        before = (sys.argv, pub_internal.PubRunner, BasePublisher.index_pub, exit)
        run_esgpublish(["--map", write_map(FIRST), "--config", write_config()], Heard())
        assert before == (sys.argv, pub_internal.PubRunner, BasePublisher.index_pub, exit)

    def test_acts_when_esgcet_is_through_with_the_map(
        self, write_map: Any, write_config: Any, stac_server: StacServer
    ) -> None:
        """First dataset whole, then the callback, then the second dataset."""
        seen: list[list[str]] = []
        run_esgpublish(
            ["--map", write_map(FIRST), write_map(SECOND), "--config", write_config()],
            lambda _: seen.append(posted(stac_server)),
        )
        assert seen == [[dsid(FIRST)], [dsid(FIRST), dsid(SECOND)]]

    @pytest.mark.parametrize(
        "error",
        [LinkError("x", "y"), RuntimeError("y"), SystemExit(9)],
        ids=["ours", "foreign", "exit"],
    )
    def test_a_callback_that_raises_changes_nothing(
        self,
        write_map: Any,
        write_config: Any,
        stac_server: StacServer,
        caplog: pytest.LogCaptureFixture,
        error: BaseException,
    ) -> None:
        """Whatever goes wrong after registration is logged with the DSID; esgpublish goes on to the
        next map and gives 0.
        """

        def broken(_: Registration) -> None:
            raise error

        assert (
            run_esgpublish(
                ["--map", write_map(FIRST), write_map(SECOND), "--config", write_config()], broken
            )
            == 0
        )
        assert posted(stac_server) == [dsid(FIRST), dsid(SECOND)]
        told = [
            record.getMessage()
            for record in caplog.records
            if record.name == "esgvzarr.esgpublish.hook"
        ]
        assert [message.split(":")[0] for message in told] == [dsid(FIRST), dsid(SECOND)]

    def test_a_refused_dataset_is_not_told_of(
        self,
        write_map: Any,
        write_config: Any,
        stac_server: StacServer,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """What the index refused is not registered; the status is esgcet's 1."""
        stac_server.fault(Problem(), methods=("POST",), paths="/collections/*")
        heard = Heard()
        assert run_esgpublish(["--map", write_map(FIRST), "--config", write_config()], heard) == 1
        assert heard == []
        assert "esgpublish did not register it" in caplog.text

    def test_a_run_that_stops_half_way_names_every_map(
        self, write_map: Any, write_config: Any, stac_server: StacServer, tmp_path: Path
    ) -> None:
        """esgcet leaves all maps after the first that fails: in the index, or before."""
        settings = Settings(ledger=tmp_path / "ledger.sqlite", proof_samples=0)
        lost = tmp_path / "lost.map"
        lost.write_text("CMIP6.a#1 | /nowhere/a.nc | 1\n")
        maps = [write_map(FIRST), write_map(SECOND), str(lost)]
        arguments = ["--map", *maps, "--config", write_config()]
        status, outcomes = publish_with_esgcet(arguments, settings)
        assert status == 1
        assert posted(stac_server) == [dsid(FIRST), dsid(SECOND)]
        assert [one.dataset_id for one in outcomes] == [dsid(FIRST), dsid(SECOND), str(lost)]
        assert [one.code for one in outcomes] == [_UNREAD, _UNREAD, "publisher-not-registered"]

        stac_server.fault(Problem(), methods=("POST",), paths="/collections/*")
        status, outcomes = publish_with_esgcet(arguments, settings)
        assert status == 1
        assert [one.dataset_id for one in outcomes] == [dsid(FIRST), maps[1], maps[2]]
        assert [one.state for one in outcomes[1:]] == [State.SKIPPED] * 2
        assert {one.code for one in outcomes[1:]} == {"publisher-not-tried"}

    def test_tells_though_esgcet_stops_after_registration(
        self, write_map: Any, write_config: Any, stac_server: StacServer
    ) -> None:
        """esgcet registers, then exits with 1 as it cannot search for older versions: the dataset
        is registered all the same.
        """
        stac_server.fault(Problem(500), paths="/search")
        heard = Heard()
        assert run_esgpublish(["--map", write_map(FIRST), "--config", write_config()], heard) == 1
        assert [registration.instance_id for registration in heard] == [dsid(FIRST)]

    def test_an_index_that_is_down(
        self, write_map: Any, write_config: Any, stac_server: StacServer
    ) -> None:
        """esgpublish gives 1 where its login cannot even begin, and nothing is told."""
        config = write_config()
        with StacServer() as gone:
            dead = gone.url
        Path(config).write_text(Path(config).read_text().replace(stac_server.url, dead))
        heard = Heard()
        assert run_esgpublish(["--map", write_map(FIRST), "--config", config], heard) == 1
        assert heard == []

    def test_a_dry_run_is_told_as_one(
        self, write_map: Any, write_config: Any, stac_server: StacServer
    ) -> None:
        """esgcet says that a dry run went well; its caller must know that nothing is
        there.
        """
        heard = Heard()
        assert (
            run_esgpublish(
                ["--dry-run", "--map", write_map(FIRST), "--config", write_config()], heard
            )
            == 0
        )
        assert posted(stac_server) == []
        assert [registration.dry_run for registration in heard] == [True]

    @pytest.mark.parametrize(
        ("arguments", "status"),
        [(["--help"], 0), (["--version"], 0), (["--no-such-option"], 2), ([], 2)],
    )
    def test_gives_esgpublishs_own_status(self, arguments: list[str], status: int) -> None:
        """Help, version and wrong usage are esgpublish's own."""
        assert run_esgpublish(arguments, Heard()) == status

    def test_a_crash_in_esgcet_is_status_1(
        self, write_config: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A map that is not there ends esgpublish with a traceback: the program would give 1."""
        assert (
            run_esgpublish(["--map", str(tmp_path / "no.map"), "--config", write_config()], Heard())
            == 1
        )
        assert "no.map" in caplog.text

    def test_paths_are_those_after_esgcets_mount_points(
        self, write_map: Any, write_config: Any, sample: Path
    ) -> None:
        """The map may name the files as another machine sees them."""
        path = Path(write_map(FIRST))
        path.write_text(path.read_text().replace(str(sample), "/elsewhere"))
        heard = Heard()
        assert (
            run_esgpublish(
                [
                    "--map",
                    str(path),
                    "--config",
                    write_config(mountpoint_map={"/elsewhere": str(sample)}),
                ],
                heard,
            )
            == 0
        )
        assert sorted(heard[0].paths.values()) == sorted(map(str, (sample / FIRST).glob("*.nc")))

    def test_names_the_credentials_nowhere(self, write_map: Any, write_config: Any) -> None:
        """A registration that is logged shows no configuration: it may hold credentials."""
        heard = Heard()
        run_esgpublish(["--map", write_map(FIRST), "--config", write_config()], heard)
        assert "stac_config" not in repr(heard[0])


def test_same_as_the_program(
    write_map: Any, write_config: Any, stac_server: StacServer, tmp_path: Path
) -> None:
    """In a process of its own esgpublish sends the same items, hooked or not."""
    arguments = ["--map", write_map(FIRST), "--config", write_config()]
    patch = (
        "from esgcet.util.settings import STAC_schema_versions as v; v.update(CMIP6='v3.0.4'); "
        "import sys; "
    )
    plain = patch + "from esgcet.pub_internal import main; main()"
    hooked = patch + (
        "from esgvzarr.esgpublish import run_esgpublish; "
        "sys.exit(run_esgpublish(sys.argv[1:], lambda r: print(r.instance_id)))"
    )
    stac_server.queue_loses = True  # or else the second would be a conflict
    items = []
    for program in (plain, hooked):
        stac_server.clear()
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr
        (item,) = [
            json.loads(request.body)
            for request in stac_server.requests
            if request.path == "/collections/CMIP6/items"
        ]
        del item["properties"]["created"], item["properties"]["updated"]
        items.append(item)
    assert items[0] == items[1]
    assert done.stdout.splitlines()[-1] == dsid(FIRST)


def test_equal_names_in_two_directories_keep_their_paths() -> None:
    """Paths are known by URL, for a name may stand in two directories."""
    names = ("a/x.nc", "skipped.nc", "b/x.nc")
    urls = {name: f"https://node/{name}" for name in names}
    records = [
        {"type": "File", "title": "x.nc", "url": [f"{urls[name]}|application/netcdf|HTTPServer"]}
        for name in ("a/x.nc", "b/x.nc")
    ]
    maplines = [{"file": f"/data/{name}"} for name in names]
    assert _paths([*records, {"type": "Dataset"}], maplines) == {
        urls["a/x.nc"]: "/data/a/x.nc",
        urls["b/x.nc"]: "/data/b/x.nc",
    }


def test_importing_the_bridge_is_light() -> None:
    """esgcet takes seconds to import, so it is imported when it is run."""
    program = (
        "import sys, esgvzarr.esgpublish; sys.exit(any(m.split('.')[0] in ('esgcet', 'xarray', "
        "'requests') for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


class TestCheckConfig:
    def test_takes_a_config_without_references_of_esgcets_own(self, tmp_path: Path) -> None:
        """No key, or a key that is off, changes nothing."""
        for text in ("", "kerchunk:\n", "kerchunk: {generation: false}\n"):
            (tmp_path / "esg.yaml").write_text(text)
            check_config(tmp_path / "esg.yaml")

    def test_refuses_esgcets_own_references(self, tmp_path: Path) -> None:
        """The message names the file and the key to turn off."""
        (tmp_path / "esg.yaml").write_text("kerchunk: {generation: true}\n")
        with pytest.raises(
            PublisherError, match=r"esg\.yaml, key kerchunk\.generation.*generation: false"
        ) as caught:
            check_config(tmp_path / "esg.yaml")
        assert caught.value.code == "publisher-kerchunk-on"

    def test_says_how_to_get_esgcet(self, tmp_path: Path) -> None:
        """Where esgcet is not installed, the command that installs it is named."""
        program = (
            "import sys; sys.modules['esgcet'] = None\n"
            "from esgvzarr.esgpublish import check_config\n"
            "from esgvzarr.errors import PublisherError\n"
            "try: check_config('/dev/null')\n"
            "except PublisherError as error: print(error)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        )
        assert "pip install 'esgvzarr[publisher]'" in done.stdout


class TestConfigPath:
    @pytest.mark.parametrize(
        "arguments",
        [
            [],
            ["--config", "a.yaml"],
            ["--config=a.yaml"],
            ["-cfg", "a.yaml"],
            ["-cfg=a.yaml"],
            ["--conf", "a.yaml"],
            ["--co=a.yaml"],
            ["-c", "cert.pem"],
            ["-c", "cert.pem", "-cfg", "a.yaml"],
            ["--certificate", "cert.pem"],
            ["--cert=cert.pem"],
            ["--cmor-tables", "tables"],
            ["--config", "a.yaml", "--config", "b.yaml"],
            ["--project", "CMIP6", "--verbose", "--config", "~/a.yaml"],
        ],
    )
    @pytest.mark.parametrize("environment", [None, "env.yaml"])
    def test_is_the_one_that_esgpublish_reads(
        self, arguments: list[str], environment: str | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Our few lines and esgcet's own parser agree, whatever way the option is written."""
        from esgcet.util.args import PublisherArgs

        if environment:
            monkeypatch.setenv("ESG_CONFIG_FILE", environment)
        else:
            monkeypatch.delenv("ESG_CONFIG_FILE", raising=False)
        arguments = [*arguments, "--map", "x.map", "y.map"]
        monkeypatch.setattr(sys, "argv", ["esgpublish", *arguments])
        assert config_path(arguments) == Path(PublisherArgs().get_args().cfg)

    def test_wrong_usage_is_an_error_of_ours(self) -> None:
        """An option without its value is said, not exited on."""
        with pytest.raises(PublisherError) as caught:
            config_path(["--map", "x.map", "--config"])
        assert caught.value.code == "publisher-usage"
