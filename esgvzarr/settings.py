"""Settings: the ``esgvzarr:`` section of esgcet's own ``esg.yaml`` < environment < argument;
validated once, here.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from .errors import SettingsError
from .esg_yaml import SECTION, URL_PREFIX, read_config, read_section, served_roots
from .plugins import registered

ENVIRONMENT_PREFIX = "ESGVZARR_"
_OF_TESTS = "test_"
"""What variables of the environment begin with that steer tests."""
_UrlPrefix = Annotated[str, Field(pattern=URL_PREFIX)]
_Directory = Annotated[str, Field(pattern=r"^/")]


class Settings(BaseModel):
    """All settings. Each has a default that works on a standard data node."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reference_dir: Path | None = Field(
        default=None,
        description=(
            "Directory on the data node into which `<DSID>.json` is written. Default: beside the "
            "dataset's NetCDF files. A name that holds `zarr` lets xarray >= 2025.12 open the "
            "plain URL with no `engine=`."
        ),
    )
    reference_url: str | None = Field(
        default=None,
        pattern=URL_PREFIX,
        description=(
            "Public URL prefix under which `reference_dir` is served. Needed with, and only "
            "with, `reference_dir`."
        ),
    )
    data_paths: dict[_Directory, _UrlPrefix] = Field(
        default_factory=dict,
        description=(
            "Local directory -> public URL prefix of the same files. Lets metadata be read from "
            "disk instead of over HTTP, and gives the files of a mapfile their URLs in `esgvzarr "
            "generate`."
        ),
    )
    read: Literal["auto", "http", "local"] = Field(
        default="auto",
        description=(
            "Where metadata is read from: `local` paths, the published `http` URLs, or `auto`: "
            "the local path where there is one whose size agrees with the record, else HTTP. The "
            "references hold the published URLs in any case."
        ),
    )
    allowed_hosts: tuple[str, ...] = Field(
        default=(),
        description=(
            "Hosts (`host` or `host:port`) besides the record's own data node that may be "
            "fetched from. Hosts named here, on the command line, in `data_paths`, "
            "`reference_url` or as `data_node` may have private addresses; a data node that only "
            "a record names may not."
        ),
    )
    ca_bundle: Path | None = Field(
        default=None,
        description="PEM file of a private certificate authority. TLS is always verified.",
    )
    timeout_s: float = Field(
        default=30.0,
        gt=0,
        description="Seconds to wait for a server to connect or to send the next bytes.",
    )
    retries: int = Field(
        default=3,
        ge=0,
        le=10,
        description="How often a request is tried again after 429, 503 or a lost connection.",
    )
    connections: int = Field(
        default=128,
        ge=1,
        le=128,
        description=(
            "Requests in flight to one host at most, each on a connection that is kept open. As "
            "many are sent only while the host answers as fast as with fewer."
        ),
    )
    connections_at_first: int = Field(
        default=16,
        ge=1,
        le=128,
        description=(
            "Requests in flight to a host that is not known yet. They double while it answers as "
            "fast as before, and are halved where it gets slower or refuses (429, 503)."
        ),
    )
    poll_timeout_s: float = Field(
        default=60.0,
        ge=0,
        description="Seconds to wait until the index shows a link that it has queued (HTTP 202).",
    )
    output: str = Field(
        default="json",
        description=(
            "What references are written as, if it is one thing; else see `outputs`. `json` "
            "opens everywhere; `json.zst` is a tenth of "
            "its size; of `parquet` readers load only what they need; `icechunk` is Zarr version "
            "3, and its readers notice when a file was replaced. [Outputs](outputs.md) compares "
            "them."
        ),
    )
    outputs: tuple[str, ...] = Field(
        default=(),
        description=(
            "Several outputs of each dataset, for example `[json, icechunk]`: each is a file and a "
            "STAC asset of its own, proved by itself. Default: the one that `output` names."
        ),
    )
    copied_fraction: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description=(
            "Of a dataset's bytes, how much the outputs `icechunk` and `zarr3` may copy: the last "
            "chunks of files, which HDF5 stores longer than they are. With 0, or beyond it, the "
            "dataset stays in segments."
        ),
    )
    copied_mib: int = Field(
        default=256,
        ge=0,
        description=(
            "MiB that the outputs `icechunk` and `zarr3` may copy of one dataset at most; see "
            "`copied_fraction`."
        ),
    )
    file_ends: Literal["copy", "codec"] = Field(
        default="copy",
        description=(
            "What the outputs `icechunk` and `zarr3` do with the last chunks of files, which HDF5 "
            "stores longer than they are. `copy`: encode them anew, within `copied_fraction` and "
            "`copied_mib`. `codec`: copy nothing, and state the [codec](outputs.md#codec) "
            "`esgvzarr.padded`, without which readers open no data: they need esgvzarr."
        ),
    )
    media_type: Literal["application/vnd.zarr+kerchunk", "application/json"] = Field(
        default="application/vnd.zarr+kerchunk",
        description=(
            "Media type of the asset. The first is the STAC Zarr best practice; xpystac 0.5.0 "
            "opens only the second."
        ),
    )
    list_access: bool = Field(
        default=False,
        description=(
            "Add `VirtualZarr` to `properties.access` of STAC items that have such a list. The "
            "ESGF schemas of today allow no such service; the link is found without it."
        ),
    )
    pages: bool = Field(
        default=True,
        description=(
            "Write a page for people, `<DSID>.html`, beside each `<DSID>.json` that is served: "
            "what it is, how to open it, a map. A page that cannot be written is reported, and "
            "hinders nothing."
        ),
    )
    proof_samples: int = Field(
        default=8,
        ge=0,
        description=(
            "Chunks of each data variable that are read back at random, besides first, last and "
            "boundary chunks."
        ),
    )
    many_chunks: int = Field(
        default=1_000_000,
        ge=1,
        description=(
            "Chunks above which a warning says that readers are slow to open the JSON, which "
            "they load whole."
        ),
    )
    worker_time_s: float = Field(
        default=3600.0,
        gt=0,
        description=(
            "Seconds that the scan and the proof of one dataset may take. They run in processes "
            "of their own, which are ended then."
        ),
    )
    worker_memory_mib: int = Field(
        default=4096,
        ge=256,
        description=(
            "MiB of memory that each process may take which scans or proves a dataset. A process "
            "that takes more is ended: some damaged files make libraries do so."
        ),
    )
    strict: bool = Field(
        default=False,
        description=(
            "Let `esgvzarr publish` exit with 1 when a dataset was registered but not linked, "
            "where esgpublish alone gives 0."
        ),
    )
    ledger: Path = Field(
        default=Path("~/.esg/esgvzarr.sqlite"),
        description="SQLite file that keeps what was done for which dataset, with which outcome.",
    )

    @property
    def all_outputs(self) -> tuple[str, ...]:
        """The outputs of each dataset."""
        return self.outputs or (self.output,)

    def outputs_from(self, name: str) -> tuple[str, ...]:
        """An output, and those that are named after it; it alone where it is not named."""
        if name not in self.all_outputs:
            return (name,)
        return self.all_outputs[self.all_outputs.index(name) :]

    def with_outputs(self, names: tuple[str, ...]) -> Settings:
        """The same settings for these outputs."""
        return self.model_copy(update={"output": names[0], "outputs": names})

    @field_validator("output", "outputs")
    @classmethod
    def _outputs_are_known(cls, named: str | tuple[str, ...]) -> str | tuple[str, ...]:
        known = sorted(registered("esgvzarr.outputs"))
        names = (named,) if isinstance(named, str) else named
        for name in names:
            if name not in known:
                raise ValueError(f"no output {name!r}: expected {', '.join(known)}")
        if len(set(names)) < len(names):
            raise ValueError("it names one of them twice")
        return named

    @field_validator("reference_dir", "ca_bundle", "ledger", mode="before")
    @classmethod
    def _is_a_path(cls, path: object) -> object:
        """An empty text would be the directory in which the command runs."""
        if isinstance(path, str) and not path.strip():
            raise ValueError("an empty path: . is this directory")
        return path

    @field_validator("reference_dir", "ca_bundle", "ledger")
    @classmethod
    def _from_here(cls, path: Path | None) -> Path | None:
        """A relative path is one of the directory in which the command runs; ``~`` stays."""
        if path is None or str(path).startswith("~"):
            return path
        return Path(os.path.abspath(path))

    @model_validator(mode="after")
    def _reference_dir_has_a_url(self) -> Settings:
        if (self.reference_dir is None) != (self.reference_url is None):
            raise ValueError("reference_dir and reference_url go together: set both, or neither")
        return self


