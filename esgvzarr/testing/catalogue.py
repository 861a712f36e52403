"""THREDDS catalogues (InvCatalog 1.0) as the ESGF publisher and TDS write them. No input or
output.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import quoteattr

_HANDLE = re.compile(rb"hdl:21\.\d+/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<catalog xmlns="http://www.unidata.ucar.edu/namespaces/thredds/InvCatalog/v1.0" xmlns:xlink="http://www.w3.org/1999/xlink"\
 name={name} version="1.0.1">
"""


@dataclass(frozen=True, slots=True)
class CatalogueFile:
    """One file of a catalogued dataset."""

    name: str
    url_path: str
    """Path below the base of the HTTPServer service."""
    size: int
    checksum: str
    """SHA-256, lower-case hex."""
    tracking_id: str | None


def describe_file(path: Path, url_path: str) -> CatalogueFile:
    """Return what a catalogue states about a file; the tracking id is the first handle among its
    bytes.
    """
    content = path.read_bytes()
    handle = _HANDLE.search(content)
    return CatalogueFile(
        path.name,
        url_path,
        len(content),
        hashlib.sha256(content).hexdigest(),
        handle.group().decode() if handle else None,
    )


def catalogue_of_references(name: str, references: Iterable[tuple[str, str]]) -> str:
    """Return a catalogue of ``catalogRef`` elements, from (title, href) of each."""
    refs = "".join(
        f'  <catalogRef xlink:title={quoteattr(title)} xlink:href={quoteattr(href)} name=""/>\n'
        for title, href in references
    )
    return f"{_HEAD.format(name=quoteattr(name))}{refs}</catalog>\n"


def catalogue_of_directory(
    name: str, base: str, subdirectories: Sequence[str], files: Iterable[tuple[str, str, int]]
) -> str:
    """Return the catalogue that TDS makes of a ``datasetScan``: (name, urlPath, bytes) of each
    file, a ``catalogRef`` for each subdirectory.
    """
    refs = "".join(
        f"    <catalogRef xlink:title={quoteattr(sub)} "
        f'xlink:href={quoteattr(f"{sub}/catalog.xml")} name=""/>\n'
        for sub in subdirectories
    )
    entries = "".join(
        f"    <dataset name={quoteattr(title)} ID={quoteattr(path)} urlPath={quoteattr(path)}>\n"
        f'      <dataSize units="bytes">{size}</dataSize>\n    </dataset>\n'
        for title, path, size in files
    )
    inherited = '    <metadata inherited="true"><serviceName>fileservice</serviceName></metadata>\n'
    return (
        f"{_HEAD.format(name=quoteattr(name))}{_services(base)}  <dataset name={quoteattr(name)}>\n"
        f"{inherited}{refs}{entries}  </dataset>\n</catalog>\n"
    )


def catalogue_of_dataset(dataset_id: str, base: str, files: Iterable[CatalogueFile]) -> str:
    """Return the catalogue that the ESGF publisher writes for a dataset."""
    master_id, _, version = dataset_id.rpartition(".v")
    properties = _property("dataset_id", master_id) + _property("dataset_version", version)
    entries = "".join(_file_entry(dataset_id, file) for file in files)
    return (
        f"{_HEAD.format(name=quoteattr('TDS configuration file'))}{_services(base)}  <property "
        'name="catalog_version" value="2"/>\n'
        f"  <dataset ID={quoteattr(dataset_id)} "
        f"name={quoteattr(dataset_id)}>\n{properties}{entries}  </dataset>\n</catalog>\n"
    )


def _services(base: str) -> str:
    return f"""  <service name="fileservice" serviceType="Compound" base="">
    <service name="HTTPServer" serviceType="HTTPServer" base={quoteattr(base)}
      desc="TDS file server"/>
    <service name="OpenDAPServer" serviceType="OPENDAP" base="/thredds/dodsC/" desc="OPeNDAP"/>
  </service>
"""


def _property(name: str, value: str) -> str:
    return f"    <property name={quoteattr(name)} value={quoteattr(value)}/>\n"


def _file_entry(dataset_id: str, file: CatalogueFile) -> str:
    identifier = quoteattr(f"{dataset_id}.{file.name}")
    path = quoteattr(file.url_path)
    properties = {
        "size": str(file.size),
        "checksum": file.checksum,
        "checksum_type": "SHA256",
        "tracking_id": file.tracking_id,
    }
    lines = "".join(_property(name, value) for name, value in properties.items() if value)
    return (
        f"    <dataset name={quoteattr(file.name)} ID={identifier} urlPath={path}>\n{lines}    "
        "<serviceName>fileservice</serviceName>\n    </dataset>\n"
    )
