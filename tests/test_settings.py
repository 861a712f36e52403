"""Settings come from esg.yaml, the environment and arguments, in this order; what is wrong is named
by its place.
"""

import json
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from esgvzarr.errors import SettingsError
from esgvzarr.esg_yaml import read_config, read_section
from esgvzarr.settings import ENVIRONMENT_PREFIX, Settings, read_settings

CONFIG = Path(__file__).parents[1] / "config"
WRITE_SCHEMA = (
    'python -c "import json; from esgvzarr.settings import Settings; '
    'print(json.dumps(Settings.model_json_schema(), indent=2))" > config/schema.json'
)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(ENVIRONMENT_PREFIX + name.upper(), raising=False)


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write_config(text: str) -> Path:
        path = tmp_path / "esg.yaml"
        path.write_text(textwrap.dedent(text))
        return path

    return write_config


def test_everything_has_a_default() -> None:
    assert read_settings() == Settings()


def test_a_config_without_our_section_gives_the_defaults(write: Any) -> None:
    for text in ("project: none\n", "", "esgvzarr:\n", "esgvzarr:\n  # nothing set\n"):
        assert read_settings(write(text)) == Settings()


def test_an_argument_stands_before_the_environment_and_that_before_the_file(
    write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write("esgvzarr: {timeout_s: 1, retries: 1, connections: 1}")
    monkeypatch.setenv("ESGVZARR_RETRIES", "2")
    monkeypatch.setenv("ESGVZARR_CONNECTIONS", "2")
    settings = read_settings(config, connections=3, proof_samples=None)
    assert (settings.timeout_s, settings.retries, settings.connections, settings.proof_samples) == (
        1,
        2,
        3,
        8,
    )


def test_the_environment_takes_values_as_in_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESGVZARR_ALLOWED_HOSTS", "[a.example.org, 'b.example.org:8443']")
    monkeypatch.setenv(
        "ESGVZARR_DATA_PATHS", "{/data: https://esgf.example.org/thredds/fileServer/root}"
    )
    monkeypatch.setenv("ESGVZARR_STRICT", "true")
    settings = read_settings()
    assert settings.allowed_hosts == ("a.example.org", "b.example.org:8443")
    assert settings.data_paths == {"/data": "https://esgf.example.org/thredds/fileServer/root"}
    assert settings.strict is True


def test_an_unknown_setting_is_named_with_file_line_and_a_similar_one(write: Any) -> None:
    config = write("""\
        project: none
        esgvzarr:
          retries: 3
          time_out_s: 5
        """)
    with pytest.raises(SettingsError) as error:
        read_settings(config)
    assert (
        str(error.value)
        == f"{config}, line 4, key esgvzarr.time_out_s: no such setting. Did you mean 'timeout_s'?"
    )


def test_an_unknown_setting_like_no_other_leads_to_the_list(write: Any) -> None:
    with pytest.raises(
        SettingsError, match=r"key esgvzarr\.xyzzy: no such setting\. docs/reference/settings\.md"
    ):
        read_settings(write("esgvzarr: {xyzzy: 1}"))


@pytest.mark.parametrize(
    ("section", "line", "key"),
    [
        ("timeout_s: soon", 2, "timeout_s"),
        ("strict: true\n  retries: -1", 3, "retries"),
        ("connections: 1000", 2, "connections"),
        ("read: sometimes", 2, "read"),
        ("media_type: application/zarr", 2, "media_type"),
        ("allowed_hosts: a.example.org", 2, "allowed_hosts"),
        ("reference_url: ftp://esgf.example.org", 2, "reference_url"),
        ("data_paths:\n    /data: [1]", 2, "data_paths"),
        ("data_paths:\n    data: https://esgf.example.org", 2, "data_paths"),
        ("data_paths:\n    /data: esgf.example.org/thredds", 2, "data_paths"),
        ("ledger: 2020-01-01", 2, "ledger"),
    ],
)
def test_a_wrong_value_is_named_with_file_line_and_key(
    write: Any, section: str, line: int, key: str
) -> None:
    config = write(f"esgvzarr:\n  {section}\n")
    with pytest.raises(SettingsError) as error:
        read_settings(config)
    assert error.value.subject == f"{config}, line {line}, key esgvzarr.{key}"
    assert "got" in error.value.found


def test_a_directory_without_a_url_is_refused(write: Any) -> None:
    config = write("esgvzarr:\n  reference_dir: /data/zarr\n")
    with pytest.raises(
        SettingsError,
        match=r"esg\.yaml, line 2, key esgvzarr: .*reference_dir and reference_url go together",
    ):
        read_settings(config)


def test_the_environment_is_blamed_for_what_it_says(
    write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ESGVZARR_TIMEOUT_S", "-1")
    with pytest.raises(
        SettingsError,
        match=r"^environment variable ESGVZARR_TIMEOUT_S, key esgvzarr\.timeout_s: .*-1",
    ):
        read_settings(write("esgvzarr:\n  timeout_s: 5\n"))
    monkeypatch.setenv("ESGVZARR_TIMEOUT_S", "{")
    with pytest.raises(
        SettingsError, match=r"^environment variable ESGVZARR_TIMEOUT_S: is not YAML"
    ):
        read_settings()


@pytest.mark.parametrize(
    ("variable", "value"), [("OUTPUT", "nosuch"), ("OUTPUTS", "[json, nosuch]")]
)
def test_the_environment_is_blamed_for_an_output_that_is_not_known(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"ESGVZARR_{variable}", value)
    with pytest.raises(SettingsError, match=f"^environment variable ESGVZARR_{variable}, key"):
        read_settings()


def test_what_belongs_together_is_named_with_where_it_comes_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ESGVZARR_REFERENCE_DIR", "/data/zarr")
    with pytest.raises(SettingsError, match=r"^environment variable ESGVZARR_REFERENCE_DIR, key"):
        read_settings()


@pytest.mark.parametrize("key", ["reference_dir", "ledger", "ca_bundle"])
def test_an_empty_path_is_not_the_directory_of_the_command(write: Any, key: str) -> None:
    with pytest.raises(SettingsError, match=rf"key esgvzarr\.{key}: .*the path is empty"):
        read_settings(write(f"esgvzarr:\n  {key}: ''\n"))


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("esgvzarr:\n  retries: 1\na: 1\nesgvzarr:\n  strict: true\n", "line 4, key esgvzarr"),
        ("esgvzarr:\n  retries: 1\n  strict: true\n  retries: 2\n", "line 4, key retries"),
    ],
)
def test_a_key_that_is_there_twice_is_refused(write: Any, text: str, where: str) -> None:
    """PyYAML would take the last, and drop the others without a word."""
    with pytest.raises(SettingsError, match=rf"esg\.yaml, {where}: occurs twice"):
        read_settings(write(text))
    read_settings(write("a: 1\na: 2\nesgvzarr:\n  retries: 1\n"))  # esgcet's own business


