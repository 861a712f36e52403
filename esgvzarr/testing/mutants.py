"""Randomly damaged copies of files and documents; the same seed gives the same copies.

A fuzzer passes them to the readers of untrusted bytes.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from .datasets import DATASET_ID
from .defects import DEFECTS
from .items import make_item

NODE = "node.example"
_FILES = {
    "netcdf3": (
        "netcdf3_classic_records",
        "netcdf3_classic_fixed",
        "netcdf3_offset64_records",
        "netcdf3_flags",
        "char_array_netcdf3",
        "cdf5",
    ),
    "hdf5": (
        "plain",
        "compressed",
        "contiguous",
        "packed",
        "fletcher32",
        "vlen_string",
        "char_array",
        "odd_attributes",
        "compact_layout",
        "newest_layout",
        "enumeration",
        "bare_dimensions",
        "chunks_never_written",
        "attribute_types",
    ),
}
"""Defects whose first files are damaged further."""
_SIGNATURES = re.compile(rb"OHDR|TREE|SNOD|HEAP|GCOL|FRHP|FHDB|OCHK|BTHD|BTLF|FADB|EAHD|\x89HDF")
"""Part of a file in which HDF5 stores its metadata."""
_NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63, 2**64 - 1)
_VALUES: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    10**30,
    1e308,
    0.5,
    "",
    " ",
    "a" * 5000,
    "\u202e\x00\ud7ff",
    "http://[",
    "http://127.0.0.1:1\\@node.example/a.nc",
    "file:///etc/passwd",
    "../../etc/passwd",
    "v1",
    [],
    {},
    [[[[[]]]]],
    {"id": None},
)
_MARKUP = re.compile(rb'"[^"<>]*"|<[^<>]*>')


class Kind(StrEnum):
    """Kinds of inputs that are damaged."""

    NETCDF3 = "netcdf3"
    HDF5 = "hdf5"
    CATALOGUE = "catalogue"
    MAPFILE = "mapfile"
    ITEM = "item"
    RECORDS = "records"
    REFERENCES = "references"


FILES = (Kind.NETCDF3, Kind.HDF5)


@dataclass(frozen=True, slots=True)
class Seed:
    """Undamaged bytes."""

    kind: Kind
    data: bytes


def seeds(directory: Path) -> list[Seed]:
    """Return small files and documents of every kind. The references refer to a file in
    ``directory``.
    """
    found = []
    for kind in FILES:
        for name in _FILES[kind.value]:
            path = DEFECTS[name].make(directory / name)[0]
            found.append(Seed(kind, path.read_bytes()))
    return [*found, *documents()]


def documents() -> list[Seed]:
    """Return documents that describe a dataset."""
    return [
        Seed(Kind.CATALOGUE, _catalogue()),
        Seed(Kind.MAPFILE, _mapfile()),
        Seed(Kind.ITEM, json.dumps(_item()).encode()),
        Seed(Kind.RECORDS, json.dumps(_records()).encode()),
    ]


def _catalogue() -> bytes:
    files = "".join(
        f'<dataset name="{name}" ID="{DATASET_ID}.{name}" urlPath="root/{name}" serviceName="all">'
        f'<property name="size" value="1234"/><property name="checksum" value="{"ab" * 32}"/>'
        '<property name="checksum_type" value="SHA256"/></dataset>'
        for name in ("a.nc", "b.nc")
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<catalog xmlns="http://www.unidata.ucar.edu/namespaces/thredds/InvCatalog/v1.0" '
        'xmlns:xlink="http://www.w3.org/1999/xlink" name="x">'
        '<service name="all" serviceType="Compound" base=""><service name="files" '
        f'serviceType="HTTPServer" base="http://{NODE}/thredds/fileServer/"/></service>'
        f'<dataset name="{DATASET_ID}" ID="{DATASET_ID}">'
        f'<metadata inherited="true"><serviceName>all</serviceName></metadata>{files}</dataset>'
        f'<catalogRef xlink:href="http://{NODE}/thredds/other.xml" xlink:title="other" name=""/>'
        "</catalog>"
    ).encode()


def _mapfile() -> bytes:
    line = f"{DATASET_ID} | /data/{{}} | 1234 | mod_time=1.5 | checksum={'ab' * 32} | " + (
        "checksum_type=SHA256\n"
    )
    return (line.format("a.nc") + line.format("b.nc")).encode()


def _item() -> dict[str, Any]:
    hrefs = {name: f"http://{NODE}/{name}" for name in ("a.nc", "b.nc")}
    return dict(make_item(DATASET_ID, hrefs, data_node=NODE))


def _records() -> list[dict[str, Any]]:
    master, _, version = DATASET_ID.rpartition(".v")
    dataset = {
        "type": "Dataset",
        "id": f"{DATASET_ID}|{NODE}",
        "instance_id": DATASET_ID,
        "master_id": master,
        "version": version,
        "data_node": NODE,
        "number_of_files": 1,
        "replica": False,
    }
    file = {
        "type": "File",
        "dataset_id": f"{DATASET_ID}|{NODE}",
        "title": "a.nc",
        "url": [f"http://{NODE}/a.nc|application/netcdf|HTTPServer"],
        "size": 1234,
        "checksum": ["ab" * 32],
        "checksum_type": ["SHA256"],
    }
    return [file, dataset]


def mutants(seeds: list[Seed], seed: int) -> Iterator[Seed]:
    """Yield damaged copies without end, equally many of each kind."""
    chance = random.Random(seed)  # noqa: S311 - randomness for tests, no secret
    by_kind: dict[Kind, list[Seed]] = {}
    for one in seeds:
        by_kind.setdefault(one.kind, []).append(one)
    while True:
        for own in by_kind.values():
            chosen = chance.choice(own)
            data = chosen.data
            for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
                data = _damage(chosen.kind, data, chance)
            yield Seed(chosen.kind, data)


def _damage(kind: Kind, data: bytes, chance: random.Random) -> bytes:
    ways: list[Callable[[bytes, random.Random], bytes]] = [_bytes]
    match kind:
        case Kind.HDF5:
            ways = [_near_signature, _near_signature, _bytes, _number]
        case Kind.NETCDF3:
            ways = [_in_header, _in_header, _number, _bytes]
        case Kind.CATALOGUE:
            ways = [_markup, _markup, _bytes]
        case Kind.MAPFILE:
            ways = [_cell, _cell, _bytes]
        case Kind.ITEM | Kind.RECORDS | Kind.REFERENCES:
            ways = [_json_value, _json_value, _json_value, _bytes]
    return chance.choice(ways)(data, chance) if data else data


def _bytes(data: bytes, chance: random.Random) -> bytes:
    """Change a byte, cut, insert or repeat bytes, or drop the rest."""
    at = chance.randrange(len(data))
    span = chance.choice((1, 1, 2, 4, 8, 64, 1000))
    match chance.randrange(6):
        case 0 | 1:
            return data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]
        case 2:
            return data[:at] + data[at + span :]
        case 3:
            return data[:at] + chance.randbytes(span) + data[at:]
        case 4:
            return data[:at] + data[at : at + span] + data[at:]
        case _:
            return data[:at]


def _number_at(data: bytes, at: int, chance: random.Random) -> bytes:
    width = chance.choice((1, 2, 4, 8))
    number = chance.choice(_NUMBERS) & (256**width - 1)
    written = number.to_bytes(width, "little" if chance.random() < 0.5 else "big")
    whole: bytes = data[:at] + written + data[at + width :]
    return whole[: len(data)]


def _number(data: bytes, chance: random.Random) -> bytes:
    """Write a number at the limit of its type, anywhere."""
    return _number_at(data, chance.randrange(len(data)), chance)


def _near_signature(data: bytes, chance: random.Random) -> bytes:
    places = [found.start() for found in _SIGNATURES.finditer(data)] or [0]
    at = min(chance.choice(places) + chance.randrange(200), len(data) - 1)
    if chance.random() < 0.5:
        return data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]
    return _number_at(data, at, chance)


def _in_header(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(min(len(data), 2000))
    if chance.random() < 0.5:
        return data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]
    return _number_at(data, at, chance)


def _markup(data: bytes, chance: random.Random) -> bytes:
    """Change the value of an attribute, or cut or repeat an element."""
    places = list(_MARKUP.finditer(data))
    if not places:
        return _bytes(data, chance)
    chosen = chance.choice(places)
    if chosen[0].startswith(b'"'):
        text = str(chance.choice(_VALUES)).encode("utf-8", "replace")
        new = b'"' + text.replace(b'"', b"") + b'"'
    else:
        new = chosen[0] * chance.choice((0, 2, 60))
    return data[: chosen.start()] + new + data[chosen.end() :]


def _cell(data: bytes, chance: random.Random) -> bytes:
    cells = re.split(rb"([|\n=])", data)
    at = chance.randrange(len(cells))
    cells[at] = chance.choice(
        [str(chance.choice(_VALUES)).encode("utf-8", "replace"), b"", cells[at] * 2]
    )
    return b"".join(cells)


def _json_value(data: bytes, chance: random.Random) -> bytes:
    """Change or remove one value of a document, or rename its key."""
    try:
        document = json.loads(data)
    except ValueError:
        return _bytes(data, chance)
    places = list(_places(document))
    if not places:
        return _bytes(data, chance)
    holder, key = chance.choice(places)
    match chance.randrange(4):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, dict):
            other = chance.choice(list(holder)) + "x"
            holder[other] = holder.pop(key)
        case _:
            holder[key] = chance.choice(_VALUES)
    return json.dumps(document).encode()


def _places(document: Any) -> Iterator[tuple[Any, Any]]:
    """Yield (list or mapping, key) of every value in a document."""
    waiting = [document]
    while waiting:
        holder = waiting.pop()
        if isinstance(holder, dict):
            keys: list[Any] = list(holder)
        elif isinstance(holder, list):
            keys = list(range(len(holder)))
        else:
            continue
        for key in keys:
            yield holder, key
            waiting.append(holder[key])
