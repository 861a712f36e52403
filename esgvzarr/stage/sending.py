"""Stage outputs on a machine that shares no disk with the one that places them, and send the
bytes.
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
    """Outputs that were staged on another machine, with all their bytes."""

    staged: Staged
    files: tuple[Mapping[str, bytes], ...]
    """For each output: its bytes, by path below the directory of its place."""


def stage_and_send(work: Work, most_bytes: int) -> Sent:
    """Do the work of ``stage`` on a machine that shares no disk with the one that places the
    outputs.

    Args:
        work: the dataset, its places and settings.
        most_bytes: limit for the size of all outputs together.

    Raises:
        WorkerError: the outputs are larger than ``most_bytes``.
        EsgvzarrError: the references cannot be made; the error says why.
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
                expected=f"at most {most_bytes} bytes, which is the limit for sending them between "
                "machines",
                todo="Link this dataset by itself: esgvzarr link, or esgvzarr generate.",
                code="worker-result-large",
            )
        return Sent(staged, tuple(map(_bytes_of, paths)))


def _bytes_of(place: Path) -> dict[str, bytes]:
    files = parts_of(place)
    return {file.relative_to(place.parent).as_posix(): file.read_bytes() for file in files}


def receive(sent: Sent, places: Sequence[Place]) -> Staged:
    """Write sent outputs into the staged places.

    Placing checks later that each has the SHA-256 of what was proved.

    Raises:
        StoreError: an output cannot be written.
    """
    for place, files in zip(places, sent.files, strict=True):
        staged = Path(place.staged)
        with writing(place.path):
            for below, data in files.items():
                target = staged.parent / below
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
    return sent.staged
