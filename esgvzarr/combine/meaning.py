"""Rules about what numbers mean: units, packing. No input or output."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import cf
from ..model import FileReferences, Finding, Series, Variable
from .attributes import same_value
from .fixed import with_first


def check_units(series: Series) -> Iterator[Finding]:
    """Rule 7: each variable has one physical unit, however it is spelled. Units of dates may
    differ, because dates are rebased.
    """
    for first, file in with_first(series):
        for name, variable in file.variables.items():
            known = first.variables.get(name)
            if known is None or name in series.dates:
                continue
            for attr in ("units", "standard_name", "positive"):
                here = known.attrs.get(attr)
                there = variable.attrs.get(attr)
                if _same_meaning(attr, here, there):
                    continue
                expected = f"{name}:{attr} = {here!r}, as in {first.file.name}"
                is_absent = attr == "units" and None in (here, there)
                if is_absent and series.time not in variable.dims:
                    yield _units_absent(file, expected, there)
                else:
                    yield _units_differ(file, expected, there)


def _units_absent(file: FileReferences, expected: str, found: Any) -> Finding:
    """Make a warning for a fixed field whose units one file does not state, although the values are
    equal.
    """
    return Finding(
        "units-absent",
        7,
        file.file.url,
        expected,
        repr(found),
        "The numbers are equal, and are treated as having the same units.",
        refuse=False,
    )


def _units_differ(file: FileReferences, expected: str, found: Any) -> Finding:
    todo = (
        "The numbers mean different things: correct the attribute, or publish the files as "
        "separate datasets."
    )
    return Finding("units-differ", 7, file.file.url, expected, repr(found), todo)


def _same_meaning(attr: str, a: Any, b: Any) -> bool:
    if a is None or b is None:
        return a is b
    if attr == "units" and isinstance(a, str) and isinstance(b, str):
        return cf.units_meaning(a) == cf.units_meaning(b)
    if isinstance(a, str) and isinstance(b, str):
        return a.split() == b.split()
    return same_value(a, b)


_OF_PACKING = ("scale_factor", "add_offset", "missing_value")
"""Attributes that other rules cover."""


def check_finite(series: Series) -> Iterator[Finding]:
    """Rule 25: warn of attributes that are NaN or infinite. Strict JSON has no such numbers, so
    they are shown as text, which stock readers do not convert back.
    """
    for file in series.files[:1]:
        owners = {"": file.attrs} | {name: one.attrs for name, one in file.variables.items()}
        found = []
        for name, attrs in owners.items():
            words = [key for key, value in attrs.items() if _not_finite(value)]
            found += [f"{name}:{key}" for key in words if key not in _OF_PACKING]
        if found:
            yield Finding(
                "attribute-not-finite",
                25,
                file.file.url,
                "attributes that are finite numbers or text",
                f"NaN or infinity in {', '.join(found[:10])}",
                "Readers see the words 'NaN', 'Infinity' and '-Infinity'.",
                refuse=False,
            )


def _not_finite(value: Any) -> bool:
    numbers = np.asarray(value)
    return numbers.dtype.kind == "f" and not np.isfinite(numbers).all()


def check_attributes(series: Series) -> Iterator[Finding]:
    """Rule 40: attributes that stock xarray uses to decode have types that it can use."""
    for file in series.files:
        for name, variable in file.variables.items():
            for attr in _undecodable(variable, dates=name in series.dates):
                yield Finding(
                    "attribute-invalid",
                    40,
                    file.file.url,
                    f"{name}:{attr} to be {'one number' if attr in _PACKING else 'one text'}",
                    repr(variable.attrs[attr]),
                    "Stock xarray cannot open such a file: correct the attribute.",
                )


_PACKING = ("scale_factor", "add_offset")


def _undecodable(variable: Variable, *, dates: bool) -> Iterator[str]:
    """Return the names of attributes with which xarray's decoding fails."""
    for attr in _PACKING:
        value = np.asarray(variable.attrs.get(attr, 1))
        if value.size != 1 or value.dtype.kind not in "iuf":
            yield attr
    for attr in ("coordinates", "bounds") if dates else ("coordinates",):
        if not isinstance(variable.attrs.get(attr, ""), str):
            yield attr


def check_packing(series: Series) -> Iterator[Finding]:
    """Rule 7: warn of a scale or offset of single precision. It becomes double precision in JSON,
    and readers then unpack to double precision.
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
                    "scale_factor or add_offset of single precision, a type that JSON cannot state",
                    "The stored numbers are the same; unpacked numbers differ by the "
                    "rounding of single precision.",
                    refuse=False,
                )
