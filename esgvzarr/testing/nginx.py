"""The real nginx on the loopback. Many ESGF data nodes serve their files with it."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from .processes import free_port, listens, start, wait_until

_CONFIG = """{user}worker_processes 1; daemon off;
pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  types {{ application/json json; application/xml xml; text/html html; }}
  default_type application/octet-stream;
  access_log {folder}/access.log; sendfile on; keepalive_requests 1000000;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{
    listen 127.0.0.1:{port};
    location ~ /\\.{shown} {{ return 404; }}
    location {prefix}/ {{
      alias {root}/;
      {lines}
    }}
  }}
}}
"""


def available() -> str:
    """Return why an ``NginxServer`` cannot run here; empty if it can."""
    return "" if _program() else "nginx is not installed (Debian: nginx-light)"


def _program() -> str | None:
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


class NginxServer:
    """Serves the files below ``root`` while the context is open, as the ESGF roles configure nginx:
    dot-files are hidden.

    Args:
        root: directory that is served.
        prefix: URL path of ``root``.
        lines: lines of the location, in nginx's own language: ``add_header``, ``expires``,
            ``gzip``...
        dot_file: name of the one dot-file that is not hidden, such as ``.zmetadata``.
    """

    def __init__(
        self,
        root: Path,
        *,
        prefix: str = "/thredds/fileServer/esg_dataroot",
        lines: str = "",
        dot_file: str = "",
    ) -> None:
        self.root = Path(root).resolve()
        self.prefix = f"/{prefix.strip('/')}".rstrip("/")
        self._lines = lines
        self._shown = f"(?!{dot_file.removeprefix('.')}$)" if dot_file else ""
        self._port = 0
        self._folder: Path | None = None
        self._stack = ExitStack()

    @property
    def host(self) -> str:
        """``host:port``."""
        if not self._port:
            raise RuntimeError("NginxServer is not running: use it as a context manager")
        return f"127.0.0.1:{self._port}"

    @property
    def url(self) -> str:
        """``http://host:port``."""
        return f"http://{self.host}"

    def url_of(self, path: str | Path) -> str:
        """Return the URL of a file, given below ``root`` or absolute."""
        return f"{self.url}{self.prefix}/{(self.root / path).relative_to(self.root).as_posix()}"

    def access_log(self) -> list[str]:
        """Return the requests so far, one line each, as nginx logs them."""
        assert self._folder is not None  # noqa: S101
        return (self._folder / "access.log").read_text().splitlines()

    def __enter__(self) -> Self:
        program = _program()
        if program is None:
            raise RuntimeError(available())
        with ExitStack() as stack:
            self._folder = Path(
                stack.enter_context(tempfile.TemporaryDirectory(prefix="esgvzarr-nginx-"))
            )
            self._port = free_port()
            config = self._folder / "nginx.conf"
            log = self._folder / "output"
            user = (
                "user root;\n" if os.geteuid() == 0 else ""
            )  # Otherwise its worker cannot enter private directories.
            places = {
                "user": user,
                "folder": self._folder,
                "port": self._port,
                "root": self.root,
                "prefix": self.prefix,
            }
            config.write_text(_CONFIG.format(**places, lines=self._lines, shown=self._shown))
            process = start([program, "-c", str(config)], log, stack, stop=signal.SIGTERM)
            wait_until(lambda: listens(self._port), process, log)
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