def test_an_argument_is_blamed_for_what_it_says(write: Any) -> None:
    with pytest.raises(SettingsError, match=r"^argument, key esgvzarr\.timeout_s: .*-1"):
        read_settings(write("esgvzarr:\n  timeout_s: 5\n"), timeout_s=-1)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("project: none\nesgvzarr: {retries: 3\nx: [", "line 3: is not YAML"),
        ("? [a, b]\n: 1\n", "line 1: is not YAML"),
        ("- a\n- b\n", "holds a list"),
        ("esgvzarr: yes\n", r"key esgvzarr: is a bool \(expected a mapping"),
        ("esgvzarr: off\n", "key esgvzarr: is a bool"),
        ("esgvzarr: [1]\n", "key esgvzarr: is a list"),
        ("!!python/object/apply:os.system ['true']\n", "is not YAML"),
    ],
)
def test_bad_yaml_is_named_with_its_line(write: Any, text: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=rf"esg\.yaml.*{reason}"):
        read_settings(write(text))


@pytest.mark.parametrize("content", [None, b"\xff\xfe\xfa"])
def test_a_config_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "esg.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError, match=r"esg\.yaml: cannot be read.*--config"):
        read_settings(path)


def test_the_section_comes_with_the_lines_of_its_keys(write: Any) -> None:
    config = write("project: none\n\nesgvzarr:\n  retries: 1\n\n  strict: true\n")
    assert read_section(config) == ({"retries": 1, "strict": True}, {"retries": 4, "strict": 6})


def test_settings_cannot_be_changed_later() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().retries = 5  # type: ignore[misc]


def test_every_setting_is_described() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_the_schema_is_up_to_date() -> None:
    written = json.loads((CONFIG / "schema.json").read_text())
    assert written == Settings.model_json_schema(), (
        f"config/schema.json is stale. Write it again:\n{WRITE_SCHEMA}"
    )


