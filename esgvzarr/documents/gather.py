"""Read the datasets that a spec names, each with its files. Catalogues and mapfiles are read, data
files are not.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from ..directories import entries, matching
from ..errors import SourceError
from ..model import DatasetId, DatasetRecord, FileRecord
from ..sources import dataset_ids, is_plain, read_source, with_local_paths
from ..sources.plain_files import files_at, from_locations
from ..transport import Transport, host_of, is_url
from ..transport.hosts import allow_hosts
from .spec import Source, Spec

_COMPANIONS = {"areacella": "fx", "sftlf": "fx", "orog": "fx", "areacello": "Ofx"}
"""Fixed fields of a simulation and their tables (CMIP6 data request)."""

_ROOTS = ("CMIP6", "MIP-DRS7")
"""First directories of the DRS of CMIP6 and CMIP7."""


@dataclass(frozen=True, slots=True)
class Input:
    """One dataset that will be scanned."""

    name: str
    files: tuple[FileRecord, ...]
    id: DatasetId | None = None


@dataclass(frozen=True, slots=True)
class Inputs:
    """All datasets that a spec names."""

    streams: Mapping[str, tuple[Input, ...]]
    static: tuple[Input, ...]
    datasets: tuple[Input, ...]
    companions: tuple[Input, ...]

    @property
    def share_time(self) -> bool:
        """Whether datasets with time may be shown together."""
        return len(self.datasets) > 1 or any(len(stream) > 1 for stream in self.streams.values())

    def all(self) -> list[Input]:
        """Return all datasets, streams first."""
        return [*self.of_streams(), *self.static, *self.datasets, *self.companions]

    def of_streams(self) -> list[Input]:
        """Return the datasets of all streams."""
        return list(chain.from_iterable(self.streams.values()))


def gather(spec: Spec, transport: Transport, data_paths: Mapping[str, str]) -> Inputs:
    """Read the spec's sources. Hosts that it names, and the datasets' data nodes, are allowed from
    then on.

    Raises:
        SourceError: a source has no files, or its datasets are ambiguous, or a file or dataset is
            named twice.
        TransportError: a source cannot be read.
    """
    reader = _Reader(transport, data_paths)
    streams = {path: tuple(reader.stream(path, sources)) for path, sources in spec.streams.items()}
    static = tuple(chain.from_iterable(map(reader.static, spec.static)))
    datasets = sorted(
        chain.from_iterable(map(reader.datasets, spec.datasets)), key=lambda one: one.name
    )
    inputs = Inputs(streams, static, tuple(datasets), ())
    if spec.companions:
        known = [one for one in (*datasets, *inputs.of_streams()) if one.id]
        inputs = replace(inputs, companions=tuple(reader.companions(known)))
    _check_once(inputs)
    for one in inputs.all():
        for file in one.files:
            transport.check_allowed(file.url)
    return inputs


@dataclass(frozen=True, slots=True)
class _Reader:
    transport: Transport
    data_paths: Mapping[str, str]

    def stream(self, path: str, sources: Sequence[Source]) -> Iterator[Input]:
        """Yield the plain files of a stream as one dataset, and each other source as one or more
        datasets.
        """
        plain = list[str]()
        for source in sources:
            if source.dataset is None:
                plain += self._plain(source)
        if plain:
            yield Input(path, self._files(plain))
        for source in sources:
            if source.dataset is not None or not self._plain(source):
                yield from self.datasets(source)

    def static(self, source: Source) -> Iterator[Input]:
        """Yield each plain file by itself: files without time do not follow each other."""
        plain = [] if source.dataset else self._plain(source)
        yield from (Input(file.url, (file,)) for file in self._files(plain))
        if not plain:
            yield from self.datasets(source)

    def datasets(self, source: Source) -> Iterator[Input]:
        """Yield the dataset that is named, or all that the source states, or those that directories
        are named after by the DRS.
        """
        places = list(chain.from_iterable(map(_places, source.sources)))
        if source.dataset is None and self._plain(source):
            for place in places:
                record = from_locations([place], _drs_id(place), data_paths=self.data_paths)
                yield self._of(record)
            return
        asked: list[DatasetId | None] = [DatasetId.parse(source.dataset)] if source.dataset else []
        if not asked and len(places) == 1:
            asked = [*dataset_ids(places[0], self.transport)]
        for dataset_id in asked or [None]:
            yield self._of(read_source(places, dataset_id, self.transport, self.data_paths))

    def companions(self, known: Sequence[Input]) -> Iterator[Input]:
        """Yield fixed fields of the same simulation and grid that lie beside datasets by the DRS
        and are not named yet.
        """
        seen = {one.id.master_id for one in known if one.id}
        for one in known:
            for found, directory in _beside(one):
                if found.master_id not in seen:
                    seen.add(found.master_id)
                    yield self._of(from_locations([directory], found, data_paths=self.data_paths))

    def _plain(self, source: Source) -> list[str]:
        """Return the places of a source, if they are NetCDF files and directories."""
        places = list(chain.from_iterable(map(_places, source.sources)))
        return places if all(map(is_plain, places)) else []

    def _files(self, places: Sequence[str]) -> tuple[FileRecord, ...]:
        for place in filter(is_url, places):
            self.transport.allow(host_of(place), named=True)
        return tuple(files_at(places, self.data_paths))

    def _of(self, record: DatasetRecord) -> Input:
        if record.data_node:
            allow_hosts(self.transport, record)
        record = with_local_paths(record, self.data_paths)
        return Input(str(record.id), record.files, record.id)


def _places(text: str) -> list[str]:
    """Return the files of a pattern, sorted by name; anything else unchanged.

    Raises:
        SourceError: no file matches.
    """
    if is_url(text) or not glob.has_magic(text) or os.path.exists(text):
        return [text]
    found = matching(text)
    if not found:
        raise SourceError(
            text, "no file matches the pattern", expected="at least one file", code="source-none"
        )
    return found


def _drs_id(directory: str) -> DatasetId:
    """Return the DSID that a directory is named after:
    ``.../CMIP6/<activity>/.../<grid>/<version>``.

    Raises:
        SourceError: its name is not of this form.
    """
    parts = Path(os.path.abspath(directory)).parts
    root = max((number for number, part in enumerate(parts) if part in _ROOTS), default=len(parts))
    try:
        return DatasetId.parse(".".join(parts[root:]))
    except SourceError as error:
        raise SourceError(
            directory,
            "does not say which dataset it is",
            expected="a directory by the DRS, or another kind of source",
            todo="Name the dataset: {dataset: <DSID>, sources: ...}.",
            code="source-dataset-id-missing",
        ) from error


def _beside(one: Input) -> Iterator[tuple[DatasetId, str]]:
    """Yield (DSID, directory) of companions, if the path of a dataset ends with
    ``<table>/<variable>/<grid>/<version>`` of its id.
    """
    path = one.files[0].path
    if one.id is None or path is None:
        return
    *above, _, _, grid = one.id.master_id.split(".")
    versions = Path(path).parent
    if list(versions.parts[-len(above) - 4 :]) != [
        *one.id.master_id.split("."),
        f"v{one.id.version}",
    ]:
        return
    for variable, table in _COMPANIONS.items():
        directory = versions.parents[3] / table / variable / grid
        found = sorted(
            int(entry.name[1:]) for entry in entries(directory, "v*") if entry.name[1:].isdigit()
        )
        if found:
            yield (
                DatasetId(".".join([*above, table, variable, grid]), str(found[-1])),
                str(directory / f"v{found[-1]}"),
            )


def _check_once(inputs: Inputs) -> None:
    """Check that each dataset, whatever its version, and each file is named once."""
    names = set[str]()
    urls = set[str]()
    for one in inputs.all():
        _add_once(one.id.master_id if one.id else one.name, names)
        for file in one.files:
            _add_once(file.url, urls)


def _add_once(text: str, seen: set[str]) -> None:
    if text in seen:
        raise SourceError(
            text, "is named twice", expected="one place for each", code="source-duplicate"
        )
    seen.add(text)
