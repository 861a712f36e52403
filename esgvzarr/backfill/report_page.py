"""Report the outcomes of a backfill as a page for a browser."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape

from ..outcome import DONE, State
from .report import ERRORS_PAGE, LIMITS_S, MOST_ROWS, Summary, described_codes, explanation, rate_of

_FINISHED = "done"
_COLOURS = {
    _FINISHED: "#2e7d32",
    State.REFUSED: "#ef6c00",
    State.FAILED: "#c62828",
    State.OPEN: "#90a4ae",
}
_STYLE = """
body{
  font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;
  color:#222;background:#fff}
table{border-collapse:collapse;width:100%;table-layout:fixed;margin:.5rem 0 2rem}
td,th{
  text-align:left;vertical-align:top;padding:.25rem .6rem;border-bottom:1px solid #ddd;
  overflow-wrap:anywhere}
td.n,th.n{text-align:right;white-space:nowrap}
code{font-size:90%}
.tiles{display:flex;gap:2.5rem;flex-wrap:wrap}
.tiles b{display:block;font-size:1.8rem}
svg{max-width:100%;height:auto}
svg text{font:11px system-ui,sans-serif;fill:#444}
"""


def _code_cell(code: str) -> str:
    """Return a code, linked to its description in the documentation."""
    section = described_codes()[code][0] if code in described_codes() else ""
    place = f"{ERRORS_PAGE}#{section}" if section else ERRORS_PAGE
    return f'<a href="{place}" rel="noreferrer"><code>{escape(code)}</code></a>'


def html(summary: Summary) -> str:
    """Return the page."""
    title = _title(summary)
    now = datetime.now(UTC).isoformat(sep=" ", timespec="seconds")
    parts = [
        f"<h1>{escape(title)}</h1><p>{now} · <code>{escape(summary.job)}</code></p>",
        _tiles(summary),
        _trouble(summary),
        _reasons(summary),
        _nodes(summary),
        _throughput(summary),
        _durations(summary),
        _problems(summary),
        _unread(summary),
        _done(summary),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta '
        f'charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style></head>'
        f"<body>{''.join(filter(None, parts))}</body></html>\n"
    )


def _title(summary: Summary) -> str:
    """Return the title of the page: how many datasets are done."""
    done = sum(number for state, number in summary.counts.items() if state in DONE)
    return f"{done:,} of {sum(summary.counts.values()):,} datasets done: esgvzarr backfill"


def _kind(state: str) -> str:
    if state in DONE:
        return _FINISHED
    return state if state in _COLOURS else State.OPEN


def _by_kind(pairs: Iterable[tuple[str, int]]) -> Counter[str]:
    counted: Counter[str] = Counter()
    for state, number in pairs:
        counted[_kind(state)] += number
    return counted


def _tiles(summary: Summary) -> str:
    counted = _by_kind(summary.counts.items())
    tiles = [(f"{counted[kind]:,}", kind, _COLOURS[kind]) for kind in _COLOURS]
    tiles += [
        (f"{rate_of(summary):.0f}", "per minute in the last run", "#222"),
        (f"{summary.seconds / 60:.1f}", "minutes", "#222"),
    ]
    shown = "".join(
        f'<div><b style="color:{colour}">{number}</b>{name}</div>' for number, name, colour in tiles
    )
    return f'<div class="tiles">{shown}</div>{_bar(counted, sum(counted.values()), 1000)}'


def _bar(counted: Mapping[str, int], most: int, width: int) -> str:
    """Draw one bar of parts; ``most`` datasets fill the width."""
    rects = []
    left = 0.0
    for kind, colour in _COLOURS.items():
        part = width * counted.get(kind, 0) / (most or 1)
        if part:
            said = f"<title>{counted[kind]:,} {kind}</title>"
            rects.append(
                f'<rect x="{left:.1f}" y="0" width="{part:.1f}" height="14" '
                f'fill="{colour}">{said}</rect>'
            )
            left += part
    return (
        f'<svg viewBox="0 0 {width} 14" width="{width}" height="14" '
        f'role="img">{"".join(rects)}</svg>'
    )


def _trouble(summary: Summary) -> str:
    said = [
        f"{node} gave no answer: its datasets are left for the next run."
        for node in summary.resting
    ]
    if summary.trouble:
        said.append(f"The run ended early: {summary.trouble}")
    return "".join(f"<p><strong>{escape(one)}</strong></p>" for one in said)


def _reasons(summary: Summary) -> str:
    if not summary.reasons:
        return ""
    most = max(number for _, _, number, _, _ in summary.reasons)
    rows = [
        f"<tr><td>{escape(state)}<td>{_code_cell(code)}<br>{escape(explanation(code))}<td "
        f'class="n">{number:,}'
        f"<td>{_bar({_kind(state): number}, most, 160)}<td>{escape(name)}: {escape(detail)}"
        for state, code, number, name, detail in summary.reasons
    ]
    return (
        '<h2>Reasons</h2><table><colgroup><col style="width:5rem"><col style="width:22rem">'
        '<col style="width:5rem"><col style="width:170px"><col></colgroup>'
        '<tr><th>state<th>code<th class="n">datasets<th><th>for '
        f"example{''.join(rows)}</table>"
    )


def _nodes(summary: Summary) -> str:
    by_node: defaultdict[str, list[tuple[str, int]]] = defaultdict(list)
    for node, state, number in summary.nodes:
        by_node[node].append((state, number))
    counted = {node: _by_kind(pairs) for node, pairs in by_node.items()}
    most = max((sum(one.values()) for one in counted.values()), default=0)
    rows = [
        f"<tr><td>{escape(node or '(not known yet)')}<td "
        f'class="n">{sum(one.values()):,}<td>{_bar(one, most, 500)}'
        for node, one in sorted(counted.items(), key=lambda pair: -sum(pair[1].values()))[:100]
    ]
    return (
        "<h2>Data nodes</h2><table><tr><th>data node<th "
        f'class="n">datasets<th>{"".join(rows)}</table>'
    )


def _throughput(summary: Summary) -> str:
    if not summary.times:
        return ""
    labels = [
        datetime.fromtimestamp(start, UTC).strftime("%m-%d %H:%M:%S") for start, _ in summary.times
    ]
    return (
        "<h2>Datasets finished, over time "
        f"(UTC)</h2>{_columns([number for _, number in summary.times], labels)}"
    )


def _durations(summary: Summary) -> str:
    if not any(summary.durations):
        return ""
    labels = [*(f"< {limit:g} s" for limit in LIMITS_S), f"≥ {LIMITS_S[-1]:g} s"]
    return f"<h2>Seconds for a dataset</h2>{_columns(summary.durations, labels)}"


def _columns(
    numbers: Sequence[int], labels: Sequence[str], width: int = 1000, height: int = 180
) -> str:
    """Draw columns with the number as a tooltip; if there are many labels, only some are shown."""
    most = max(numbers, default=0) or 1
    step = width / max(len(numbers), 1)
    every = max(1, round(len(labels) / 8))
    shapes = [f'<text x="0" y="10">{most:,}</text>']
    for number, (value, label) in enumerate(zip(numbers, labels, strict=True)):
        tall = (height - 30) * value / most
        shapes.append(
            f'<rect x="{number * step:.1f}" y="{height - 16 - tall:.1f}" '
            f'width="{step * 0.9:.1f}" height="{tall:.1f}"'
            f' fill="#1565c0">'
            f"<title>{escape(label)}: {value:,}</title></rect>"
        )
        if number % every == 0:
            shapes.append(f'<text x="{number * step:.1f}" y="{height - 3}">{escape(label)}</text>')
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img">{"".join(shapes)}</svg>'
    )


def _problems(summary: Summary) -> str:
    if not summary.problems:
        return ""
    rows = [
        f"<tr><td>{_linked(name, locator)}<td>{escape(node)}<td>{escape(state)}"
        f"<td>{_code_cell(code)}<td>{escape(detail)}"
        for name, node, locator, state, code, detail in summary.problems
    ]
    first = f", the first {MOST_ROWS:,}" if len(rows) == MOST_ROWS else ""
    head = (
        '<colgroup><col style="width:32%"><col style="width:12%"><col style="width:5rem">'
        '<col style="width:14%"><col></colgroup>'
        "<tr><th>dataset<th>data node<th>state<th>code<th>reason"
    )
    return f"<h2>Not done{first}</h2><table>{head}{''.join(rows)}</table>"


def _unread(summary: Summary) -> str:
    if not summary.unread:
        return ""
    rows = "".join(
        f"<tr><td>{_linked(page, page)}<td>{_code_cell(code)}<td>{escape(detail)}"
        for page, code, detail in summary.unread
    )
    return f"<h2>Could not be listed</h2><table><tr><th>source<th>code<th>why{rows}</table>"


def _done(summary: Summary) -> str:
    if not summary.done:
        return ""
    rows = "".join(
        f"<tr><td>{_linked(name, href)}<td>{escape(state)}<td>{escape(detail)}"
        for name, href, state, detail in summary.done
    )
    first = f", the first {MOST_ROWS:,}" if len(summary.done) == MOST_ROWS else ""
    head = (
        '<colgroup><col style="width:38%"><col style="width:6rem"><col></colgroup>'
        "<tr><th>dataset<th>state<th>what was done"
    )
    return f"<h2>Done{first}</h2><table>{head}{rows}</table>"


def _linked(text: str, locator: str) -> str:
    """Link a text if its locator is a web address; the locator comes from outside and is not
    trusted.
    """
    if not locator.startswith(("http://", "https://")):
        return escape(text)
    return f'<a href="{escape(locator)}" rel="noreferrer">{escape(text)}</a>'
