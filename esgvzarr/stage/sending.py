"""Stage on a machine that shares no disk with the one that places the outputs, and send what was
made.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import WorkerError
from ..output.placing import files_of, writing
from . import Place, Staged, Work, stage


@dataclass(frozen=True, slots=True)
class Sent:
    """What was staged on another machine, with all its bytes."""

    staged: Staged
    files: tuple[Mapping[str, bytes], ...]
    """For each output: path below its place, empty for a single file -> bytes."""


def stage_and_send(work: Work, most_bytes: int) -> Sent:
    """``stage`` on a machine that shares no disk with the one that places the outputs.

    Args:
        work: what is to be made.
        most_bytes: of all outputs together.

    Raises:
        WorkerError: the outputs are larger.
        EsgvzarrError: the reason why there are no references.
    """
    with tempfile.TemporaryDirectory(prefix="esgvzarr-") as directory:
        places = []
        for number, place in enumerate(work.places):
            own = Path(directory) / str(number)
            own.mkdir()
            places.append(replace(place, staged=str(own / Path(place.staged).name)))
        staged = stage(replace(work, places=tuple(places)))
        size = sum(proved.size for proved in staged.outputs)
        if size > most_bytes:
            raise WorkerError(
                str(work.record.id),
                f"its references have {size} bytes",
                expected=f"at most {most_bytes}, to be sent back",
                todo="Do this dataset by itself: esgvzarr link, or esgvzarr generate.",
                code="worker-result-large",
            )
        return Sent(staged, tuple(_bytes_below(Path(place.staged)) for place in places))


def _bytes_below(place: Path) -> dict[str, bytes]:
    if place.is_file():
        return {"": place.read_bytes()}
    return {file.relative_to(place).as_posix(): file.read_bytes() for file in files_of(place)}


def receive(sent: Sent, places: Sequence[Place]) -> Staged:
    """Put what was sent into the staged places; it is the same artefact if its SHA-256 is, which
    placing checks.

    Raises:
        StoreError: it cannot be written.
    """
    for place, files in zip(places, sent.files, strict=True):
        staged = Path(place.staged)
        with writing(place.path):
            for below, data in files.items():
                target = staged / below if below else staged
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
    return sent.staged
