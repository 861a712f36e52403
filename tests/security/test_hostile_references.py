"""Reference files of strangers, given to ``verify``: nothing is run, and nothing is read that
is not named.
"""

from __future__ import annotations

import base64
import contextlib
import json
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trust import oracle

from esgvzarr.errors import EsgvzarrError, ProofError, TransportError
from esgvzarr.generate import verify_published
from esgvzarr.output import named
from esgvzarr.output.document import parse
from esgvzarr.proof import verify
from esgvzarr.settings import Settings
from esgvzarr.testing import DEFECTS, ThreddsServer
from esgvzarr.testing.faults import LoginRedirect
from esgvzarr.transport import Transport
from esgvzarr.transport.fsspec_guard import remote_options

GROUP = {".zgroup": '{"zarr_format":2}'}
ZARRAY = {
    "zarr_format": 2,
    "shape": [4],
    "chunks": [4],
    "dtype": "<f4",
    "order": "C",
    "compressor": None,
    "filters": None,
    "fill_value": None,
}


def described(**changes: Any) -> str:
    return json.dumps({**ZARRAY, **changes})


def document(refs: dict[str, Any], **beside: Any) -> bytes:
    return json.dumps({"version": 1, "refs": {**GROUP, **refs}, **beside}).encode()


@pytest.fixture(scope="module")
def proven(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], list[Path]]:
    """A right reference file, and its files."""
    paths = DEFECTS["compressed"].make(tmp_path_factory.mktemp("proven"))
    return json.loads(oracle.make(paths)[1]), paths


@pytest.mark.parametrize(
    "hostile",
    [
        document({"a/0": ["{{u}}", 0, 1]}, templates={"u": "{{ range(10**9)|list }}"}),
        document({"a/0": ["{{u.__class__}}", 0, 1]}, templates={"u": "x"}),
        document({"a/0": ["{{u:>9999999999}}", 0, 1]}, templates={"u": "x"}),
        document({"a/0": ["{{ 7*7 }}", 0, 1]}, templates={"u": "x"}),
        document({"a/0": ["{{u}}", 0, 1]}, templates={"u": 1}),
        document({}, gen=[{"key": "a/{{i}}", "url": "x", "dimensions": {"i": {"stop": 10**12}}}]),
        document({"a/0": ["http://node.example/a.nc", -1, 5]}),
        document({"a/0": ["http://node.example/a.nc", 0, 10**30]}),
        document({"a/0": ["http://node.example/a.nc", 0.5, 5]}),
        document({"a/0": ["http://node.example/a.nc", 5]}),
        document({"a/0": [None, 0, 5]}),
        document({"a/0": []}),
        document({"a/0": None}),
        document({"a/0": 5}),
        document({"a/.zarray": described(shape=[10**15])}),
        document({"a/.zarray": described(dtype="<U999999999")}),
        document({"a/.zarray": described(dtype="junk")}),
        document({"a/.zarray": "{}"}),
        document({"a/.zarray": "[" * 100_000}),
        document({"a/.zarray": described(shape="x")}),
        b'{"version": 1, "refs": ' + b"[" * 10**6,
        b'{"version": 1, "refs": {".zgroup": NaN}}',
        b'{"version": 2, "refs": {".zgroup": ""}}',
        b'{"version": 1, "refs": {".zgroup": 1e999999}}',
        b'{"refs": {".zgroup": "{}"}}',
    ],
)
def test_references_with_programs_or_impossible_places_are_refused(hostile: bytes) -> None:
    """Templates are jinja2, and ``str.format`` by default; ``gen`` multiplies; a coordinate is read
    whole when it is opened.
    """
    began = time.monotonic()
    with pytest.raises(ProofError) as caught:
        parse(hostile, "references.json")
    assert caught.value.code in ("proof-not-references", "proof-not-json")
    assert time.monotonic() - began < 20


def test_templates_by_name_are_put_in(proven: tuple[dict[str, Any], list[Path]]) -> None:
    """As kerchunk writes them. They are read as its readers read them."""
    parsed, paths = proven
    names = {str(path): f"t{number}" for number, path in enumerate(paths)}
    refs = {
        k: ["{{%s}}" % names[v[0]], *v[1:]] if isinstance(v, list) else v  # noqa: UP031
        for k, v in parsed["refs"].items()
    }
    templates = {name: path for path, name in names.items()}
    report = oracle.proof(
        json.dumps({"version": 1, "templates": templates, "refs": refs}).encode(), paths
    )
    assert report.passed, report.failures


