"""The rules about what numbers mean: units, packing. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .. import cf
from ..model import Finding, Series
from .fixed import with_first


def check_units(series: Series) -> Iterator[Finding]:
    """Rule 7: one physical unit for each variable. Time units may differ: they are rebased."""
    if not series.files:
        return
    first = series.files[0]
    rebased = (
        (series.time, *cf.time_companions(first.variables, series.time)) if series.time else ()
    )
    for _, file in with_first(series):
        for name, variable in file.variables.items():
            known = first.variables.get(name)
            if known is None or name in rebased:
                continue
            for attr in ("units", "standard_name", "positive"):
                if known.attrs.get(attr) != variable.attrs.get(attr):
                    yield Finding(
                        "units-differ",
                        7,
                        file.file.url,
                        f"{name}:{attr} = {known.attrs.get(attr)!r}, as in {first.file.name}",
                        repr(variable.attrs.get(attr)),
                        "The numbers mean different things.",
                    )


def check_packing(series: Series) -> Iterator[Finding]:
    """Rule 7: a scale or offset of single precision becomes double in JSON; readers unpack to
    double then. A warning.
    """
    for file in series.files[:1]:
        for name, variable in file.variables.items():
            packing = [
                np.asarray(variable.attrs[role]).dtype
                for role in ("scale_factor", "add_offset")
                if role in variable.attrs
            ]
            if (
                np.dtype("f4") in [dtype.newbyteorder("=") for dtype in packing]
                and variable.dtype.itemsize < 4
            ):
                yield Finding(
                    "packing-single",
                    7,
                    file.file.url,
                    f"{name!r} to be unpacked in double precision",
                    "scale_factor or add_offset of single precision, for which JSON has no word",
                    "The stored numbers are the same; unpacked ones differ by single precision's "
                    "rounding.",
                    refuse=False,
                )
