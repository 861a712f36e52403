"""Stage on a machine that shares no disk with the one that places the outputs, and send what was
made.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import WorkerError
from ..output.disk_errors import writing
from ..output.parts import parts_of
from . import Place, Staged, Work, stage


@dataclass(frozen=True, slots=True)
class Sent:
    """What was staged on another machine, with all its bytes."""

    staged: Staged
    files: tuple[Mapping[str, bytes], ...]
    """For each output: path below the directory of its place -> bytes."""


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
        paths = [Path(place.staged) for place in places]
        size = sum(file.stat().st_size for path in paths for file in parts_of(path))
        if size > most_bytes:
            raise WorkerError(
                str(work.record.id),
                f"its references have {size} bytes",
                expected=f"at most {most_bytes}, to be sent back",
                todo="Do this dataset by itself: esgvzarr link, or esgvzarr generate.",
                code="worker-result-large",
            )
        return Sent(staged, tuple(map(_bytes_of, paths)))


def _bytes_of(place: Path) -> dict[str, bytes]:
    files = parts_of(place)
    return {file.relative_to(place.parent).as_posix(): file.read_bytes() for file in files}


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
                target = staged.parent / below
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
    return sent.staged