@pytest.mark.parametrize(
    "place",
    [
        "/etc/passwd",
        "file:///etc/passwd",
        "local:///etc/passwd",
        "etc/passwd",
        "~/.ssh/id_rsa",
        "s3://bucket/key",
        "ftp://node.example/a",
        "zip://a::http://node.example/a.zip",
        "http://node.example/a::file:///etc/passwd",
        "simplecache::http://node.example/a",
        "memory://a",
        "github://a:b@c/d",
        "data:,x",
        "",
    ],
)
@pytest.mark.parametrize("where", ["refs", "provenance"])
def test_no_file_of_this_machine_is_read_for_a_reference_file_from_elsewhere(
    place: str, where: str, thredds_server: ThreddsServer
) -> None:
    """Nor anything else than HTTP. The operator may name files with ``--source``."""
    beside = {"provenance": {"files": [{"url": place}]}} if where == "provenance" else {}
    refs = {"a/.zarray": described(), **({"a/0": [place, 0, 16]} if where == "refs" else {})}
    (thredds_server.root / "references.json").write_bytes(document(refs, **beside))
    href = thredds_server.url_of("references.json")
    with (
        Transport(allowed_hosts=["node.example"], retries=0) as transport,
        pytest.raises(EsgvzarrError) as caught,
    ):
        verify_published(href, [], transport, Settings(retries=0))
    assert caught.value.code == "proof-place-refused"


def test_files_that_the_operator_names_are_read(
    proven: tuple[dict[str, Any], list[Path]], thredds_server: ThreddsServer
) -> None:
    """With ``--source``, also for a reference file from elsewhere that leads to them."""
    parsed, paths = proven
    (thredds_server.root / "references.json").write_bytes(json.dumps(parsed).encode())
    href = thredds_server.url_of("references.json")
    with Transport(retries=0) as transport:
        report = verify_published(href, list(map(str, paths)), transport, Settings(retries=0))
        assert report.passed, report.failures
        with pytest.raises(ProofError, match="refers readers to"):
            verify_published(href, list(map(str, paths[:1])), transport, Settings(retries=0))


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    """A device or a pipe has no end."""
    path = tmp_path / "references.json"
    path.write_bytes(document({"a/.zarray": described(), "a/0": ["/dev/zero", 0, 16]}))
    with Transport() as transport, pytest.raises(ProofError) as caught:
        verify_published(str(path), [], transport, Settings())
    assert caught.value.code == "proof-place-refused"


@pytest.fixture
def other(tmp_path: Path) -> Iterator[ThreddsServer]:
    """Another server, which is not named anywhere."""
    with ThreddsServer(tmp_path) as server:
        yield server


@pytest.mark.parametrize("sources", [True, False], ids=["with sources", "without"])
def test_references_do_not_lead_to_unnamed_hosts(
    sources: bool,
    proven: tuple[dict[str, Any], list[Path]],
    thredds_server: ThreddsServer,
    other: ThreddsServer,
) -> None:
    """Neither the proof nor the stock reader that it reads with asks them."""
    parsed, paths = proven
    refs = {
        k: [f"{other.url}/{Path(v[0]).name}", *v[1:]] if isinstance(v, list) else v
        for k, v in parsed["refs"].items()
    }
    (thredds_server.root / "references.json").write_bytes(
        json.dumps({"version": 1, "refs": refs}).encode()
    )
    named = list(map(str, paths)) if sources else []
    with Transport(retries=0) as transport, pytest.raises(TransportError) as caught:
        verify_published(
            thredds_server.url_of("references.json"), named, transport, Settings(retries=0)
        )
    assert caught.value.code == "transport-host-refused"
    assert not other.requests


def read_as_stock_readers_do(transport: Transport, url: str) -> bytes:
    with remote_options(transport) as options:
        return bytes(fsspec.filesystem("http", **options).cat_file(url, 0, 8))


def test_stock_readers_keep_to_the_hosts_of_the_transport(
    thredds_server: ThreddsServer, other: ThreddsServer
) -> None:
    """Also where a redirect leads, and to the addresses that hosts named by others may have."""
    (thredds_server.root / "a.nc").write_bytes(b"the bytes of a file")
    url = thredds_server.url_of("a.nc")
    with Transport() as transport:
        with pytest.raises(TransportError, match="not allowed"):
            read_as_stock_readers_do(transport, url)
        transport.allow(thredds_server.host)
        with pytest.raises(TransportError, match="not a public address"):
            read_as_stock_readers_do(transport, url)
        assert not thredds_server.requests
        transport.allow(thredds_server.host, named=True)
        assert read_as_stock_readers_do(transport, url) == b"the byte"
        thredds_server.fault(LoginRedirect(other.url_of("a.nc")))
        with pytest.raises(TransportError, match="not allowed"):
            read_as_stock_readers_do(transport, url)
        assert not other.requests


