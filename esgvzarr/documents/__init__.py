"""Write several datasets as one document: streams of a model with its static file, or many
variables of one simulation.

A spec says which datasets belong together. All files are scanned in one batch; each dataset is
checked and combined by itself, as in ``generate``, and then put into groups with others. The
document is proved before it is placed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from .. import drs
from ..combine import combine as combine_files
from ..combine.document import join
from ..combine.overlaps import serve_once
from ..combine.rules import check
from ..combine.several import of_each_variable
from ..formats import Reading, check_served, scan_and_keep
from ..generate import place_staged, plan_staged
from ..model import FileReferences, Finding, Member, ReferenceFile, ReferenceSet, Series
from ..outcome import Verb, Written
from ..stage import (
    Destination,
    Place,
    Progress,
    Staged,
    begin,
    in_a_told_worker,
    limits_of,
    over_rounds,
    stage_references,
    staging_places,
)
from ..transport import Transport
from .arrange import by_stream, by_table, trim
from .gather import Input, Inputs, gather
from .spec import Spec as Spec
from .spec import check_dropped
from .spec import read_spec as read_spec

if TYPE_CHECKING:
    from ..settings import Settings


def combine(
    spec: Spec,
    directory: Path,
    transport: Transport,
    settings: Settings,
    *,
    href: str = "",
    force: bool = False,
    progress: Progress = lambda *_: None,
) -> Written:
    """Write the proved document of several datasets, ``<name>.json``, into ``directory``. No input
    is changed, and no index is touched.

    Args:
        spec: the datasets of the document; `read_spec` reads a spec from YAML.
        directory: a directory of this machine.
        transport: reads the files; hosts that the spec names are allowed.
        settings: where files are read from, and how many samples the proof reads.
        href: public URL of the document, if it has one.
        force: replace a file of the same name that holds other bytes.
        progress: is told of each step.

    Raises:
        EsgvzarrError: nothing was written; the error says why.
    """
    with staging_places(spec.name, directory, settings, href=href) as places:
        staged = _staged_apart(spec, places, transport, settings, progress)
        progress(spec.name, f"writing {', '.join(Path(place.path).name for place in places)}")
        return place_staged(Verb.COMBINE, spec.name, staged, places, force=force)


def plan(
    spec: Spec,
    directory: Path,
    transport: Transport,
    settings: Settings,
    *,
    force: bool = False,
    progress: Progress = lambda *_: None,
) -> tuple[tuple[ReferenceFile, ...], tuple[Finding, ...]]:
    """Return what ``combine`` would leave in ``directory``, and its warnings. Nothing is touched.

    Args:
        spec: the datasets of the document.
        directory: a directory of this machine.
        transport: reads the files; hosts that the spec names are allowed.
        settings: where files are read from, and how many samples the proof reads.
        force: replace a file of the same name that holds other bytes.
        progress: is told of each step.

    Raises:
        EsgvzarrError: there would be no document; the error says why.
    """
    with staging_places(spec.name, directory, settings, aside=True) as places:
        staged = _staged_apart(spec, places, transport, settings, progress)
        return plan_staged(staged, places, force=force), staged.warnings


def _staged_apart(
    spec: Spec,
    places: tuple[Place, ...],
    transport: Transport,
    settings: Settings,
    progress: Progress,
) -> Staged:
    """Do the work of ``_stage`` in a process of its own, within the limits that the settings
    name.
    """
    limits = limits_of(settings)
    work = (_stage, spec, places, transport, settings)
    return in_a_told_worker(*work, limits=limits, progress=progress)


def _stage(
    spec: Spec,
    places: tuple[Place, ...],
    transport: Transport,
    settings: Settings,
    *,
    progress: Progress,
) -> Staged:
    """Scan the inputs, and stage and prove the document."""
    inputs = gather(spec, transport, settings.data_paths)
    files = list(chain.from_iterable(one.files for one in inputs.all()))
    step = f"scanning {len(files)} files of {len(inputs.all())} datasets"
    told = begin(progress, spec.name, step)
    served = check_served(files, transport, read=settings.read)
    reading = Reading(settings.read, served, bounds=inputs.share_time)
    with transport.watched(over_rounds(told)):
        every, fetched = scan_and_keep(files, transport, reading)
    told(1, 1)
    found = iter(every)
    scanned = {one.name: list(islice(found, len(one.files))) for one in inputs.all()}
    check_dropped(spec, every)
    references = _join(
        spec, inputs, scanned, partial(serve_once, transport=transport, read=settings.read)
    )
    proved = set[str]()
    for dataset in references.provenance["datasets"].values():
        proved.update(dataset["files"])
    # A companion that fits into no group is left out.
    files = [file for file in files if file.url in proved]
    destination = Destination(places, settings)
    return stage_references(
        references, files, destination, transport, progress=progress, scanned=fetched
    )


def _join(
    spec: Spec,
    inputs: Inputs,
    scanned: dict[str, list[FileReferences]],
    once: Callable[[Series], Series],
) -> ReferenceSet:
    def members(of: Sequence[Input], *, static: bool = False) -> list[Member]:
        found: list[Member] = []
        for one in of:
            found += _members(one, scanned[one.name], spec.drop, once, static=static)
        return found

    static = members(inputs.static, static=True)
    companions = members(inputs.companions, static=True)
    if inputs.datasets:
        arranged = by_table(spec.name, members(inputs.datasets), companions)
    else:
        arranged = by_stream(
            {path: members(of) for path, of in inputs.streams.items()}, static, companions
        )
    references = join(spec.name, arranged.groups)
    warnings = [str(warning) for warning in arranged.warnings]
    provenance = {
        **references.provenance,
        "warnings": [*references.provenance["warnings"], *warnings],
    }
    return replace(
        references, provenance=provenance, warnings=(*references.warnings, *arranged.warnings)
    )


def _members(
    one: Input,
    files: Sequence[FileReferences],
    drop: Sequence[str],
    once: Callable[[Series], Series],
    *,
    static: bool,
) -> Iterator[Member]:
    """Return one dataset, checked and combined by itself; if its id names no variable, each
    variable that has its own files.
    """
    trimmed = [trim(file, drop, static=static) for file in files]
    known = one.name if drs.facets(one.name) is not None else ""  # A stream is not a dataset.
    dropped = set[str]().union(*(names for _, names in trimmed))
    kept = [file for file, _ in trimmed]
    for label, own in of_each_variable(kept, one.name).items():
        series = check(own, one.name, once, dataset_id=known)
        name = f"{one.name} {label}" if label else one.name
        references = combine_files(series, one.id or one.name)
        yield Member(name, series, references, tuple(sorted(dropped)))
