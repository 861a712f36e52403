"""The contract with VirtualiZarr: our references become its virtual datasets, and these kerchunk
references or Icechunk again.

VirtualiZarr 2.5, the last for Python 3.11, reads no chunks that are in the reference file itself:
only variables of which all are in the NetCDF files. To kerchunk it writes the only chunk of a
scalar under another key, where no reader finds it.
"""

from __future__ import annotations

import json
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
from trust import oracle

from esgvzarr.testing import DEFECTS

pytest.importorskip("virtualizarr", reason="in the extra `test`")
READS_INLINE = tuple(map(int, version("virtualizarr").split(".")[:2])) >= (2, 6)
NAMES = ("plain", "fletcher32", "packed", "big_endian", "netcdf3_classic_records")


def virtual_dataset(name: str, directory: Path) -> tuple[Any, list[Path]]:
    """As VirtualiZarr's documentation opens kerchunk references."""
    from obspec_utils.registry import ObjectStoreRegistry
    from obstore.store import LocalStore
    from virtualizarr import open_virtual_dataset
    from virtualizarr.parsers import KerchunkJSONParser

    paths = DEFECTS[name].make(directory)
    _, document = oracle.make(paths)
    reference = directory / "dataset.json"
    reference.write_bytes(document.replace(b'["/', b'["file:///'))
    registry = ObjectStoreRegistry({"file://": LocalStore()})
    parser = KerchunkJSONParser(
        skip_variables=[]
        if READS_INLINE
        else [name for name in variables(document) if name != "tas"]
    )
    return open_virtual_dataset(
        f"file://{reference}", registry=registry, parser=parser, loadable_variables=[]
    ), paths


def variables(document: bytes) -> list[str]:
    return [
        key.removesuffix("/.zarray")
        for key in json.loads(document)["refs"]
        if key.endswith("/.zarray")
    ]


def check_values(opened: xarray.Dataset, paths: list[Path]) -> None:
    """Decoded values of the data, and of its coordinates where they could be taken along, against
    the files.
    """
    files = [xarray.open_dataset(path, decode_times=oracle.CFTIME) for path in sorted(paths)]
    for name in ("tas", "time") if READS_INLINE else ("tas",):
        assert np.array_equal(
            opened[name].values,
            np.concatenate([file[name].values for file in files]),
            equal_nan=name == "tas",
        )
    for name in ("lat", "lon") if READS_INLINE else ():
        assert np.array_equal(opened[name].values, files[0][name].values)


@pytest.mark.parametrize("name", NAMES)
def test_references_go_through_virtualizarr_and_read_the_same(name: str, tmp_path: Path) -> None:
    virtual, paths = virtual_dataset(name, tmp_path)
    document = json.dumps(virtual.vz.to_kerchunk(format="dict")).encode()
    check_values(oracle.shown(document, decode_times=oracle.CFTIME), paths)


@pytest.mark.parametrize("name", NAMES)
def test_references_go_through_virtualizarr_to_icechunk_and_read_the_same(
    name: str, tmp_path: Path
) -> None:
    icechunk = pytest.importorskip(
        "icechunk", minversion="2.0", reason="Icechunk 2 needs Python 3.12"
    )
    virtual, paths = virtual_dataset(name, tmp_path)
    config = icechunk.RepositoryConfig.default()
    place = f"{tmp_path.as_uri()}/"
    config.set_virtual_chunk_container(
        icechunk.VirtualChunkContainer(place, icechunk.local_filesystem_store(str(tmp_path)))
    )
    storage = icechunk.in_memory_storage()
    access = {place: icechunk.credentials.LocalFileSystemAccess}
    repository = icechunk.Repository.create(storage, config, authorize_virtual_chunk_access=access)
    session = repository.writable_session("main")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        virtual.vz.to_icechunk(session.store)
        opened = xarray.open_zarr(session.store, consolidated=False, decode_times=oracle.CFTIME)
        check_values(opened, paths)