def read_settings(config: str | os.PathLike[str] | None = None, **arguments: Any) -> Settings:
    """Merge the three sources and validate the result.

    Args:
        config: path of ``esg.yaml``; None for defaults, environment and arguments alone.
        arguments: settings by name; None means "not given".

    Raises:
        SettingsError: names file, line and key, and a similar key where one is unknown.
    """
    _check_environment()
    section, lines = read_section(config) if config is not None else ({}, {})
    values: dict[str, Any] = dict(section)
    origins = {key: f"{config}, line {line}" for key, line in lines.items()}
    for name in Settings.model_fields:
        variable = ENVIRONMENT_PREFIX + name.upper()
        if variable in os.environ:
            values[name] = _value_of(variable)
            origins[name] = f"environment variable {variable}"
    for name, value in arguments.items():
        if value is not None:
            values[name] = value
            origins[name] = "argument"
    try:
        return _with_own_node(Settings.model_validate(values), config)
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0]) if first["loc"] else ""
        where = origins.get(key) or _origins_of(str(first["msg"]), origins)
        where = where or str(config or "settings")
        raise SettingsError(
            f"{where}, key {SECTION}.{key}".rstrip("."), _reason(first, key), todo=_todo(first, key)
        ) from error


def _with_own_node(settings: Settings, config: str | os.PathLike[str] | None) -> Settings:
    """What ``esg.yaml`` says of the operator's own node besides our section.

    ``data_node`` is a host that the operator names, and may well have a private address on its own
    network. Where ``data_roots`` are served, `data_paths` need not be said again.
    """
    if config is None:
        return settings
    document = read_config(config)
    node = document.get("data_node")
    hosts = (node,) if isinstance(node, str) and node else ()
    return settings.model_copy(
        update={
            "allowed_hosts": (*settings.allowed_hosts, *hosts),
            "data_paths": {**served_roots(document, str(config)), **settings.data_paths},
        }
    )


