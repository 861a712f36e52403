"""Headers of netCDF-3 files that are damaged."""

from __future__ import annotations

import resource
import struct
from pathlib import Path

import netCDF4
import pytest

from esgvzarr import FileRecord, Transport
from esgvzarr.errors import FormatError
from esgvzarr.formats import scan
from esgvzarr.formats.content import SparseContent
from esgvzarr.formats.netcdf3 import NetCDF3
from esgvzarr.testing import write_monthly

NO_RECORDS = struct.pack(">Q", 0)
DIMENSIONS = struct.pack(">IQ", 10, 2**40)
NONE = struct.pack(">IQ", 0, 0)
AN_ATTRIBUTE = struct.pack(">Q4sIQI", 1, b"a", 1, 1, 0)


def test_a_header_of_zeros_is_refused_at_its_first_bytes() -> None:
    """However many entries it claims, and however long the file is."""
    head = b"CDF\x05" + NO_RECORDS + DIMENSIONS
    content = SparseContent(2**26)
    content.add(0, head.ljust(2**17, b"\0"))
    with pytest.raises(FormatError) as caught:
        next(NetCDF3.scan(FileRecord("zeros.nc", "zeros.nc"), content))
    assert caught.value.code == "file-name-invalid"


def test_an_attribute_that_is_there_twice_is_refused() -> None:
    """Readers show the first or the last of the two."""
    attributes = struct.pack(">IQ", 12, 2) + 2 * AN_ATTRIBUTE
    data = b"CDF\x05" + NO_RECORDS + NONE + attributes + NONE
    content = SparseContent(len(data))
    content.add(0, data)
    with pytest.raises(FormatError) as caught:
        next(NetCDF3.scan(FileRecord("twice.nc", "twice.nc"), content))
    assert caught.value.code == "file-name-invalid"


@pytest.mark.parametrize("name", ["weight", "cell"])
def test_a_variable_of_more_than_a_gibibyte_is_refused_without_taking_memory(
    name: str, tmp_path: Path
) -> None:
    """The file has holes: it takes no room on disk either."""
    path = tmp_path / "large.nc"
    with netCDF4.Dataset(path, "w", format="NETCDF3_64BIT_OFFSET") as file:
        file.set_fill_off()
        file.createDimension("time", 2)
        file.createDimension("cell", 2**27 + 1)
        time = file.createVariable("time", "f8", ("time",))
        time.units = "days since 1850-01-01"
        time[:] = [0, 1]
        file.createVariable(name, "f8", ("cell",))[-1] = 7
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with Transport() as transport, pytest.raises(FormatError, match=repr(name)) as caught:
        scan([FileRecord(path.name, str(path))], transport)
    assert caught.value.code == "file-variable-large"
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kib < 256 * 1024


def test_records_in_another_place_than_the_first_are_refused_as_netcdf_c_does(
    tmp_path: Path,
) -> None:
    """The dimension of the records comes first in each variable that has it."""
    path = write_monthly(tmp_path, lengths=(2,), format="NETCDF3_CLASSIC")[0]
    with netCDF4.Dataset(path) as file:
        order = list(file.dimensions)
        dims = [order.index(name) for name in file["tas"].dimensions]
    right = struct.pack(">4sIII", b"tas\0", 3, *dims[:2])
    data = path.read_bytes()
    assert data.count(right) == 1
    path.write_bytes(data.replace(right, struct.pack(">4sIII", b"tas\0", 3, dims[1], dims[0])))
    with pytest.raises(OSError, match="NC_UNLIMITED"):
        netCDF4.Dataset(path)
    with Transport() as transport, pytest.raises(FormatError, match="records in another") as caught:
        scan([FileRecord("a.nc", str(path))], transport)
    assert caught.value.code == "file-unreadable"
