"""References of a dataset that are not written yet: look at them, prove them, write them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .generate import place_staged
from .model import DatasetRecord, Finding, Group, ReferenceFile, ReferenceSet, Report
from .outcome import Verb
from .output import reading_of
from .output.kerchunk import encode
from .stage import Destination, Place, Staged, make_transport, stage_references, staging_places
from .transport.hosts import allow_hosts

if TYPE_CHECKING:
    import xarray

    from .settings import Settings


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class References:
    """The references of a dataset, in memory. Their files were compared with each other; `prove`
    compares the references with the files.
    """

    record: DatasetRecord
    """The record of the dataset: its id and files."""
    reference_set: ReferenceSet
    settings: Settings

    @property
    def id(self) -> str:
        """The dataset id."""
        return str(self.reference_set.id)

    @property
    def chunks(self) -> int:
        """The number of chunks."""
        return self.reference_set.chunk_count

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """Findings that do not prevent publication, and that the user should know."""
        return self.reference_set.warnings

    def to_xarray(self, **options: Any) -> xarray.Dataset:
        """Open the references as a dataset, lazily, from memory.

        Args:
            options: as in ``esgvzarr.open_dataset``.
        """
        import orjson

        from .reader import open_parsed

        return open_parsed(orjson.loads(encode(self.reference_set)), **options)

    def prove(self) -> Report:
        """Read a sample of values through the references, and compare them with the files.

        Raises:
            ProofError: the references do not read back as the files do.
        """
        with self._staged(Path.cwd(), aside=True) as (staged, _):
            return staged.outputs[0].report

    def write(self, directory: str | os.PathLike[str], *, force: bool = False) -> ReferenceFile:
        """Prove the references, and write them to a directory as ``<DSID>.json``, or as the output
        that the settings name.

        Args:
            directory: a directory of this machine.
            force: replace a reference file with different content.

        Raises:
            ProofError: the references do not read back as the files do. Nothing was written.
            StoreError: a file with different content exists, or the directory cannot be written to.
        """
        with self._staged(Path(directory)) as (staged, places):
            written = place_staged(Verb.GENERATE, self.record.id, staged, places, force=force)
        return written.reference

    @contextmanager
    def _staged(
        self, directory: Path, *, aside: bool = False
    ) -> Iterator[tuple[Staged, tuple[Place, ...]]]:
        """Stage and prove the outputs, beside their places or in a temporary directory."""
        with (
            staging_places(self.record.id, directory, self.settings, aside=aside) as places,
            make_transport(self.settings) as transport,
        ):
            allow_hosts(transport, self.record)
            destination = Destination(places, self.settings)
            yield (
                stage_references(self.reference_set, self.record.files, destination, transport),
                places,
            )

    def __repr__(self) -> str:
        files = len(self.record.files)
        return f"<References of {self.id}: {files} files, {self.chunks:,} chunks{self._parts()}>"

    def _parts(self) -> str:
        """Describe the groups and segments, if there are any."""
        reading = reading_of(self.reference_set.provenance)
        if reading.groups:
            joined = f", of which {len(reading.segmented)} in segments" if reading.segmented else ""
            return f" in {len(reading.groups)} groups{joined}"
        count = len(self._groups())
        return f" in {count} segments" if count > 1 else ""

    def _repr_html_(self) -> str:
        rows = []
        for name, dimensions, dtype in self._variables():
            rows.append(f"<tr><td>{escape(name)}<td>{escape(dimensions)}<td>{escape(dtype)}")
        warnings = "".join(f"<li>{escape(str(one))}" for one in self.warnings)
        return (
            f"<p>{escape(repr(self))}</p>"
            f"<table><tr><th>variable<th>dimensions<th>type{''.join(rows)}</table>"
            f"{'<p>Warnings:</p><ul>' + warnings + '</ul>' if warnings else ''}"
        )

    def _groups(self) -> list[Group]:
        """Return the groups that hold data: one for each segment."""
        return [group for group in self.reference_set.groups if group.arrays]

    def _variables(self) -> Iterator[tuple[str, str, str]]:
        """Yield name, dimensions with sizes, and type of each variable, in the first of its
        segments.
        """
        for path in reading_of(self.reference_set.provenance).groups or ("",):
            prefix = f"{path}/" if path else ""
            inside = (group for group in self._groups() if f"{group.path}/".startswith(prefix))
            for array in next(inside).arrays:
                sizes = zip(array.dims, array.shape, strict=True)
                shown = ", ".join(f"{name}: {size}" for name, size in sizes)
                yield f"{path}/{array.name}".lstrip("/"), shown, str(array.dtype)
