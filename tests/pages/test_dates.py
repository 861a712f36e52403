"""The browser's dates are cftime's, in every calendar of the CF conventions."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from random import Random

import cftime
import pytest

SCRIPT = """
import { dateText } from "./src/dates.js";
const cases = JSON.parse(await new Response(process.stdin).text());
console.log(JSON.stringify(cases.map((one) => dateText(one.value, one.units, one.calendar))));
"""
WEB = Path(__file__).parents[2] / "web"
CALENDARS = (
    "standard",
    "gregorian",
    "proleptic_gregorian",
    "julian",
    "noleap",
    "365_day",
    "all_leap",
    "360_day",
)
UNITS = ("days since 1850-01-01", "hours since 0001-01-01 06:00:00", "days since 1582-10-01")


def test_dates_are_those_of_cftime() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed (Debian: nodejs)")
    random = Random(20261128)  # noqa: S311  (no secret)
    cases = []
    for calendar in CALENDARS:
        for units in UNITS:
            for _ in range(40):
                days = random.randrange(0, 400_000) + random.choice((0, 0.5, 0.25))
                value = days * 24 if units.startswith("hours") else days
                cases.append({"value": value, "units": units, "calendar": calendar})
    command = [node, "--input-type=module", "--eval", SCRIPT]
    run = subprocess.run(
        command, input=json.dumps(cases), cwd=WEB, capture_output=True, text=True, check=True
    )
    for case, shown in zip(cases, json.loads(run.stdout), strict=True):
        date = cftime.num2date(case["value"], case["units"], case["calendar"])
        expected = date.strftime("%Y-%m-%d")
        if date.hour or date.minute:
            expected = date.strftime("%Y-%m-%dT%H:%M")
        assert shown == expected.replace(" ", "0"), case
