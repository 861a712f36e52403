"""The pytest plugin: fixtures of the servers and of the makers of files. Each imports what it needs
when it is used.

All servers are on the loopback, which is not contacted if only a record names it: tests name the
servers as an operator does, with ``Transport(allowed_hosts=[server.host])``,
``transport.allow(server.host, named=True)``, ``Settings(allowed_hosts=[...])``, ``--allow-host``, a
source URL, or ``data_node`` in ``esg.yaml`` (which ``DataNode`` writes).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .globus import GlobusServer
    from .nginx import NginxServer
    from .pgstac import PgstacServer
    from .solr import SolrServer
    from .stac import StacServer
    from .thredds import ThreddsServer


@pytest.fixture
def thredds_server(tmp_path: Path) -> Iterator[ThreddsServer]:
    """A THREDDS data server of the files in ``tmp_path``."""
    from .thredds import ThreddsServer

    with ThreddsServer(tmp_path) as server:
        yield server


@pytest.fixture
def nginx_server(tmp_path: Path) -> Iterator[NginxServer]:
    """The real nginx over the files in ``tmp_path``; skips with the reason if it cannot run."""
    from .nginx import NginxServer, available

    reason = available()
    if reason:
        pytest.skip(reason)
    with NginxServer(tmp_path) as server:
        yield server


@pytest.fixture
def stac_server() -> Iterator[StacServer]:
    """An empty STAC index with transactions."""
    from .stac import StacServer

    with StacServer() as server:
        yield server


@pytest.fixture
def solr_server() -> Iterator[SolrServer]:
    """An empty index node, with esg-search over TLS."""
    from .solr import SolrServer

    with SolrServer() as server:
        yield server


@pytest.fixture
def globus_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[GlobusServer]:
    """An empty index of Globus Search, to which the environment points, and a home directory
    without a login.
    """
    from .globus import GlobusServer

    monkeypatch.setenv("HOME", str(tmp_path))
    with GlobusServer() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture(scope="session")
def pgstac_server() -> Iterator[PgstacServer]:
    """The real STAC index on PostgreSQL, one for all tests; skips with the reason if it
    cannot run.
    """
    from .pgstac import PgstacServer, available

    reason = available()
    if reason:
        pytest.skip(f"pgstac: {reason}")
    with PgstacServer() as server:
        yield server


@pytest.fixture(scope="session")
def sample_root() -> Path:
    """The directory of real CMIP6 files, ``CMIP6/...``; skips with the reason if they cannot be
    downloaded.
    """
    from ..errors import SourceError
    from .samples import sample_files

    try:
        return sample_files()
    except SourceError as error:
        pytest.skip(str(error))


@pytest.fixture
def cmip_files(tmp_path: Path) -> Callable[..., list[Path]]:
    """``write_monthly`` into ``tmp_path``, which ``thredds_server`` serves."""
    from .datasets import write_monthly

    return functools.partial(write_monthly, tmp_path)