def test_stock_readers_take_no_more_than_they_asked_for(tmp_path: Path) -> None:
    """Of a server that compresses a gigabyte of zeros for eight bytes, say."""
    from security.test_security import Hostile

    bomb = zlib.compress(bytes(10**8))
    head = (
        "HTTP/1.1 206 Partial Content\r\nContent-Encoding: deflate\r\nContent-Length: "
        f"{len(bomb)}\r\n\r\n"
    ).encode()
    with (
        Hostile(head + bomb, b"") as server,
        Transport(allowed_hosts=[server.host]) as transport,
        pytest.raises(Exception, match="answered with Content-Encoding"),
    ):
        read_as_stock_readers_do(transport, server.url)


def _change(path: str, **changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda refs: refs.__setitem__(path, json.dumps({**json.loads(refs[path]), **changes}))


HOSTILE_ARRAYS = {
    "huge fixed field": _change("lat_bnds/.zarray", shape=[10**9, 10**9], chunks=[10**9, 10**9]),
    "huge data": _change("tas/.zarray", shape=[24, 10**9, 10**9], chunks=[12, 10**9, 10**9]),
    "chunks of nothing": _change("tas/.zarray", chunks=[0, 0, 0]),
    "negative shape": _change("tas/.zarray", shape=[-24, 4, 6]),
    "unknown codec": _change("tas/.zarray", filters=[{"id": "pickle"}]),
    "wrong codec": _change(
        "tas/.zarray", filters=[{"id": "zlib", "level": "x"}], compressor={"id": 5}
    ),
    "objects": _change("tas/.zarray", dtype="|O", filters=[{"id": "pickle"}]),
    "attributes": lambda refs: refs.__setitem__(
        "tas/.zattrs", '{"_ARRAY_DIMENSIONS": [[["time"]], {}, 5]}'
    ),
    "no dimensions": lambda refs: refs.__setitem__("tas/.zattrs", "{}"),
    "units": _change("time/.zattrs", units="days since 999999999-99-99", calendar="x" * 1000),
    "times": lambda refs: refs.__setitem__(
        "time/0", "base64:" + base64.b64encode(b"\xff" * 8 * 36).decode()
    ),
}


@pytest.mark.parametrize("name", HOSTILE_ARRAYS)
def test_hostile_descriptions_of_arrays_fail_in_time(
    name: str, proven: tuple[dict[str, Any], list[Path]]
) -> None:
    """The proof fails, or says that they do not open. Memory is not filled: the tests would end."""
    parsed, paths = proven
    refs = dict(parsed["refs"])
    HOSTILE_ARRAYS[name](refs)
    began = time.monotonic()
    with contextlib.suppress(ProofError):
        assert not oracle.proof(json.dumps({"version": 1, "refs": refs}).encode(), paths).passed
    assert time.monotonic() - began < 20


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(
        [
            "<f4",
            "base64:AAAA",
            "base64:!",
            "http://x/",
            "{}",
            "[]",
            "time",
            "{{u}}",
            -1,
            10**20,
            "\ud800",
        ]
    ),
)
KEYS = st.one_of(
    st.sampled_from(
        [
            ".zgroup",
            ".zattrs",
            "tas/.zarray",
            "tas/.zattrs",
            "tas/0.0.0",
            "time/.zarray",
            "time/0",
            "a/b/.zarray",
        ]
    ),
    st.text(max_size=6),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_json_is_given_the_answer_is_a_report_or_a_typed_error(
    data: st.DataObject, proven: tuple[dict[str, Any], list[Path]]
) -> None:
    """A right reference file in which anything is replaced by anything, or anything at all."""
    parsed, paths = proven
    what = data.draw(st.sampled_from(["refs", "metadata", "beside", "all"]))
    refs = dict(parsed["refs"])
    whole: Any = {"version": 1, "refs": refs}
    if what == "refs":
        refs[data.draw(st.sampled_from(sorted(refs)))] = data.draw(VALUES)
    elif what == "metadata":
        key = data.draw(st.sampled_from(sorted(key for key in refs if ".z" in key)))
        metadata = json.loads(refs[key])
        metadata[data.draw(st.sampled_from(sorted(metadata)))] = data.draw(VALUES)
        refs[key] = json.dumps(metadata)
    elif what == "beside":
        whole[data.draw(st.sampled_from(["version", "templates", "gen", "refs", "provenance"]))] = (
            data.draw(VALUES)
        )
    else:
        whole = {"version": 1, "refs": data.draw(st.dictionaries(KEYS, VALUES, max_size=8))}
    with Transport(retries=0, timeout_s=1) as transport, contextlib.suppress(EsgvzarrError):
        verify(
            named("json").parse(json.dumps(whole).encode(), "test", transport),
            oracle.record_of(paths).files,
            transport,
            location="test",
            samples=1,
        )
