"""Draw the charts of the pages from the tables of the pages: ``python docs/write_chart.py``. A test
fails when one is stale.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
EXPLANATION = HERE / "explanation"
COLOURS = {
    "right": "#2e7d32",
    "refused": "#90a4ae",
    "fails": "#ef6c00",
    "silently wrong": "#c62828",
}
TOOLS = {
    "esgvzarr": "#2e7d32",
    "kerchunk": "#ef6c00",
    "virtualizarr": "#5c6bc0",
    "esgcet": "#78909c",
}
PLACE = "20 ms"
"""Which of the measured latencies the charts of times show."""
_STYLE = (
    "<style>text{fill:#1a1a1a}.ground{fill:#fff}.on-bar{fill:#fff}"
    "@media (prefers-color-scheme:dark)"
    "{text{fill:#e6e6e6}.ground{fill:#1e2129}.on-bar{fill:#fff}}</style>"
)
_WIDTH = 640
_LEFT = 150
_ROW = 34
_BAR = 20
_FOR_SECONDS = 90
"""Room at the right for what stands behind the longest bar."""


class Group(NamedTuple):
    """The bars of one data set, which share a scale."""

    title: str
    seconds: dict[str, float | None]
    """Tool -> what it took; None where that was not measured."""


def why_chart() -> str:
    """A bar for each tool: how many kinds of trouble it handles in which way."""
    tools, counts = read_counts()
    total = sum(numbers[0] for numbers in counts.values())
    height = _ROW * (len(tools) + 2)
    title = f"What {len(tools)} tools make of {total} kinds of trouble in files"
    parts = [*_head(title, height)]
    left = _LEFT
    for outcome, colour in COLOURS.items():
        parts.append(f'<rect x="{left}" y="10" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{left + 17}" y="21">{outcome}</text>')
        left += 115
    for number, tool in enumerate(tools):
        top = _ROW * (number + 1) + 6
        parts.append(f'<text x="{_LEFT - 8}" y="{top + 17}" text-anchor="end">{tool}</text>')
        at = float(_LEFT)
        for outcome, colour in COLOURS.items():
            width = (_WIDTH - _LEFT - 10) * counts[outcome][number] / total
            parts.append(_part_of_bar(at, top, width, colour, counts[outcome][number]))
            at += width
    foot = height - 12
    parts.append(f'<text x="{_LEFT}" y="{foot}">of {total} kinds of trouble in files</text></svg>')
    return "\n".join(parts) + "\n"


def scan_chart() -> str:
    """Bars of the seconds that making references takes."""
    title = f"Seconds to make references, at {PLACE} per request"
    return _times_chart(title, list(read_scan()), {})


def end_to_end_chart() -> str:
    """Bars of the seconds that publishing takes with its proof, and generation by others without
    one.
    """
    title = f"Seconds to scan, prove and write, or to make references, at {PLACE} per request"
    return _times_chart(title, list(read_end_to_end()), {"esgvzarr": "esgvzarr, proved"})


CHARTS: dict[Path, Callable[[], str]] = {
    HERE / "why.svg": why_chart,
    EXPLANATION / "benchmarks-scan.svg": scan_chart,
    EXPLANATION / "benchmarks-end-to-end.svg": end_to_end_chart,
}
"""Where each chart goes, and what draws it."""


def read_counts() -> tuple[list[str], dict[str, list[int]]]:
    """Names of the tools, and for each outcome the number of defects by tool."""
    lines = (EXPLANATION / "comparison.md").read_text(encoding="utf-8").splitlines()
    rows = [_cells(line) for line in lines if line.startswith("|")]
    counts = {}
    for name, *numbers in rows[2:]:
        outcome = name.strip("*")
        if outcome not in COLOURS:
            break
        counts[outcome] = [int(number) for number in numbers]
    return rows[0][1:], counts


def read_scan() -> Iterator[Group]:
    """What the table of each data set says of making references."""
    title = ""
    column = 0
    seconds: dict[str, float | None] = {}
    for line in [*_marked("<!-- tables made by benchmarks -->"), "## "]:
        if line.startswith("## "):
            if seconds:
                yield Group(title, seconds)
            title = line.removeprefix("## ")
            seconds = {}
        elif line.startswith("| |"):
            column = _cells(line).index(f"{PLACE}, s")
        elif line.startswith("|"):
            tool, *_ = cells = _cells(line)
            if tool in TOOLS:
                seconds[tool] = _seconds(cells[column])


def read_end_to_end() -> Iterator[Group]:
    """What the table of whole runs says of each data set."""
    titles = {group.title[0]: group.title for group in read_scan()}
    by_data: dict[str, dict[str, float | None]] = {}
    column = 0
    for line in _marked("<!-- end to end, made by benchmarks -->"):
        if line.startswith("| |"):
            column = _cells(line).index(PLACE)
        elif ": " in line and line.startswith("| "):
            data, act, *_ = cells = _cells(line)
            tool = act.partition(":")[0].lower()
            if act != "esgvzarr: makes references":
                by_data.setdefault(data, {})[tool] = _seconds(cells[column])
    for data, seconds in by_data.items():
        yield Group(titles[data], seconds)


def _times_chart(title: str, groups: Sequence[Group], names: dict[str, str]) -> str:
    """A group of bars for each data set.

    Args:
        title: of the chart.
        groups: from top to bottom.
        names: what tools are called in the chart, where that is not their own name.
    """
    tools = []
    for tool in TOOLS:
        if any(group.seconds.get(tool) is not None for group in groups):
            tools.append(tool)
    group_height = _ROW + _BAR * len(tools)
    height = group_height * len(groups) + _ROW + 20
    parts = [*_head(title, height)]
    parts.append(f'<text x="10" y="22" font-weight="bold">{title}</text>')
    for number, group in enumerate(groups):
        top = _ROW + group_height * number
        parts.append(f'<text x="10" y="{top + 16}">{group.title}</text>')
        longest = max(filter(None, group.seconds.values()))
        for row, tool in enumerate(tools):
            at = top + 24 + _BAR * row
            name = names.get(tool, tool)
            parts.append(f'<text x="{_LEFT - 8}" y="{at + 13}" text-anchor="end">{name}</text>')
            parts.append(_bar(at, group.seconds.get(tool), longest, TOOLS[tool]))
    foot = height - 10
    parts.append(f'<text x="10" y="{foot}">Each data set has a scale of its own.</text></svg>')
    return "\n".join(parts) + "\n"


def _bar(top: int, seconds: float | None, longest: float, colour: str) -> str:
    if seconds is None:
        return f'<text x="{_LEFT}" y="{top + 13}" font-style="italic">not measured</text>'
    width = (_WIDTH - _LEFT - _FOR_SECONDS) * seconds / longest
    behind = _LEFT + width + 6
    return (
        f'<rect x="{_LEFT}" y="{top}" width="{width:.1f}" height="{_BAR - 4}" fill="{colour}"/>'
        f'<text x="{behind:.1f}" y="{top + 13}">{seconds:g} s</text>'
    )


def _head(title: str, height: int) -> Iterator[str]:
    """The beginning of an SVG that needs nothing from elsewhere, and is readable on dark pages."""
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'width="{_WIDTH}" height="{height}" font-family="sans-serif" font-size="13" role="img">'
    )
    yield f"<title>{title}</title>"
    yield _STYLE
    yield f'<rect class="ground" width="{_WIDTH}" height="{height}"/>'


def _part_of_bar(left: float, top: int, width: float, colour: str, count: int) -> str:
    """One part of a bar, with its number where there is room."""
    bar = f'<rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="24" fill="{colour}"/>'
    if width < 16:
        return bar
    middle = left + width / 2
    return (
        f'{bar}<text class="on-bar" x="{middle:.1f}" y="{top + 17}" '
        f'text-anchor="middle">{count}</text>'
    )


def _marked(mark: str) -> list[str]:
    """The lines of the page of benchmarks between a mark and the end mark after it."""
    text = (EXPLANATION / "benchmarks.md").read_text(encoding="utf-8")
    return text.partition(mark)[2].partition("<!-- end -->")[0].splitlines()


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def _seconds(cell: str) -> float | None:
    return float(cell) if cell else None


if __name__ == "__main__":
    for path, draw in CHARTS.items():
        path.write_text(draw(), encoding="utf-8")
