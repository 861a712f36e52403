"""Write the parts of docs/internals/ledger.md that follow from the code: ``python
docs/write_internals.py``. A test fails when they are stale.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from esgvzarr.link.schema import SCHEMA_VERSION, TABLES
from esgvzarr.link.states import TRANSITIONS, Effect, Transition

PAGE = Path(__file__).parent / "internals" / "ledger.md"
_PARTS = ("schema", "transitions")


def page() -> str:
    """The page with its written parts made again."""
    text = PAGE.read_text(encoding="utf-8")
    made = {"schema": list(_schema()), "transitions": list(_transitions())}
    for part in _PARTS:
        begin = f"<!-- {part}, written by docs/write_internals.py -->"
        end = f"<!-- end of {part} -->"
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        lines = "\n".join(made[part])
        text = f"{before}{begin}\n\n{lines}\n\n{end}{after}"
    return text


def _schema() -> Iterator[str]:
    yield f"`PRAGMA user_version` is {SCHEMA_VERSION}."
    yield ""
    yield "```sql"
    yield TABLES.rstrip()
    yield "```"


def _transitions() -> Iterator[str]:
    yield "| verbs | last step | next step | states after it | then begins | what is live |"
    yield "| --- | --- | --- | --- | --- | --- |"
    merged: dict[tuple[object, ...], list[str]] = {}
    for row in TRANSITIONS:
        key = (row.verbs, row.step, row.states, row.action, row.effect)
        merged.setdefault(key, []).append(str(row.before or "none"))
    for row in TRANSITIONS:
        key = (row.verbs, row.step, row.states, row.action, row.effect)
        if key in merged:
            yield _row(row, merged.pop(key))


def _row(row: Transition, before: list[str]) -> str:
    effects = {Effect.KEEP: "stays", Effect.SET: "is set", Effect.CLEAR: "is cleared"}
    cells = [
        ", ".join(sorted(row.verbs)),
        ", ".join(before),
        f"`{row.step}`",
        ", ".join(sorted(row.states)),
        str(row.action),
        effects[row.effect],
    ]
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
