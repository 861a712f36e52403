"""The id of a dataset, part by part, against what its files state."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from esgvzarr import drs

_CMIP6 = {
    "source_id": "UKESM1-0-LL",
    "experiment_id": "historical",
    "variant_label": "r1i1p1f2",
    "table_id": "Amon",
    "variable_id": "tas",
    "grid_label": "gn",
}
_CMIP5 = {
    "model_id": "bcc-csm1.1",
    "experiment_id": "rcp85",
    "frequency": "mon",
    "table_id": "Table Amon (26 July 2011) 976b7fd1d9e1be31dddd28f5dc79b7a1",
    "realization": np.int32(1),
    "initialization_method": 1.0,
    "physics_version": np.array([1]),
}
_CORDEX = {
    "CORDEX_domain": "EUR-11",
    "driving_model_id": "MPI-M-MPI-ESM-LR",
    "driving_experiment_name": "historical",
    "driving_model_ensemble_member": "r1i1p1",
    "model_id": "CLMcom-CCLM4-8-17",
    "rcm_version_id": "v1",
    "frequency": "day",
}
_CORDEX_CMIP6 = {
    "domain_id": "EUR-12",
    "driving_source_id": "MPI-ESM1-2-HR",
    "driving_experiment_id": "ssp370",
    "driving_variant_label": "r1i1p1f1",
    "source_id": "ICON-CLM-202407-1-1",
    "version_realization": "v1-r1",
    "frequency": "mon",
    "variable_id": "tas",
}
_CMIP7 = {
    "mip_era": "CMIP7",
    "source_id": "DUMMY-MODEL",
    "experiment_id": "historical",
    "variant_label": "r1i1p1f1",
    "region": "glb",
    "frequency": "mon",
    "variable_id": "tas",
    "branding_suffix": "tavg-h2m-hxy-u",
    "grid_label": "g100",
}
_INPUT = {
    "source_id": "PCMDI-AMIP-1-1-10",
    "frequency": "mon",
    "variable_id": "tas",
    "grid_label": "gn",
}
_OBS = {"source_id": "AIRS-2-1", "frequency": "mon", "variable_id": "ta", "grid_label": "gn"}
DATASETS: dict[str, dict[str, Any]] = {
    "CMIP6.CMIP.MOHC.UKESM1-0-LL.historical.r1i1p1f2.Amon.tas.gn.v20190406": _CMIP6,
    "CMIP6.DCPP.MOHC.UKESM1-0-LL.historical.s1960-r1i1p1f2.Amon.tas.gn": _CMIP6,
    "CMIP6Plus.CMIP.MOHC.UKESM1-0-LL.historical.r1i1p1f2.Amon.tas.gn#20240101": _CMIP6,
    "cmip5.output1.BCC.bcc-csm1-1.rcp85.mon.atmos.Amon.r1i1p1.v20120705|node.org": _CMIP5,
    "MIP-DRS7.CMIP7.CMIP.MOHC.DUMMY-MODEL.historical.r1"
    "i1p1f1.glb.mon.tas.tavg-h2m-hxy-u.g100": _CMIP7,
    "cordex.output.EUR-11.CLMcom.MPI-M-MPI-ESM-LR.histo"
    "rical.r1i1p1.CCLM4-8-17.v1.day.tas.v2014": _CORDEX,
    "CORDEX-CMIP6.DD.EUR-12.GERICS.MPI-ESM1-2-HR.ssp370"
    ".r1i1p1f1.ICON-CLM-202407-1-1.v1-r1.mon.tas": _CORDEX_CMIP6,
    "input4MIPs.CMIP7.CMIP.PCMDI.PCMDI-AMIP-1-1-10.atmos.mon.tas.gn.v20250807": _INPUT,
    "obs4MIPs.NASA-JPL.AIRS-2-1.mon.ta.gn.v20180101": _OBS,
    "obs4MIPs.NASA-JPL.AIRS-2-1.mon.ta.1x1-degree.gn.v20180101": _OBS,
}


@pytest.mark.parametrize("dataset_id", DATASETS)
def test_files_of_the_dataset_confirm_its_id(dataset_id: str) -> None:
    expected = drs.facets(dataset_id)
    assert expected
    assert list(drs.conflicts(expected, DATASETS[dataset_id])) == []
    assert drs.absent(expected, DATASETS[dataset_id]) == []


@pytest.mark.parametrize("dataset_id", DATASETS)
def test_each_attribute_of_another_dataset_is_a_conflict(dataset_id: str) -> None:
    expected = drs.facets(dataset_id) or {}
    for name in DATASETS[dataset_id]:
        attrs = {**DATASETS[dataset_id], name: 7 if "realization" in name else "another"}
        found = {conflict.attribute for conflict in drs.conflicts(expected, attrs)}
        ensemble = name in ("realization", "initialization_method", "physics_version")
        assert found == {"ensemble" if ensemble else name}


def test_an_id_of_another_form_says_nothing() -> None:
    assert drs.facets("CMIP6.too.short") is None
    assert drs.facets("c3s-cmip5.output1.MOHC.HadGEM2-ES") is None


def test_absent_attributes_contradict_nothing() -> None:
    expected = drs.facets(next(iter(DATASETS))) or {}
    assert list(drs.conflicts(expected, {})) == []
    assert drs.absent(expected, {}) == list(expected)


def test_remarks_make_no_other_method() -> None:
    attrs = {"cell_methods": "time: mean (interval: 5 minutes)  "}
    assert drs.plain_methods(attrs) == "time: mean"


def test_methods_that_are_no_text_name_none() -> None:
    assert drs.plain_methods({"cell_methods": np.int32(-44514)}) is None
    assert drs.plain_methods({}) is None
