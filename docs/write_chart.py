"""Draw docs/why.svg from the first table of docs/explanation/comparison.md: ``python
docs/write_chart.py``. A test fails when it is stale.
"""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent
CHART = HERE / "why.svg"
COLOURS = {
    "right": "#2e7d32",
    "refused": "#90a4ae",
    "fails": "#ef6c00",
    "silently wrong": "#c62828",
}
_WIDTH = 640
_LEFT = 150
_ROW = 34


def read_counts() -> tuple[list[str], dict[str, list[int]]]:
    """Names of the tools, and for each outcome the number of defects by tool."""
    lines = (HERE / "explanation" / "comparison.md").read_text(encoding="utf-8").splitlines()
    rows = [_cells(line) for line in lines if line.startswith("|")]
    counts = {}
    for name, *numbers in rows[2:]:
        outcome = name.strip("*")
        if outcome not in COLOURS:
            break
        counts[outcome] = [int(number) for number in numbers]
    return rows[0][1:], counts


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def chart() -> str:
    """A bar for each tool, as an SVG that needs no fonts or styles from elsewhere."""
    tools, counts = read_counts()
    total = sum(numbers[0] for numbers in counts.values())
    height = _ROW * (len(tools) + 2)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'width="{_WIDTH}" height="{height}" font-family="sans-serif" font-size="13" role="img">',
        f"<title>What {len(tools)} tools make of {total} kinds of trouble in files</title>",
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
    ]
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
            parts.append(_bar(at, top, width, colour, counts[outcome][number]))
            at += width
    foot = height - 12
    parts.append(f'<text x="{_LEFT}" y="{foot}">of {total} kinds of trouble in files</text></svg>')
    return "\n".join(parts) + "\n"


def _bar(left: float, top: int, width: float, colour: str, count: int) -> str:
    """One part of a bar, with its number where there is room."""
    bar = f'<rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="24" fill="{colour}"/>'
    if width < 16:
        return bar
    middle = left + width / 2
    return (
        f'{bar}<text x="{middle:.1f}" y="{top + 17}" fill="#ffffff" '
        f'text-anchor="middle">{count}</text>'
    )


if __name__ == "__main__":
    CHART.write_text(chart(), encoding="utf-8")
