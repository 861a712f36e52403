"""Settings: the ``esgvzarr:`` section of esgcet's own ``esg.yaml``, overridden by environment
variables, overridden by arguments. They are validated once, here.
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
"""Prefix of environment variables that configure tests."""
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
        description=("Public URL prefix at which `reference_dir` is served. Set both, or neither."),
    )
    data_paths: dict[_Directory, _UrlPrefix] = Field(
        default_factory=dict,
        description=(
            "Local directory -> public URL prefix of the same files. With it, metadata can "
            "be read from disk instead of over HTTP, and `esgvzarr generate` can derive "
            "URLs for the files of a mapfile."
        ),
    )
    read: Literal["auto", "http", "local"] = Field(
        default="auto",
        description=(
            "Where metadata are read from: `local` paths; the published `http` URLs; or "
            "`auto`, the local path if its file has the size in the record, else HTTP. The "
            "references always hold the published URLs."
        ),
    )
    allowed_hosts: tuple[str, ...] = Field(
        default=(),
        description=(
            "Hosts (`host` or `host:port`) that may be contacted in addition to the "
            "record's own data node. Hosts named here, on the command line, in "
            "`data_paths`, `reference_url` or as `data_node` may have private addresses; a "
            "data node that only a record names may not."
        ),
    )
    ca_bundle: Path | None = Field(
        default=None,
        description="PEM file of a private certificate authority. TLS is always verified.",
    )
    timeout_s: float = Field(
        default=30.0,
        gt=0,
        description="Seconds to wait until a server accepts a connection or sends the next bytes.",
    )
    retries: int = Field(
        default=3,
        ge=0,
        le=10,
        description="Number of retries of a request after 429, 503 or a lost connection.",
    )
    connections: int = Field(
        default=128,
        ge=1,
        le=128,
        description=(
            "The most requests in flight to one host, each on a connection that is kept "
            "open. esgvzarr sends this many only while the host answers as fast as with "
            "fewer."
        ),
    )
    connections_at_first: int = Field(
        default=16,
        ge=1,
        le=128,
        description=(
            "Requests in flight to a host that is not known yet. The number doubles while "
            "the host answers as fast as before, and is halved when it slows down or "
            "refuses (429, 503)."
        ),
    )
    poll_timeout_s: float = Field(
        default=60.0,
        ge=0,
        description="Seconds to wait until the index shows a link that it accepted (HTTP 202).",
    )
    output: str = Field(
        default="json",
        description=(
            "The format in which references are written; for several formats see "
            "`outputs`. `json` opens everywhere; `json.zst` is a tenth of its size; of "
            "`parquet`, readers load only the tables that they need; `icechunk` is Zarr "
            "version 3, and its readers notice when a file was replaced. "
            "[Outputs](outputs.md) compares them."
        ),
    )
    outputs: tuple[str, ...] = Field(
        default=(),
        description=(
            "Several outputs for each dataset, for example `[json, icechunk]`: each is a "
            "file with its own STAC asset and its own proof. Default: the one that "
            "`output` names."
        ),
    )
    copied_fraction: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description=(
            "The largest fraction of a dataset's bytes that the outputs `icechunk` and "
            "`zarr3` may copy: they copy the last chunks of files, which HDF5 stores "
            "longer than the data. With 0, or above this fraction, the dataset stays in "
            "segments."
        ),
    )
    copied_mib: int = Field(
        default=256,
        ge=0,
        description=(
            "The most MiB of one dataset that the outputs `icechunk` and `zarr3` may copy; "
            "see `copied_fraction`."
        ),
    )
    file_ends: Literal["copy", "codec"] = Field(
        default="copy",
        description=(
            "What the outputs `icechunk` and `zarr3` do with the last chunks of files, "
            "which HDF5 stores longer than the data. `copy`: encode them again, within "
            "`copied_fraction` and `copied_mib`. `codec`: copy nothing, and state the "
            "[codec](outputs.md#codec) `esgvzarr.padded`; readers then need esgvzarr to "
            "open any data."
        ),
    )
    media_type: Literal["application/vnd.zarr+kerchunk", "application/json"] = Field(
        default="application/vnd.zarr+kerchunk",
        description=(
            "Media type of the asset. The first is the STAC Zarr best practice; xpystac "
            "0.5.0 opens only the second."
        ),
    )
    list_access: bool = Field(
        default=False,
        description=(
            "Add `VirtualZarr` to `properties.access` of STAC items that have such a list. "
            "The current ESGF schemas do not allow this service; clients find the link "
            "without it."
        ),
    )
    pages: bool = Field(
        default=True,
        description=(
            "Write a page for people, `<DSID>.html`, beside each `<DSID>.json` that is "
            "served: what the dataset is, how to open it, a map. A page that cannot be "
            "written causes a warning and changes nothing else."
        ),
    )
    proof_samples: int = Field(
        default=8,
        ge=0,
        description=(
            "Number of random chunks of each data variable that the proof compares, "
            "besides the first, last and boundary chunks."
        ),
    )
    many_chunks: int = Field(
        default=1_000_000,
        ge=1,
        description=(
            "A warning says that readers open the JSON slowly, because they load it whole, "
            "if it has more chunks than this."
        ),
    )
    worker_time_s: float = Field(
        default=3600.0,
        gt=0,
        description=(
            "Seconds that the scan and the proof of one dataset may take. They run in processes "
            "of their own, which are ended after this time."
        ),
    )
    worker_memory_mib: int = Field(
        default=4096,
        ge=256,
        description=(
            "MiB of memory that each process that scans or proves a dataset may use. A process is "
            "ended if it uses more, as libraries may do with damaged files."
        ),
    )
    strict: bool = Field(
        default=False,
        description=(
            "Let `esgvzarr publish` exit with 1 if a dataset was registered but not "
            "linked; esgpublish alone would give 0."
        ),
    )
    ledger: Path = Field(
        default=Path("~/.esg/esgvzarr.sqlite"),
        description="SQLite file that records what was done for each dataset, with the outcome.",
    )

    @property
    def all_outputs(self) -> tuple[str, ...]:
        """Return the outputs of each dataset."""
        return self.outputs or (self.output,)

    def outputs_from(self, name: str) -> tuple[str, ...]:
        """Return an output and those after it; only this output if the settings do not name it."""
        if name not in self.all_outputs:
            return (name,)
        return self.all_outputs[self.all_outputs.index(name) :]

    def with_outputs(self, names: tuple[str, ...]) -> Settings:
        """Return the settings with these outputs."""
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
        """Refuse an empty text, which pathlib would read as the current directory."""
        if isinstance(path, str) and not path.strip():
            raise ValueError("the path is empty; for the current directory, give .")
        return path

    @field_validator("reference_dir", "ca_bundle", "ledger")
    @classmethod
    def _from_here(cls, path: Path | None) -> Path | None:
        """Make a relative path absolute; it is relative to the directory in which the command runs.
        ``~`` stays.
        """
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
        config: path of ``esg.yaml``; None for defaults, environment and arguments only.
        arguments: settings by name; None means "not given".

    Raises:
        SettingsError: a setting is invalid; the message names file, line and key, and a similar key
            if the key is unknown.
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
    """Add what ``esg.yaml`` states about the operator's own node outside the section of esgvzarr.

    ``data_node`` is a host that the operator names, and may have a private address in the
    operator's network. If ``data_roots`` are served, they need not be repeated in `data_paths`.
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
    """Return an environment variable's value, parsed as in ``esg.yaml``: lists and mappings in
    YAML's flow form.
    """
    try:
        return yaml.safe_load(os.environ[variable])
    except yaml.YAMLError as error:
        found = f"is not YAML: {getattr(error, 'problem', error)}"
        raise SettingsError(
            f"environment variable {variable}", found, expected="a value as in esg.yaml"
        ) from error


def _origins_of(message: str, origins: Mapping[str, str]) -> str:
    """Return the origins of the settings that a message about several settings names."""
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
        "docs/reference/settings.md lists all settings."
        if problem["type"] == "extra_forbidden"
        else ""
    )
