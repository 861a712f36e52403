"""A kerchunk reference file as its readers see it: opened by stock xarray + kerchunk, nothing
decoded.
"""

from __future__ import annotations

import math
import os
import re
import reprlib
import zlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from .. import cf
from ..errors import ProofError
from ..model import ChunkTable, Variable
from ..output import ICECHUNK, output_of
from ..output import storage_options as reader_options
from ..output.icechunk import open_store
from ..transport import Transport, is_url

if TYPE_CHECKING:
    import xarray

UNREADABLE = (
    OSError,
    ValueError,
    RuntimeError,
    LookupError,
    EOFError,
    TypeError,
    AttributeError,
    ArithmeticError,
    MemoryError,
    zlib.error,
)
"""What fsspec, Zarr and its codecs raise for references that lead to other bytes, or are none."""
_TEMPLATE = re.compile(r"\{\{(\w+)\}\}")
_LARGEST_COORDINATE = 2**30
"""Bytes along one dimension: 134 million times."""
_CODECS_THAT_RUN = ("pickle",)
_OBJECTS = 64 * 2**20
"""Bytes that a chunk of objects may take, which have no size of their own."""
_CHUNK_KEY = re.compile(r"[0-9]+([.][0-9]+)*")
_NO_CHUNKS = ChunkTable(np.empty((0, 0), np.int64), np.empty(0, np.int64), np.empty(0, np.int64))


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """One group that has arrays."""

    path: str
    dataset: xarray.Dataset
    time: str | None
    times: np.ndarray
    """(time,) int64 microseconds since 1970-01-01 of the calendar; empty for fixed fields."""

    def chunk_shape(self, name: str) -> tuple[int, ...]:
        """Elements per dimension of the array's chunks."""
        variable = self.dataset.variables[name]
        return tuple(variable.encoding.get("chunks") or variable.shape)

    def only(self, names: Iterable[str]) -> Shown:
        """The same group with these variables alone, as if it showed one dataset of several."""
        kept = set(names)
        time = self.time if self.time in kept else None
        dataset = self.dataset.drop_vars(
            [name for name in self.dataset.variables if name not in kept]
        )
        return Shown(self.path, dataset, time, self.times if time else self.times[:0])


