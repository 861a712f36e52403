"""Read esgcet's configuration, and check that esgcet is installed."""

from __future__ import annotations

import argparse
import functools
import importlib.util
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn

from ..errors import PublisherError
from ..esg_yaml import read_config

log = logging.getLogger(__name__)


def config_path(arguments: Sequence[str]) -> Path:
    """Return the ``esg.yaml`` that esgpublish reads with these arguments.

    Raises:
        PublisherError: the arguments are invalid; esgpublish itself exits with 2.
    """
    parser = _Parser(add_help=False)
    parser.add_argument(
        "--config", "-cfg", default=os.getenv("ESG_CONFIG_FILE") or Path.home() / ".esg/esg.yaml"
    )
    parser.add_argument(
        "--certificate", "-c"
    )  # Otherwise -c would be taken for the short form of -cfg.
    return Path(parser.parse_known_args(list(arguments))[0].config)


class _Parser(argparse.ArgumentParser):
    """A parser that raises where argparse exits."""

    def error(self, message: str) -> NoReturn:
        raise PublisherError(
            "esgpublish arguments", message, todo="See esgpublish --help.", code="publisher-usage"
        )


def check_config(config: str | os.PathLike[str]) -> None:
    """Check that esgcet is installed and does not write references itself.

    Raises:
        PublisherError: esgcet is not installed, or ``kerchunk: generation:`` is on.
        SettingsError: the file cannot be read.
    """
    check_installed()
    own = read_config(config).get("kerchunk")
    if isinstance(own, Mapping) and own.get("generation"):
        raise PublisherError(
            f"{config}, key kerchunk.generation",
            "esgcet's own reference generation is on",
            expected=(
                "off: it writes references before registration, and its link makes the "
                "whole item invalid"
            ),
            todo="Set `generation: false` there, or remove the key.",
            code="publisher-kerchunk-on",
        )


def check_installed() -> None:
    """Check that esgcet is installed, without importing it.

    Raises:
        PublisherError: it is not.
    """
    if importlib.util.find_spec("esgcet") is None:
        raise PublisherError(
            "esgcet",
            "is not installed",
            todo="pip install 'esgvzarr[publisher]'",
            code="publisher-missing",
        )


INDEX_KINDS = ("stac", "globus", "solr")
"""Kinds of indexes to which esgcet registers."""


def index_kind(config: Mapping[str, Any]) -> Literal["stac", "globus", "solr"]:
    """Return the kind of index that esgcet uses if several are configured."""
    if config.get("stac_config") or config.get("stac_api"):
        return "stac"
    return "globus" if config.get("globus_index") else "solr"


def client_certificate(config: Mapping[str, Any]) -> Path | None:
    """Return the file that ``cert`` names, if it exists: without it, esgcet's Solr writer sends no
    certificate.
    """
    path = Path(str(config.get("cert") or "")).expanduser()
    return path if path.is_file() else None


@functools.cache
def item_schema(project: str) -> Mapping[str, Any] | None:
    """Return the JSON schema of a project's STAC items, made by esgvoc from the vocabularies that
    esgcet uses; None if there is none.
    """
    if importlib.util.find_spec("esgvoc") is None:
        return None
    from esgvoc.apps.jsg.json_schema_generator import generate_json_schema
    from esgvoc.core.exceptions import EsgvocException

    try:
        return dict(generate_json_schema(project.lower()))
    except EsgvocException as error:
        log.debug("no JSON schema for %s: %s", project, error)
        return None


def schema_version(project: str) -> str:
    """Return the version of the STAC schema with which esgcet registers a project's datasets; empty
    if there is none, and esgcet cannot register.
    """
    from esgcet.util.settings import STAC_schema_versions
    from esgvoc.apps.jsg.json_schema_generator import get_schema_version
    from esgvoc.core.exceptions import EsgvocException

    try:
        found = get_schema_version(project.lower())
    except EsgvocException as error:
        log.debug("no schema version for %s: %s", project, error)
        found = ""
    return str(found or STAC_schema_versions.get(project, ""))
