"""Read esgcet's ``esg.yaml``: the section of this package, and what it states about the operator's
node.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from typing import Any

import yaml

from .errors import SettingsError

SECTION = "esgvzarr"
_NEAR = 0.75
"""Similarity to the section's name from which on a key of ``esg.yaml`` counts as misspelt."""
URL_PREFIX = r"^https?://[^\s?#@/]+(/[^\s?#]*)?$"


def served_roots(document: Mapping[str, Any], subject: str) -> dict[str, str]:
    """Return the public URL prefix of each local directory, as esgcet makes URLs of its
    ``data_roots``.

    Raises:
        SettingsError: ``https_url`` is not a template of a URL.
    """
    roots = document.get("data_roots")
    template = _url_template(document)
    if not template or not isinstance(roots, Mapping):
        return {}
    found = {}
    for directory, name in roots.items():
        try:
            prefix = template.format(name, "").rstrip("/")
        except (IndexError, KeyError, ValueError) as error:
            raise SettingsError(
                f"{subject}, key https_url",
                f"is {template!r}, which is not a template",
                expected="a URL with {} for the data root and {} for the path",
                todo="See esgcet's documentation of https_url.",
            ) from error
        if str(directory).startswith("/") and re.match(URL_PREFIX, prefix):
            found[str(directory).rstrip("/") or "/"] = prefix
    return found


def _url_template(document: Mapping[str, Any]) -> str:
    """Return the template with which esgcet makes URLs; empty if neither ``https_url`` nor
    ``data_node`` is given.
    """
    stated = str(document.get("https_url") or "").partition("|")[0]
    node = document.get("data_node")
    if not stated and isinstance(node, str) and node:
        return f"https://{node}/thredds/fileServer/{{}}/{{}}"
    return stated


def _check_names(document: Mapping[str, Any], subject: str) -> None:
    """Refuse a misspelt section or environment variable, which would be ignored without notice.

    Raises:
        SettingsError: a name is similar to a valid one, or has the prefix of esgvzarr.
    """
    for key in document:
        near = difflib.get_close_matches(str(key).lower(), [SECTION], n=1, cutoff=_NEAR)
        if near and key != SECTION:
            raise SettingsError(
                f"{subject}, key {key}",
                "no such section",
                todo=f"Did you mean {SECTION!r}?",
            )


def read_section(config: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, int]]:
    """Return the section of ``esg.yaml`` for this package, and the line of each of its keys; both
    are empty if there is none.

    esgcet drops top-level keys that it does not know, so the file is read again.

    Raises:
        SettingsError: the file cannot be read, is not YAML, or the section is not a mapping.
    """
    document = read_config(config)
    _check_names(document, str(config))
    section = {} if document.get(SECTION) is None else document[SECTION]
    if not isinstance(section, dict):
        raise SettingsError(
            f"{config}, key {SECTION}",
            f"is a {type(section).__name__}",
            expected="a mapping of settings",
        )
    with open(config, encoding="utf-8") as file:
        root = yaml.compose(file, Loader=yaml.SafeLoader)
    _lines_of_keys(root, str(config), only=SECTION)
    lines: dict[str, int] = {}
    sections = root.value if isinstance(root, yaml.MappingNode) else []
    for name, node in sections:
        if name.value == SECTION:
            lines = _lines_of_keys(node, str(config))
    return {str(key): value for key, value in section.items()}, lines


def _lines_of_keys(node: yaml.Node | None, subject: str, only: str = "") -> dict[str, int]:
    """Return the line of each key of a mapping; empty if the node is not a mapping.

    Args:
        node: the node, as PyYAML has read it.
        subject: the file, for messages.
        only: the key that must not occur twice; if empty, no key may.

    Raises:
        SettingsError: a key occurs twice. PyYAML uses the last one and drops the others.
    """
    lines: dict[str, int] = {}
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    for key, _ in pairs:
        name = str(key.value)
        line = key.start_mark.line + 1
        if name in lines and only in ("", name):
            raise SettingsError(
                f"{subject}, line {line}, key {name}",
                f"occurs twice, first in line {lines[name]}",
                expected="each key once",
                todo="Merge its values into one key.",
            )
        lines[name] = line
    return lines


def read_config(config: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the whole of ``esg.yaml`` as a mapping.

    Raises:
        SettingsError: the file cannot be read, or is not a YAML mapping; the message names the line
            if it is known.
    """
    try:
        with open(config, encoding="utf-8") as file:
            document = yaml.safe_load(file)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            str(config), f"cannot be read: {error}", todo="Give the path of esg.yaml with --config."
        ) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{config}, line {mark.line + 1}" if mark else str(config)
        raise SettingsError(where, f"is not YAML: {getattr(error, 'problem', error)}") from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise SettingsError(
            str(config),
            f"holds a {type(document).__name__}",
            expected="a mapping, as in esgcet's esg.yaml",
        )
    return document
