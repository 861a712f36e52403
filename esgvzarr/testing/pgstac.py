"""The real index: stac-fastapi-pgstac on a private PostgreSQL with PostGIS, both on the loopback
and removed afterwards.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .processes import free_port, start, wait_until

_PACKAGES = ("pypgstac", "psycopg", "stac_fastapi.pgstac", "uvicorn")
_DATABASE = "postgis"
_FAST = ("fsync=off", "full_page_writes=off", "synchronous_commit=off")


def available() -> str:
    """Return why a ``PgstacServer`` cannot run here; empty if it can."""
    missing = [name for name in _PACKAGES if not _has_module(name)]
    if missing:
        return f"Python packages missing: {', '.join(missing)} (the extra test has them)"
    binaries = _find_binaries()
    if binaries is None:
        return "PostgreSQL is not installed (Debian: postgresql-15-postgis-3)"
    share = subprocess.run(
        [binaries / "pg_config", "--sharedir"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if not Path(share, "extension", "postgis.control").exists():
        return f"PostGIS is not installed for {binaries} (Debian: postgresql-15-postgis-3)"
    if os.geteuid() == 0 and _find_account() is None:
        return "PostgreSQL does not run as root, and there is no user postgres"
    return ""


class PgstacServer:
    """Serves the STAC API of pgstac while the context is open: with transactions, and
    ``numberMatched`` in every search.

    It takes about ten seconds to start.

    Args:
        collections: ids, and titles, of the collections that are made.
    """

    def __init__(self, collections: Sequence[str] = ("CMIP6", "CMIP7", "input4MIPs")) -> None:
        self.collections = tuple(collections)
        self._port = 0
        self._stack = ExitStack()

    @property
    def host(self) -> str:
        """``host:port``."""
        if not self._port:
            raise RuntimeError("PgstacServer is not running: use it as a context manager")
        return f"127.0.0.1:{self._port}"

    @property
    def url(self) -> str:
        """The landing page: the API's own URL."""
        return f"http://{self.host}"

    def __enter__(self) -> Self:
        reason = available()
        if reason:
            raise RuntimeError(reason)
        with ExitStack() as stack:
            folder = Path(tempfile.mkdtemp(prefix="esgvzarr-pgstac-"))
            stack.callback(shutil.rmtree, folder)
            database = _start_database(folder, stack)
            _migrate(database)
            self._port = free_port()
            _start_api(self._port, database, folder, stack)
            self._make_collections()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._port = 0
        self._stack.close()

    def _make_collections(self) -> None:
        import requests

        for name in self.collections:
            requests.post(
                f"{self.url}/collections", json=_collection(name), timeout=30
            ).raise_for_status()


def _start_database(folder: Path, stack: ExitStack) -> dict[str, str]:
    """Make a database cluster, run it, and return the ``PG*`` environment that connects to it."""
    import psycopg

    binaries = _find_binaries()
    account = _find_account() if os.geteuid() == 0 else None
    assert binaries is not None  # noqa: S101 (available() has checked it)
    run_as: dict[str, Any] = (
        {"user": account, "group": account, "extra_groups": [], "cwd": folder}
        if account
        else {"cwd": folder}
    )
    password = secrets.token_hex(16)
    port = free_port()
    password_file = folder / "password"
    data = folder / "data"
    log = folder / "postgres.log"
    password_file.write_text(password)
    if account:
        shutil.chown(folder, account)
        shutil.chown(password_file, account)
    initdb = [
        "-D",
        str(data),
        "-U",
        "postgres",
        "-A",
        "scram-sha-256",
        f"--pwfile={password_file}",
        "--locale=C.UTF-8",
        "-E",
        "UTF8",
    ]
    subprocess.run([binaries / "initdb", *initdb], check=True, stdout=subprocess.DEVNULL, **run_as)
    options = [
        "listen_addresses=127.0.0.1",
        f"port={port}",
        f"unix_socket_directories={folder}",
        *_FAST,
    ]
    command = [
        str(binaries / "postgres"),
        "-D",
        str(data),
        *itertools.chain.from_iterable(("-c", option) for option in options),
    ]
    process = start(command, log, stack, stop=signal.SIGINT, **run_as)
    environment = {
        "PGHOST": "127.0.0.1",
        "PGPORT": str(port),
        "PGUSER": "postgres",
        "PGPASSWORD": password,
        "PGDATABASE": _DATABASE,
    }

    def answers() -> bool:
        try:
            with psycopg.connect(_dsn(environment, "postgres"), autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {_DATABASE}")
        except psycopg.OperationalError:
            return False
        return True

    wait_until(answers, process, log)
    return environment


def _dsn(environment: Mapping[str, str], database: str) -> str:
    return (
        "postgresql://{PGUSER}:{PGPASSWORD}@{PGHOST}:{PGPORT}/".format_map(environment) + database
    )


def _migrate(database: Mapping[str, str]) -> None:
    """Install pgstac, and let it count the matches of a search: esgcet needs ``numberMatched``."""
    from pypgstac.db import PgstacDB
    from pypgstac.migrate import Migrate

    with PgstacDB(dsn=_dsn(database, _DATABASE)) as connection:
        Migrate(connection).run_migration()
        connection.query_one(
            "INSERT INTO pgstac.pgstac_settings(name, value) VALUES ('context', 'on'), "
            "('context_stats_ttl', '0 seconds') ON CONFLICT (name) DO UPDATE SET value = "
            "excluded.value RETURNING name"
        )


def _start_api(port: int, database: Mapping[str, str], folder: Path, stack: ExitStack) -> None:
    import requests

    log = folder / "api.log"
    application = [
        "--factory",
        "stac_fastapi.pgstac.app:create_app",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    environment = {**os.environ, **database, "ENABLE_TRANSACTIONS_EXTENSIONS": "true"}
    process = start(
        [sys.executable, "-m", "uvicorn", *application],
        log,
        stack,
        stop=signal.SIGTERM,
        env=environment,
        cwd=folder,
    )

    def answers() -> bool:
        try:
            return requests.get(f"http://127.0.0.1:{port}/_mgmt/ping", timeout=5).ok
        except requests.ConnectionError:
            return False

    wait_until(answers, process, log)


def _has_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _find_binaries() -> Path | None:
    """Return the directory of ``initdb``: on PATH, or Debian's."""
    on_path = shutil.which("initdb")
    folders = (
        [Path(on_path).resolve().parent]
        if on_path
        else sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    )
    return next(
        (
            folder
            for folder in folders
            if (folder / "initdb").exists() and (folder / "postgres").exists()
        ),
        None,
    )


def _find_account() -> str | None:
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        return None


def _collection(name: str) -> dict[str, Any]:
    return {
        "type": "Collection",
        "stac_version": "1.0.0",
        "id": name,
        "title": name,
        "description": f"{name} datasets",
        "license": "other",
        "extent": {
            "spatial": {"bbox": [[-180, -90, 180, 90]]},
            "temporal": {"interval": [["1850-01-01T00:00:00Z", None]]},
        },
        "links": [],
    }
