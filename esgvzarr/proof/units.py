"""Compare units that may be spelled differently: the proof's own reader of UDUNITS-2's grammar, for
the units of climate data.
"""

from __future__ import annotations

import math
import re
from typing import Any

_OTHER_NAMES = {
    "K": "kelvin|kelvins|degk|deg_k|degree_k|degrees_k|degree_kelvin|degrees_kelvin",
    "degC": "celsius|deg_c|degree_c|degrees_c|degree_celsius|degrees_celsius|degc",
    "m": "meter|meters|metre|metres",
    "s": "second|seconds|sec",
    "min": "minute|minutes",
    "h": "hour|hours|hr",
    "d": "day|days",
    "kg": "kilogram|kilograms",
    "g": "gram|grams",
    "mol": "mole|moles",
    "Pa": "pascal|pascals",
    "N": "newton|newtons",
    "J": "joule|joules",
    "W": "watt|watts",
    "%": "percent",
    "degree": "degrees|deg|arc_degree|arc_degrees",
    "degrees_north": "degree_north|degree_n|degrees_n|degreen|degreesn|degreenorth",
    "degrees_east": "degree_east|degree_e|degrees_e|degreee|degreese|degreeeast",
}
_WORDS = {word: name for name, words in _OTHER_NAMES.items() for word in words.split("|")}
_NAME = r"(?P<name>[A-Za-z_%]+)\^?(?P<power>[+-]?[0-9]+)?"
_DECIMAL = r"(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
_FACTOR = re.compile(f"(?P<over>/?)(?:{_NAME}|{_DECIMAL})")
_WORD = re.compile(rf"{_FACTOR.pattern}(?=[\s*/]|\.(?![0-9])|$)|[^\s*.][^\s*]*")
"""A factor, or what is none, such as ``m2.5``: UDUNITS-2 reads ``m2.5`` and ``m^2.5`` otherwise."""


def same_units(a: Any, b: Any) -> bool:
    """Whether two ``units`` attributes mean one unit. False for values that are not text."""
    if not isinstance(a, str) or not isinstance(b, str):
        return False
    return a.split() == b.split() or _reduced(a) == _reduced(b)


_Reduced = tuple[float, list[tuple[str, int, int]]]


def _reduced(units: str) -> _Reduced | float | str:
    """Return the number, and the factors in alphabetical order, each once, with their powers; the
    number alone if there are no factors; the text itself if it is not a product.
    """
    scale = 1.0
    totals: dict[tuple[str, int], int] = {}
    for word in _words(units):
        factor, power = _factor(word)
        if factor == "":
            return _number(" ".join(units.split()))
        if isinstance(factor, float):
            scale = scale * factor if power > 0 else scale / factor
        else:
            side = 1 if power > 0 else -1  # kg kg-1 is not cancelled.
            totals[factor, side] = totals.get((factor, side), 0) + power
    if not math.isfinite(scale) or not scale:  # Floating-point numbers do not hold it.
        return " ".join(units.split())
    if not totals:
        return scale
    return scale, sorted((name, side, power) for (name, side), power in totals.items())


def _factor(word: str) -> tuple[str | float, int]:
    """Return a factor and its power. The factor is empty if the word is none."""
    parts = _FACTOR.fullmatch(word)
    if parts is None or parts["name"] in ("since", "after", "from", "ref"):
        return "", 0
    sign = -1 if parts["over"] else 1
    if parts["number"]:
        number = _number(parts["number"])
        return (number, sign) if isinstance(number, float) and number else ("", 0)
    name = parts["name"]
    known = _WORDS.get(name.lower(), name) if len(name) > 1 else name
    return known, sign * int(parts["power"] or 1)


def _words(units: str) -> list[str]:
    """Split a product into its factors. Those by which it is divided, also if they are in brackets
    after a slash, begin with a slash.
    """
    text = re.sub(r"\s+per\s+", "/", units.strip(), flags=re.IGNORECASE).replace("**", "^")
    text = re.sub(r"/\s*\(([^()/]+)\)", lambda found: _divided(found[1]), text)
    return _split(re.sub(r"\s*/\s*", " /", text))


def _divided(product: str) -> str:
    """Return a product with a slash before each factor."""
    return " ".join(f" /{factor} " for factor in _split(product))


def _split(product: str) -> list[str]:
    """Split at spaces, asterisks, and points that are not in a number."""
    return [found[0] for found in _WORD.finditer(product)]


def _number(text: str) -> float | str:
    """Return a pure number, such as 1e-3; else the text."""
    try:
        return float(text)
    except ValueError:
        return text
