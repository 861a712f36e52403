"""The real nginx serves as an ESGF data node does."""

from __future__ import annotations

from pathlib import Path

import pytest

from esgvzarr.errors import TransportError
from esgvzarr.testing import NginxServer
from esgvzarr.testing.nginx import available
from esgvzarr.transport import Range, Transport


def test_ranges_and_hidden_files(tmp_path: Path, nginx_server: NginxServer) -> None:
    (tmp_path / "a.nc").write_bytes(bytes(range(100)))
    (tmp_path / ".a.nc").write_bytes(b"half")
    with Transport(allowed_hosts=[nginx_server.host]) as transport:
        url = nginx_server.url_of("a.nc")
        assert transport.read_ranges([Range(url, 10, 14)]) == [b"\n\x0b\x0c\r"]
        head = transport.read_heads([nginx_server.url_of(tmp_path / "a.nc")], 4)[0]
        assert (head.size, bool(head.etag), bool(head.last_modified)) == (100, True, True)
        with pytest.raises(TransportError, match="404"):
            transport.read_document(nginx_server.url_of(".a.nc"))
    assert any(
        "GET /thredds/fileServer/esg_dataroot/a.nc" in line and " 206 " in line
        for line in nginx_server.access_log()
    )


@pytest.mark.skipif(bool(available()), reason=available())
def test_lines_of_its_own_and_no_prefix(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"{}" * 1000)
    with (
        NginxServer(tmp_path, prefix="", lines="return 403;") as server,
        Transport(allowed_hosts=[server.host]) as transport,
    ):
        assert server.url_of("a.json") == f"{server.url}/a.json"
        with pytest.raises(TransportError, match="403"):
            transport.read_document(server.url_of("a.json"))


def test_asks_to_be_used_as_a_context(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="context manager"):
        _ = NginxServer(tmp_path).url
