"""Small datasets that esgpublish takes for those of projects other than CMIP6: two years, described
as the project wants it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import netCDF4

from .datasets import FileSpec, specs_of, write_files

CMIP7 = (
    "MIP-DRS7.CMIP7.CMIP.MOHC.DUMMY-MODEL.historical.r1i1p1f1"
    ".glb.mon.tas.tavg-h2m-hxy-u.g100.v20260801"
)
INPUT4MIPS = "input4MIPs.CMIP7.CMIP.PCMDI.PCMDI-AMIP-1-1-10.atmos.mon.tas.gn.v20250807"
_CMIP7_ATTRIBUTES = {
    "mip_era": "CMIP7",
    "drs_specs": "MIP-DRS7",
    "region": "glb",
    "source_id": "DUMMY-MODEL",
    "variant_label": "r1i1p1f1",
    "grid_label": "g100",
    "branded_variable": "tas_tavg-h2m-hxy-u",
    "license_id": "CC-BY-4.0",
    "product": "model-output",
    "data_specs_version": "MIP-DS7.1.0.0",
    "nominal_resolution": "250 km",
    "Conventions": "CF-1.12",
}
_INPUT4MIPS_ATTRIBUTES = {
    "activity_id": "input4MIPs",
    "mip_era": "CMIP7",
    "target_mip": "CMIP",
    "institution_id": "PCMDI",
    "grid_label": "gn",
    "source_id": "PCMDI-AMIP-1-1-10",
    "contact": "pcmdi@example.org",
    "dataset_category": "SSTsAndSeaIce",
    "source_version": "1.1.10",
    "source": "PCMDI-AMIP",
    "title": "PCMDI-AMIP",
    "further_info_url": "https://example.org",
    "product": "observations",
    "nominal_resolution": "1x1 degree",
    "target_mip_list": "CMIP",
}


def write_cmip7(directory: Path, **changes: Any) -> list[Path]:
    """Write the files of the dataset ``CMIP7``; ``changes`` are fields of both ``FileSpec``s."""
    return _write(
        directory,
        "tas_tavg-h2m-hxy-u_mon_glb_g100_DUMMY-MODEL_historical_r1i1p1f1",
        _CMIP7_ATTRIBUTES,
        changes,
    )


def write_input4mips(directory: Path, **changes: Any) -> list[Path]:
    """Write the files of the dataset ``INPUT4MIPS``; ``changes`` are fields of both
    ``FileSpec``s.
    """
    return _write(
        directory,
        "tas_input4MIPs_SSTsAndSeaIce_CMIP_PCMDI-AMIP-1-1-10_gn",
        _INPUT4MIPS_ATTRIBUTES,
        changes,
    )


def _write(
    directory: Path, stem: str, attributes: Mapping[str, str], changes: Mapping[str, Any]
) -> list[Path]:
    def describe(file: netCDF4.Dataset, _: FileSpec) -> None:
        file.setncatts(attributes)

    first, second = specs_of((12, 12), extra=(describe,), **changes)
    years = [
        replace(first, name=f"{stem}_185001-185012.nc"),
        replace(second, name=f"{stem}_185101-185112.nc"),
    ]
    return write_files(directory, years)