def _check_environment() -> None:
    for variable in os.environ:
        name = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
        if not variable.startswith(ENVIRONMENT_PREFIX) or name.startswith(_OF_TESTS):
            continue
        if name not in Settings.model_fields:
            problem = {"type": "extra_forbidden"}
            raise SettingsError(
                f"environment variable {variable}", "no such setting", todo=_todo(problem, name)
            )


def _value_of(variable: str) -> Any:
    """An environment variable's value, written as it would be in ``esg.yaml``: lists and mappings
    in YAML's flow form.
    """
    try:
        return yaml.safe_load(os.environ[variable])
    except yaml.YAMLError as error:
        found = f"is not YAML: {getattr(error, 'problem', error)}"
        raise SettingsError(
            f"environment variable {variable}", found, expected="a value as in esg.yaml"
        ) from error


def _origins_of(message: str, origins: Mapping[str, str]) -> str:
    """Where the settings come from that a message about several names."""
    named = {where: None for key, where in origins.items() if re.search(rf"\b{key}\b", message)}
    return ", ".join(named)


def _reason(problem: Mapping[str, Any], key: str) -> str:
    if problem["type"] == "extra_forbidden":
        return "no such setting"
    return f"{problem['msg']}, got {problem['input']!r}" if key else str(problem["msg"])


def _todo(problem: Mapping[str, Any], key: str) -> str:
    similar = difflib.get_close_matches(key, Settings.model_fields, n=1)
    if problem["type"] == "extra_forbidden" and similar:
        return f"Did you mean {similar[0]!r}?"
    return (
        "docs/reference/settings.md has them all." if problem["type"] == "extra_forbidden" else ""
    )
