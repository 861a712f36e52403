"""Decide whether two units that are spelled differently mean the same.

This is a small part of UDUNITS-2 (udunits2-base.xml, udunits2-derived.xml, udunits2-accepted.xml
and udunits2-common.xml): other names of one unit, and products of powers. Nothing is converted:
``degC`` is not ``K``, ``hPa`` is not ``100 Pa``. An unknown unit equals only itself.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable

_NAMES = {
    "K": "kelvin kelvins degk deg_k degree_k degrees_k degree_kelvin degrees_kelvin",
    "degC": "degc celsius deg_c degree_c degrees_c degree_celsius degrees_celsius",
    "m": "meter meters metre metres",
    "s": "second seconds sec",
    "min": "minute minutes",
    "h": "hour hours hr",
    "d": "day days",
    "kg": "kilogram kilograms",
    "g": "gram grams",
    "mol": "mole moles",
    "Pa": "pascal pascals",
    "N": "newton newtons",
    "J": "joule joules",
    "W": "watt watts",
    "%": "percent",
    "degree": "degrees deg arc_degree arc_degrees",
    "degrees_north": "degree_north degree_n degrees_n degreen degreesn degreenorth",
    "degrees_east": "degree_east degree_e degrees_e degreee degreese degreeeast",
}
_SYMBOL_OF = dict[str, str]()
for _symbol, _names in _NAMES.items():
    _SYMBOL_OF.update(dict.fromkeys(_names.split(), _symbol))
_FACTOR = re.compile(r"(/?)\s*([A-Za-z_%]+)(?:(?:\^|\*\*)?([+-]?\d+))?(?=[\s.*/]|$)[\s.*]*")
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?$")


def units_meaning(units: str) -> Hashable:
    """Return a value that is equal for units that mean the same: ``m s-1`` and ``m/s``, ``K `` and
    ``kelvin``.
    """
    text = " ".join(units.split())
    if _NUMBER.match(text):
        return float(text)
    if not text:
        return 1.0
    powers = Counter[tuple[str, bool]]()
    at = 0
    while at < len(text):
        factor = _FACTOR.match(text, at)
        if factor is None:
            return text  # Other notations are compared as text.
        power = int(factor[3] or 1) * (-1 if factor[1] else 1)
        name = factor[2]
        symbol = _SYMBOL_OF.get(name.lower(), name) if len(name) > 1 else name
        powers[symbol, power > 0] += power  # kg kg-1 is another quantity than mol mol-1.
        at = factor.end()
    return frozenset(powers.items())