@dataclass(frozen=True, slots=True, eq=False)
class Stated:
    """What a reference file says of where chunks are."""

    chunks: Mapping[tuple[str, str], int]
    """(file URL, ``group/variable``) -> number."""
    sizes: Mapping[tuple[str, str], int]
    """(file URL, ``group/variable``) -> bytes."""
    inline: Mapping[str, Sequence[tuple[int, ...]]]
    """``group/variable`` -> places in the chunk grid of the chunks that are in the reference file
    itself.
    """
    reach: Mapping[str, int]
    """File URL -> where the last bytes end that are referred to."""
    refs: Mapping[str, Any]
    """The references themselves."""

    def urls(self) -> set[str]:
        """Wherever a reader may be led, be it for what is no chunk."""
        return {value[0] for value in self.refs.values() if isinstance(value, list)}

    def within(
        self, path: str, name: str, boxes: Iterable[tuple[slice, ...]], chunk_shape: Sequence[int]
    ) -> Iterator[tuple[int, int]]:
        """(start, stop) of the bytes that are stated to hold the first chunk of each box. A hint
        what to fetch, and no more.
        """
        for box in boxes:
            key = (
                ".".join(
                    str(part.start // max(chunk, 1))
                    for part, chunk in zip(box, chunk_shape, strict=True)
                )
                or "0"
            )
            value = self.refs.get(f"{place_of(path, name)}/{key}")
            if isinstance(value, list) and len(value) == 3:
                yield value[1], value[1] + value[2]

    def inline_within(
        self,
        path: str,
        name: str,
        axis: int | None,
        steps: tuple[int, int],
        chunk_shape: Sequence[int],
    ) -> int:
        """How many inline chunks of a variable lie within these steps along ``axis``."""
        keys = self.inline.get(place_of(path, name), ())
        if axis is None:
            return len(keys)
        return sum(
            steps[0] < (key[axis] + 1) * chunk_shape[axis]
            and key[axis] * chunk_shape[axis] < steps[1]
            for key in keys
        )


def place_of(path: str, name: str) -> str:
    """``group/variable``, by which the references know an array."""
    return f"{path}/{name}" if path else name


def parse(document: bytes, subject: str) -> dict[str, Any]:
    """The reference file as a dict of version 1, whichever it has, with its templates put in: what
    readers see, nothing to run.

    Raises:
        ProofError: not strict JSON, not kerchunk references, or ones that lead a reader on, or out
            of its memory.
    """
    try:
        parsed = orjson.loads(document)
        if isinstance(parsed, dict) and isinstance(
            parsed.get("provenance"), str
        ):  # as esgvzarr writes it
            parsed["provenance"] = orjson.loads(parsed["provenance"])
    except orjson.JSONDecodeError as error:
        raise ProofError(
            subject,
            f"is not strict JSON: {error}",
            expected="kerchunk references",
            code="proof-not-json",
        ) from error
    refs = (
        (parsed.get("refs") if parsed.get("version") == 1 else parsed)
        if isinstance(parsed, dict)
        else None
    )
    if not isinstance(refs, dict) or not any(
        key.endswith((".zgroup", ".zmetadata", ".zarray")) for key in refs
    ):
        raise _no_references(subject, "holds no references")
    plain = _Plain(subject, {} if refs is parsed else parsed.get("templates") or {})
    if refs is not parsed and parsed.get("gen"):
        raise _no_references(
            subject, "holds `gen`, which readers leave out unless they are told to run templates"
        )
    shown = {key: plain.value(key, value) for key, value in refs.items()}
    for key, value in shown.items():
        if key.endswith(".zarray"):
            _check_size(value, f"{subject}, {key}")
    return {
        "version": 1,
        "refs": shown,
        "provenance": {} if refs is parsed else parsed.get("provenance"),
    }


class _Plain:
    """References without templates."""

    def __init__(self, subject: str, templates: Any) -> None:
        valid = isinstance(templates, dict) and all(
            isinstance(text, str) and "{" not in text for text in templates.values()
        )
        if not valid:
            raise _no_references(subject, "holds templates that are programs, or no texts")
        self._subject = subject
        self._templates = templates
        self._urls = dict[str, str]()

    def value(self, key: str, value: Any) -> Any:
        """What a reader finds under a key: a text, or URL and place."""
        if isinstance(value, str):
            return value
        if isinstance(value, dict):
            return orjson.dumps(value).decode()
        url, *place = value if isinstance(value, list) and value else [None]
        if (
            not isinstance(url, str)
            or len(place) not in (0, 2)
            or not all(type(n) is int and 0 <= n < 2**62 for n in place)
        ):
            raise _no_references(f"{self._subject}, {key}", f"is {reprlib.repr(value)}")
        return [self._urls.get(url) or self._filled_in(url), *place] if self._templates else value

    def _filled_in(self, url: str) -> str:
        """Templates are put in by name and in no other way: readers would run ``str.format``, or a
        template language, on them.
        """
        filled = url
        if "{{" in url:
            filled = _TEMPLATE.sub(lambda found: self._templates.get(found[1], "{"), url)
            if "{" in filled or "}" in filled:
                raise _no_references(self._subject, f"holds the template {reprlib.repr(url)}")
        return self._urls.setdefault(url, filled)


def check_places(
    urls: Iterable[str], transport: Transport, location: str, named: Collection[str]
) -> None:
    """Make sure that references lead where they may: to allowed hosts, and to files of this machine
    only if they lie here, too.

    Args:
        urls: that they state.
        transport: knows the hosts.
        location: URL or path of the reference file.
        named: files of this machine that the operator named.

    Raises:
        ProofError: they lead to files of this machine from a URL, to what is no file, or elsewhere
            than to HTTP.
        TransportError: the host is not allowed.
    """
    for url in urls:
        path = url.removeprefix("file://")
        if is_url(url) and "::" not in _without_host(url):
            transport.check_allowed(url)
        elif "://" in path or "::" in path:
            raise _led_astray(location, url, "HTTP, or files")
        elif is_url(location) and path not in named:
            raise _led_astray(location, url, "no file of this machine, unless --source names it")
        elif os.path.exists(path) and not os.path.isfile(path):
            raise _led_astray(location, url, "a file")


def _without_host(url: str) -> str:
    """What follows the host, which may be an IPv6 address: ``::`` elsewhere chains file systems."""
    bracketed, closing, rest = url.partition("]")
    return rest if closing and bracketed.startswith(("http://[", "https://[")) else url


def _led_astray(location: str, url: str, expected: str) -> ProofError:
    return ProofError(
        location,
        f"leads readers to {reprlib.repr(url)}",
        expected=expected,
        code="proof-place-refused",
    )


def _check_size(text: Any, subject: str) -> None:
    """An array of one dimension is read whole when it is opened: its ``.zarray`` alone must not
    fill the memory.
    """
    try:
        described = orjson.loads(text)
        shape = described["shape"]
        size = np.dtype(described["dtype"]).itemsize
        size *= shape[0] if len(shape) == 1 else 1
        _check_codecs(described, subject)
        _chunk_bytes(described)
    except (ValueError, KeyError, TypeError, IndexError, SyntaxError) as error:
        raise _no_references(subject, f"describes no array: {type(error).__name__}") from error
    if not isinstance(size, int) or size > _LARGEST_COORDINATE:
        raise _no_references(subject, f"describes an array of {size} bytes along one dimension")


def largest_chunk(refs: Mapping[str, Any]) -> int:
    """Bytes of the largest chunk that the references describe, decoded: no other may be larger."""
    arrays = (orjson.loads(text) for key, text in refs.items() if key.endswith(".zarray"))
    return max(map(_chunk_bytes, arrays), default=0)


def _chunk_bytes(described: Mapping[str, Any]) -> int:
    dtype = np.dtype(described["dtype"])
    if dtype.kind == "O":
        return _OBJECTS
    return int(math.prod(described.get("chunks") or ()) * dtype.itemsize)


def _check_codecs(described: Mapping[str, Any], subject: str) -> None:
    """Unpickling runs what was pickled."""
    for codec in (described.get("compressor"), *(described.get("filters") or ())):
        if isinstance(codec, dict) and codec.get("id") in _CODECS_THAT_RUN:
            raise _no_references(subject, f"has the codec {codec['id']!r}, which runs programs")


def _no_references(subject: str, found: str) -> ProofError:
    return ProofError(
        subject, found, expected="kerchunk references (version 0 or 1)", code="proof-not-references"
    )


def open_shown(
    parsed: Mapping[str, Any], storage_options: Mapping[str, Any], subject: str, through: str = ""
) -> list[Shown]:
    """All groups that have arrays, opened from the references as parsed, or from the output at
    ``through``.

    Raises:
        ProofError: one of them does not open.
    """
    shown = []
    icechunk = output_of(through) == ICECHUNK
    options = reading_options(parsed, storage_options, through)
    for path in _groups(parsed["refs"]):
        try:
            dataset = (
                _open_output(through, path)
                if icechunk
                else _open_group(through or dict(parsed), path, options)
            )
        except UNREADABLE as error:
            raise ProofError(
                subject,
                f"/{path} does not open: {type(error).__name__}: {error}",
                expected="a Zarr group that xarray opens",
                code="proof-not-opened",
            ) from error
        time = cf.time_name(described(dataset))
        shown.append(Shown(path, dataset, time, times_of(dataset, time)))
    return shown


def reading_options(
    parsed: Mapping[str, Any], storage_options: Mapping[str, Any], through: str
) -> dict[str, Any]:
    """What fsspec's reference file system is told, beside where the references are."""
    own = reader_options(output_of(through), _protocol(parsed["refs"])) if through else {}
    return {"skip_instance_cache": True, **own, **storage_options}


def _open_output(href: str, path: str) -> xarray.Dataset:
    """One group of an Icechunk repository."""
    import xarray

    store = open_store(href)
    opened: xarray.Dataset = xarray.open_zarr(
        store, group=path or None, consolidated=False, decode_cf=False, chunks=None
    )
    return opened


def _protocol(refs: Mapping[str, Any]) -> str:
    """Of the first URL that the references name."""
    urls = (value[0] for value in refs.values() if isinstance(value, list))
    return next((url.partition("://")[0] for url in urls if "://" in url), "file")


def _open_group(fo: str | dict[str, Any], path: str, options: Mapping[str, Any]) -> xarray.Dataset:
    """One group. Not by kerchunk's ``group=``: zarr-python 3.1 then lists no arrays, and shows an
    empty dataset.
    """
    import xarray

    if not path:
        own = {"decode_cf": False, "chunks": None}
        return xarray.open_dataset(
            fo,  # type: ignore[arg-type]
            engine="kerchunk",
            storage_options=dict(options),
            open_dataset_options=own,
        )
    return xarray.open_dataset(
        f"reference://{path}",
        engine="zarr",
        consolidated=False,
        zarr_format=2,
        decode_cf=False,
        chunks=None,
        storage_options={
            "fo": fo,
            **options,
            "remote_options": {"asynchronous": True, **options.get("remote_options", {})},
        },
    )


def _groups(refs: Mapping[str, Any]) -> list[str]:
    """Paths of the groups that hold arrays."""
    arrays = [key.removesuffix("/.zarray") for key in refs if key.endswith("/.zarray")]
    return sorted({array.rpartition("/")[0] for array in arrays})


def described(dataset: xarray.Dataset) -> dict[str, Variable]:
    """The variables of an undecoded dataset, as far as CF roles need them."""
    return {
        str(name): Variable(
            str(name),
            tuple(map(str, v.dims)),
            v.shape,
            v.dtype,
            v.attrs,
            None,
            v.shape,
            (),
            _NO_CHUNKS,
        )
        for name, v in dataset.variables.items()
    }


def times_of(dataset: xarray.Dataset, time: str | None) -> np.ndarray:
    """Decoded times, by the dataset's own units and calendar, missing ones the least integer; empty
    where they are none.
    """
    if time is None or not dataset.variables[time].size:
        return np.empty(0, np.int64)
    variable = dataset.variables[time]
    try:
        values = np.asarray(variable.values)
        absent = cf.missing(values, variable.attrs)
        if "scale_factor" in variable.attrs or "add_offset" in variable.attrs:
            values = cf.unpacked(values, variable.attrs)
        times = np.full(values.shape, np.iinfo(np.int64).min)
        units = str(variable.attrs["units"])
        times[~absent] = cf.to_microseconds(values[~absent], units, cf.calendar_of(variable.attrs))
    except UNREADABLE:
        return np.empty(0, np.int64)
    return times


def stated(parsed: Mapping[str, Any]) -> Stated:
    """Count the references by file and array."""
    chunks: Counter[tuple[str, str]] = Counter()
    sizes: defaultdict[tuple[str, str], int] = defaultdict(int)
    reach: Counter[str] = Counter()
    inline: defaultdict[str, list[tuple[int, ...]]] = defaultdict(list)
    for key, value in parsed["refs"].items():
        path, _, chunk = key.rpartition("/")
        if not _CHUNK_KEY.fullmatch(chunk):
            continue
        if not isinstance(value, list):
            inline[path].append(tuple(map(int, chunk.split("."))))
            continue
        place = value[0].removeprefix("file://"), path
        chunks[place] += 1
        sizes[place] += value[2] if len(value) == 3 else 0
        reach[place[0]] = max(reach[place[0]], sum(value[1:]))
    return Stated(chunks, sizes, inline, reach, parsed["refs"])
