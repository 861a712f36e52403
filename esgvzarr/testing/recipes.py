"""Differences of the files of a dataset from three plain years, as data: two recipes can be merged
into one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from . import extras, oddities, uncommon
from .datasets import Extra, FileSpec, write_files

Spoil = Callable[[Path], None]
"""Changes a file that was written."""
_ABOUT_TAS = {
    extras.add_auxiliary_grid,
    extras.add_moved_auxiliary_grid,
    extras.add_odd_attributes,
    oddities.add_attribute_per_file,
}
_NETCDF4_ONLY = {
    extras.add_vlen_string,
    extras.add_group,
    extras.add_odd_attributes,
    oddities.add_strings_along_time,
    oddities.add_enum,
    oddities.add_attribute_types,
    oddities.add_bare_dimensions,
    uncommon.add_blosc,
    uncommon.add_szip_coordinate,
    uncommon.add_second_record_dimension,
    oddities.list_coordinates,
    oddities.list_bounds,
    extras.add_shorter_in_chunk,
    extras.add_shorter_inside,
    extras.add_shorter_without_fill,
}
_SHORT = {
    extras.add_shorter,
    extras.add_shorter_in_chunk,
    extras.add_shorter_inside,
    extras.add_shorter_without_fill,
}
_BREAKING = {extras.truncate, extras.replace_by_html, extras.empty}
"""Damage a file of any format."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """A recipe for files. Two recipes can be merged if they do not contradict each other."""

    every: Mapping[str, Any] = field(default_factory=dict)
    """Fields of all ``FileSpec``s."""
    second: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the second file, in place of those in ``every``."""
    files: tuple[Mapping[str, Any], ...] | None = None
    """Fields of each file, if these are not three years."""
    spoil_every: tuple[Spoil, ...] = ()
    spoil_second: tuple[Spoil, ...] = ()
    listed_twice: bool = False
    """Whether the second file is twice in the record."""

    def specs(self) -> list[FileSpec]:
        """Return the specs of the files."""
        own = self.files or tuple({"start": 12 * number} for number in range(3))
        return [
            FileSpec(**{**self.every, **one, **(self.second if number == 1 else {})})
            for number, one in enumerate(own)
        ]

    def write(self, directory: Path) -> list[Path]:
        """Write the files, and return them in the order of a record."""
        paths = write_files(directory, self.specs())
        for number, path in enumerate(paths):
            for spoil in (*self.spoil_every, *(self.spoil_second if number == 1 else ())):
                spoil(path)
        return [*paths, paths[1]] if self.listed_twice else paths

    def with_also(self, other: Recipe) -> Recipe | None:
        """Return both recipes as one; None if they contradict each other, or if no library writes
        such a file.
        """
        if self.files and other.files and self.files != other.files:
            return None
        mine = self._fields()
        theirs = other._fields()
        if any(mine[name] != theirs[name] for name in mine.keys() & theirs.keys() - {"extra"}):
            return None
        both = Recipe(
            {**self.every, **other.every, "extra": _extras(self.every, other.every)},
            {**self.second, **other.second},
            self.files or other.files,
            self.spoil_every + other.spoil_every,
            self.spoil_second + other.spoil_second,
            self.listed_twice or other.listed_twice,
        )
        if "extra" in both.second:
            both = replace(
                both,
                second={
                    **both.second,
                    "extra": _extras(
                        {**self.every, **self.second}, {**other.every, **other.second}
                    ),
                },
            )
        return both if both._can_be_written() else None

    def _fields(self) -> dict[str, Any]:
        """Return the fields of the second file."""
        return {
            **self.every,
            **(self.files[1] if self.files and len(self.files) > 1 else {}),
            **self.second,
        }

    def _can_be_written(self) -> bool:
        specs = self.specs()
        spoils = self.spoil_every + self.spoil_second
        alone = {oddities.add_scalar_reference_time} & set(specs[0].extra)
        if len(specs) < 2 and (self.second or self.spoil_second or self.listed_twice or alone):
            return False
        if len(spoils) > 1 or any(
            spec.fill_value in (None, False) and spoils and not set(spoils) & _BREAKING
            for spec in specs
        ):
            return False
        if self.second.get("months") == 0 and (
            self.second.keys() - {"months", "name"} or self.spoil_second or self.listed_twice
        ):
            return False
        if self.second and all(
            self.every.get(name) == value for name, value in self.second.items()
        ):
            return False
        if oddities.add_integers in specs[0].extra and len({spec.format for spec in specs}) > 1:
            return False
        return all(_writable(spec, spoils) for spec in specs)


def _extras(one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[Extra, ...]:
    return tuple(dict.fromkeys((*one.get("extra", ()), *other.get("extra", ()))))


def _writable(spec: FileSpec, spoils: tuple[Spoil, ...]) -> bool:
    """Whether the format supports everything in the spec."""
    extra = set(spec.extra)
    # Values that were in memory are read at that point.
    if spec.fill_value is False and spec.unwritten:
        return False
    if "tas" in spec.omit and (extra & _ABOUT_TAS or spoils):
        return False
    if spec.format != "NETCDF4" and extra & _NETCDF4_ONLY:
        return False
    if extras.store_chunk_unfiltered in spoils and (spec.chunks or ())[1:] != spec.grid:
        return False
    short = extra & _SHORT
    if len(short) > 1 or (short and (not spec.unlimited or spec.months < 5)):
        return False
    if len(extra & {extras.add_auxiliary_grid, extras.add_moved_auxiliary_grid}) > 1:
        return False
    if not spec.unlimited and max((spec.chunks or (1,))[0], spec.time_chunk or 1) > spec.months:
        return False
    if not spec.format.startswith("NETCDF3"):
        return True
    hdf5 = (
        spec.compression
        or spec.shuffle
        or spec.fletcher32
        or spec.chunks
        or spec.time_chunk
        or spec.dtype.startswith(">")
    )
    if oddities.add_other_orders in extra and spec.unlimited:
        return False
    return (
        not hdf5
        and set(spoils) <= _BREAKING
        and (spec.time_dtype != "i8" or spec.format == "NETCDF3_64BIT_DATA")
    )
