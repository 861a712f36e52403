"""Compare units that may be spelled differently: the proof's own reader of UDUNITS-2's grammar, for
the units of climate data.
"""

from __future__ import annotations

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


def same_units(a: Any, b: Any) -> bool:
    """Whether two ``units`` attributes mean one unit. False for values that are not text."""
    if not isinstance(a, str) or not isinstance(b, str):
        return False
    return a.split() == b.split() or _reduced(a) == _reduced(b)


def _reduced(units: str) -> list[tuple[str, int, int]] | float | str:
    """Return the factors in alphabetical order, each once, with their powers; the text itself if it
    is not a product.
    """
    text = re.sub(r"\s*/\s*", " /", units.strip())
    totals: dict[tuple[str, int], int] = {}
    for word in re.split(r"[\s.*]+(?!\d)", re.sub(r"\*\*", "^", text)):
        parts = re.fullmatch(r"(/?)([A-Za-z_%]+)\^?([+-]?[0-9]+)?", word)
        if parts is None:
            return _number(" ".join(units.split()) or "1")
        sign = -1 if parts[1] else 1
        name = _WORDS.get(parts[2].lower(), parts[2]) if len(parts[2]) > 1 else parts[2]
        power = sign * int(parts[3] or 1)
        side = 1 if power > 0 else -1  # kg kg-1 is not cancelled.
        totals[name, side] = totals.get((name, side), 0) + power
    return sorted((name, side, power) for (name, side), power in totals.items())


def _number(text: str) -> float | str:
    """Return a pure number, such as 1e-3; else the text."""
    try:
        return float(text)
    except ValueError:
        return text