def test_the_example_is_a_valid_config_that_changes_nothing() -> None:
    """The data node that it names may be fetched from, as ever; where esgcet serves its data is
    known.
    """
    assert read_settings(CONFIG / "esg.yaml") == Settings(
        allowed_hosts=("esgf-data.example.org",),
        data_paths={"/esg/data": "https://esgf-data.example.org/thredds/fileServer/esg_dataroot"},
    )
    assert {"data_node", "data_roots", "stac_config"} <= set(read_config(CONFIG / "esg.yaml"))


def test_the_example_has_every_setting_with_its_description_and_default() -> None:
    text = (CONFIG / "esg.yaml").read_text()
    assert text.endswith(section_of_example()), (
        f"config/esg.yaml is stale. Its end should be:\n{section_of_example()}"
    )
    uncommented = re.sub(r"^  #(?=\w)", "  ", section_of_example(), flags=re.MULTILINE)
    assert Settings.model_validate(yaml.safe_load(uncommented)["esgvzarr"]) == Settings()


def section_of_example() -> str:
    """Our section of the example: each setting commented out, with its default."""
    lines = ["esgvzarr:"]
    for name, value in Settings().model_dump(mode="json").items():
        described = textwrap.wrap(str(Settings.model_fields[name].description), 120)
        lines += ["", *(f"  # {line}" for line in described), f"  #{name}: {json.dumps(value)}"]
    return "\n".join(lines) + "\n"


def test_the_prefix_of_variables_is_the_section() -> None:
    assert ENVIRONMENT_PREFIX == "ESGVZARR_"


@pytest.mark.parametrize("variable", ["ESGVZARR_TIMEOUT", "ESGVZARR_REFERNCE_DIR", "ESGVZARR_X"])
def test_a_misspelt_variable_is_told(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was without effect, silently."""
    monkeypatch.setenv(variable, "1")
    with pytest.raises(SettingsError, match=f"{variable}: no such setting") as error:
        read_settings()
    assert ("Did you mean" in str(error.value)) == (variable != "ESGVZARR_X")


def test_variables_of_tests_are_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESGVZARR_TEST_DATA", "/nowhere")
    monkeypatch.setenv("ESGVZARRX", "1")
    read_settings()


@pytest.mark.parametrize("section", ["esgzarr", "ESGVZARR", "esgvzar", "esgv_zarr"])
def test_a_misspelt_section_is_told(section: str, tmp_path: Path) -> None:
    config = tmp_path / "esg.yaml"
    config.write_text(f"data_node: node.example\n{section}:\n  strict: true\n")
    with pytest.raises(SettingsError, match=f"key {section}: no such section"):
        read_settings(config)


def test_data_paths_follow_from_what_esgcet_serves(tmp_path: Path) -> None:
    """By data_roots and https_url, as esgcet makes URLs of them; what is said stands before it."""
    config = tmp_path / "esg.yaml"
    text = "data_node: node.example\ndata_roots: {/esg/data: root, relative: other}\n"
    config.write_text(text)
    assert read_settings(config).data_paths == {
        "/esg/data": "https://node.example/thredds/fileServer/root"
    }
    custom = "https_url: 'https://dap.example/d/{}/{}|application/netcdf|HTTPServer'\n"
    config.write_text(text + custom)
    assert read_settings(config).data_paths == {"/esg/data": "https://dap.example/d/root"}
    config.write_text(text + custom + "esgvzarr: {data_paths: {/esg/data: 'http://own.example'}}\n")
    assert read_settings(config).data_paths == {"/esg/data": "http://own.example"}


def test_a_template_of_urls_that_is_none_is_told(tmp_path: Path) -> None:
    config = tmp_path / "esg.yaml"
    config.write_text("data_roots: {/esg/data: root}\nhttps_url: 'https://n/{}/{}/{}'\n")
    with pytest.raises(SettingsError, match="key https_url"):
        read_settings(config)


def test_relative_paths_are_those_of_the_directory_where_the_command_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`audit` in cron runs elsewhere, and called every file dangling."""
    monkeypatch.chdir(tmp_path)
    settings = read_settings(ledger=Path("l.sqlite"), ca_bundle=Path("../ca.pem"))
    assert settings.ledger == tmp_path / "l.sqlite"
    assert settings.ca_bundle == tmp_path.parent / "ca.pem"
    assert read_settings(ledger=Path("~/l.sqlite")).ledger == Path("~/l.sqlite")
