"""Small datasets that esgpublish accepts as those of projects other than CMIP6: two years, with the
attributes that the project requires.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np

from .datasets import FileSpec, specs_of, write_files

CMIP7 = (
    "MIP-DRS7.CMIP7.CMIP.MOHC.DUMMY-MODEL.historical.r1i1p1f1"
    ".glb.mon.tas.tavg-h2m-hxy-u.g100.v20260801"
)
INPUT4MIPS = "input4MIPs.CMIP7.CMIP.PCMDI.PCMDI-AMIP-1-1-10.atmos.mon.tas.gn.v20250807"
CMIP5 = "cmip5.output1.MOHC.HadGEM2-ES.historical.mon.atmos.Amon.r1i1p1.v20110418"
_CMIP5_ATTRIBUTES: dict[str, Any] = {
    "project_id": "CMIP5",
    "institute_id": "MOHC",
    "model_id": "HadGEM2-ES",
    "experiment_id": "historical",
    "frequency": "mon",
    "modeling_realm": "atmos",
    "table_id": "Table Amon (27 April 2011)",
    "realization": np.int32(1),
    "initialization_method": np.int32(1),
    "physics_version": np.int32(1),
    "Conventions": "CF-1.4",
}
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


def write_cmip5(directory: Path, **fields: Mapping[str, Any]) -> list[Path]:
    """Write two years of each variable of the dataset ``CMIP5``, a file for each year.

    Args:
        directory: where the files go.
        fields: variable -> the fields of its ``FileSpec``s that differ.
    """
    paths: list[Path] = []
    for variable, changes in fields.items():
        years = (f"{1850 + year}01-{1850 + year}12" for year in range(2))
        names = [f"{variable}_Amon_HadGEM2-ES_historical_r1i1p1_{year}.nc" for year in years]
        specs = zip(specs_of((12, 12), **{"seed": len(paths), **changes}), names, strict=True)
        for path in write_files(directory, (replace(spec, name=name) for spec, name in specs)):
            with netCDF4.Dataset(path, "r+") as file:
                for name in file.ncattrs():
                    file.delncattr(name)
                file.setncatts({**_CMIP5_ATTRIBUTES, "tracking_id": path.stem})
                if variable != "tas":
                    file.renameVariable("tas", variable)
            paths.append(path)
    return paths
