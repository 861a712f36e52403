"""Decide whether two units that are spelled differently mean the same.

This is a small part of UDUNITS-2 (udunits2-base.xml, udunits2-derived.xml, udunits2-accepted.xml
and udunits2-common.xml): other names of one unit, and products of numbers and powers. Nothing is
converted: ``degC`` is not ``K``, ``hPa`` is not ``100 Pa``. An unknown unit equals only itself.
"""

from __future__ import annotations

import math
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
_FACTOR = re.compile(
    r"""
    (?P<over>/?)\s*
    (?:
        (?P<name>[A-Za-z_%]+)(?:(?:\^|\*\*)?(?P<power>[+-]?\d+))?
        | (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    )
    (?=[\s*/]|\.(?!\d)|$)  # The factor ends here: UDUNITS-2 reads m2.5 and m^2.5 otherwise.
    """,
    re.VERBOSE,
)
_BRACKET = re.compile(r"/\s*\(([^()/]+)\)")
_SEPARATORS = re.compile(r"(?:\s|\.(?!\d)|\*(?!\*))*")
"""A point before a digit belongs to a number: ``m .5`` is 0.5 m."""
_PER = re.compile(r"\s+per\s+", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?$")
_SHIFT = frozenset(("since", "after", "from", "ref"))
"""Words before the origin of a scale: ``days since 1850-01-01`` is not a product."""


def units_meaning(units: str) -> Hashable:
    """Return a value that is equal for units that mean the same: ``m s-1`` and ``m/s``, ``1/s`` and
    ``s-1``, ``K `` and ``kelvin``.
    """
    text = " ".join(units.split())
    if _NUMBER.match(text):
        return float(text)
    product = _Product()
    if not _read_product(_PER.sub("/", text), product):
        return text  # Other notations are compared as text.
    if not math.isfinite(product.scale) or not product.scale:
        return text  # Floating-point numbers do not hold the scale.
    if not product.powers:
        return product.scale
    return (product.scale, frozenset(product.powers.items()))


class _Product:
    """A number, and powers of symbols."""

    def __init__(self) -> None:
        self.scale = 1.0
        self.powers = Counter[tuple[str, bool]]()

    def multiply(self, factor: re.Match[str], sign: int) -> None:
        """Multiply by a factor, or divide by it if ``sign`` is -1."""
        if factor["number"]:
            number = float(factor["number"])
            self.scale = self.scale * number if sign > 0 else self.scale / number
            return
        name = factor["name"]
        symbol = _SYMBOL_OF.get(name.lower(), name) if len(name) > 1 else name
        power = sign * int(factor["power"] or 1)
        self.powers[symbol, power > 0] += power  # kg kg-1 is another quantity than mol mol-1.


def _read_product(text: str, product: _Product, sign: int = 1) -> bool:
    """Multiply a product by the factors of a text, or divide it by them if ``sign`` is -1; return
    False if the text is not a product. A bracket may only follow a slash: ``kg/(m2 s)``.
    """
    at = 0
    while at < len(text):
        bracket = _BRACKET.match(text, at)
        factor = bracket or _factor_at(text, at)
        if factor is None:
            return False
        if factor is not bracket:
            product.multiply(factor, -sign if factor["over"] else sign)
        elif not _read_product(factor[1].strip(), product, -sign):
            return False
        at = _after_separators(text, factor.end())
    return True


def _factor_at(text: str, at: int) -> re.Match[str] | None:
    """Return the factor of a product that begins at a place of the text; None if there is none."""
    factor = _FACTOR.match(text, at)
    if factor is None or factor["name"] in _SHIFT:
        return None
    is_zero = factor["number"] and float(factor["number"]) == 0
    return None if is_zero else factor


def _after_separators(text: str, at: int) -> int:
    found = _SEPARATORS.match(text, at)
    return found.end() if found else at
