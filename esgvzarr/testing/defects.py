"""Datasets named after their defects: each rule of docs/explanation/trust.md as files on disk, with
the expected outcome.

``DEFECTS[name].make(directory)`` writes the files and returns them in the order in which a record
would list them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from . import extras, oddities, uncommon
from .datasets import Extra
from .recipes import Recipe, Spoil

EQUAL = "equal"
"""The outcome of files that can be referenced: a reader gets their values exactly."""


@dataclass(frozen=True, slots=True)
class Defect:
    """One way in which the files of a dataset are hard to reference."""

    name: str
    rule: int
    """Number of the rule in docs/explanation/trust.md; 0 for files without a defect."""
    recipe: Recipe
    outcome: str = EQUAL
    """``equal``, or the stable code of the refusal."""

    def make(self, directory: Path) -> list[Path]:
        """Write the files, and return them in the order of a record."""
        return self.recipe.write(directory)


def _all(*extra: Extra, lengths: Sequence[int] | None = None, **changes: Any) -> Recipe:
    """Apply these changes to all files; ``lengths`` are the months of each file, three years by
    default.
    """
    files = (
        tuple({"start": sum(lengths[:n]), "months": months} for n, months in enumerate(lengths))
        if lengths
        else None
    )
    return Recipe({**changes, "extra": extra} if extra else changes, files=files)


def _second(common: dict[str, Any] | None = None, **changes: Any) -> Recipe:
    """Three yearly files, of which the second differs by these changes."""
    return Recipe(common or {}, changes)


def _overlap(
    common: dict[str, Any] | None = None, *, spoil: Spoil | None = None, **changes: Any
) -> Recipe:
    """Two files, of which the second repeats half a year of the first, and differs by these
    changes.
    """
    return Recipe(
        common or {},
        changes,
        ({"months": 18}, {"start": 12}),
        spoil_second=(spoil,) if spoil else (),
    )


def _files(*files: Mapping[str, Any]) -> Recipe:
    """Files with these fields."""
    return Recipe(files=files)


def _spoilt(spoil: Spoil, *, lengths: Sequence[int] | None = None, **changes: Any) -> Recipe:
    """Damage the second file after it was written."""
    return replace(_all(lengths=lengths, **changes), spoil_second=(spoil,))


def _all_spoilt(spoil: Spoil, **changes: Any) -> Recipe:
    """Change each file after it was written."""
    return replace(_all(**changes), spoil_every=(spoil,))


_DEFLATE: dict[str, Any] = {"compression": "zlib", "shuffle": True, "chunks": (1, 4, 6)}
_FIVE: dict[str, Any] = {"chunks": (5, 4, 6)}
_INTEGER_HOURS: dict[str, Any] = {"time_dtype": "i4", "units": "hours since 1850-01-01"}
_PACKED: dict[str, Any] = {"dtype": "i2", "fill_value": -32768, "scale_offset": (0.01, 273.0)}
_ALTERNATING: tuple[Mapping[str, Any], ...] = ({"step": 2}, {"start": 1, "step": 2})
"""Two files, each with every other month."""
_LARGE: dict[str, Any] = {
    "grid": (600, 600),
    "dtype": "f4",
    "chunks": (1, 600, 600),
    "compression": "zlib",
    "level": 1,
}
"""Chunks of 1.4 MB, too large to be stored inline."""

_TABLE = (
    Defect("plain", 0, _all()),
    Defect("compressed", 0, _all(**_DEFLATE)),
    Defect("single_file", 0, _all(lengths=(24,))),
    Defect("contiguous", 0, _all(unlimited=False)),
    Defect("scalar_differs", 1, _second(height=10.0), "coordinate-differs"),
    Defect("auxiliary_grid", 1, _all(extras.add_auxiliary_grid)),
    Defect(
        "auxiliary_grid_differs",
        1,
        _second({"extra": (extras.add_auxiliary_grid,)}, extra=(extras.add_moved_auxiliary_grid,)),
        "coordinate-differs",
    ),
    Defect("partial_chunks_compressed", 2, _all(compression="zlib", **_FIVE)),
    Defect("partial_chunks_uncompressed", 2, _all(**_FIVE)),
    Defect(
        "chunk_longer_than_file", 3, _all(chunks=(512, 4, 6), compression="zlib", time_chunk=512)
    ),
    Defect("short_last_file", 4, _all(lengths=(12, 12, 5), **_DEFLATE)),
    Defect(
        "short_last_file_partial_chunk",
        4,
        _all(lengths=(12, 12, 5), compression="zlib", chunks=(6, 4, 6)),
    ),
    Defect("unequal_lengths", 4, _all(lengths=(12, 24, 7))),
    Defect("time_epoch_differs", 5, _second(units="days since 1851-01-01")),
    Defect("time_unit_differs", 5, _second(units="hours since 1850-01-01 00:00:00")),
    Defect("time_chunked_by_step", 5, _all(time_chunk=1)),
    Defect("calendar_alias", 6, _second(calendar="gregorian")),
    Defect("calendar_proleptic", 6, _second(calendar="proleptic_gregorian")),
    Defect("calendar_differs", 6, _second(calendar="noleap"), "calendar-differs"),
    Defect(
        "bounds_calendar_differs",
        6,
        _second(extra=(oddities.change("time_bnds", calendar="noleap"),)),
        "calendar-differs",
    ),
    Defect(
        "bounds_calendar_of_their_own",
        6,
        _second(
            {"extra": (oddities.change("time_bnds", calendar="noleap"),)},
            units="days since 1851-01-01",
        ),
    ),
    Defect(
        "average_calendar_differs",
        6,
        _second(
            {"extra": (oddities.add_average_period,)},
            extra=(oddities.add_average_period, oddities.change("average_T1", calendar="noleap")),
        ),
        "calendar-differs",
    ),
    Defect(
        "scalar_calendar_differs",
        6,
        _second(
            {"extra": (oddities.add_date_of_issue,)},
            extra=(oddities.add_date_of_issue, oddities.change("issued", calendar="noleap")),
        ),
        "calendar-differs",
    ),
    Defect("packed", 7, _all(**_PACKED)),
    Defect("packing_differs", 7, _second(_PACKED, scale_offset=(0.02, 280.0))),
    Defect("fill_value_differs", 7, _second({"unwritten": (3,)}, fill_value=-999.0)),
    Defect("units_differ", 7, _second(variable_units="degC"), "units-differ"),
    Defect("dtype_differs", 8, _second(dtype="f8")),
    Defect("byte_order_differs", 8, _second(dtype=">f4")),
    Defect("big_endian", 8, _all(dtype=">f4", **_DEFLATE)),
    Defect("shuffle_differs", 8, _second(_DEFLATE, shuffle=False)),
    Defect("compression_differs", 8, _second(_DEFLATE, compression=None, shuffle=False)),
    Defect("fletcher32_differs", 8, _second(_DEFLATE, fletcher32=True)),
    Defect("deflate_level_differs", 8, _second(_DEFLATE, level=9)),
    Defect("format_differs", 8, _second(format="NETCDF3_64BIT_OFFSET")),
    Defect(
        "chunk_shape_differs",
        9,
        _second({"compression": "zlib", "chunks": (1, 4, 6)}, chunks=(12, 2, 3)),
    ),
    Defect(
        "chunk_shape_differs_uncompressed", 9, _second({"chunks": (1, 4, 6)}, chunks=(12, 4, 6))
    ),
    Defect(
        "order_not_by_name", 10, _files({"name": "tas_b.nc"}, {"start": 12, "name": "tas_a.nc"})
    ),
    Defect("overlap_differs", 11, _overlap(seed=1), "time-overlap"),
    Defect(
        "overlap_one_value_differs",
        11,
        _overlap(_DEFLATE, spoil=extras.change_one_value),
        "time-overlap",
    ),
    Defect("overlap_bounds_differ", 11, _overlap(spoil=extras.move_bounds), "time-overlap"),
    Defect(
        "overlap_packing_differs", 11, _overlap(_PACKED, scale_offset=(0.02, 280.0)), "time-overlap"
    ),
    Defect(
        "overlap_other_steps",
        11,
        _overlap(time_dtype="i4", units="days since 1850-01-01"),
        "time-overlap",
    ),
    Defect("overlap_equal", 11, _overlap()),
    Defect("overlap_compressed", 11, _overlap(_DEFLATE)),
    Defect("overlap_contiguous", 11, _overlap({"unlimited": False})),
    Defect("overlap_netcdf3", 11, _overlap({"format": "NETCDF3_CLASSIC"})),
    Defect("overlap_partial_chunks", 11, _overlap({"compression": "zlib", **_FIVE})),
    Defect(
        "overlap_chunk_longer_than_file",
        11,
        _overlap({"chunks": (512, 4, 6), "compression": "zlib", "time_chunk": 512}),
    ),
    Defect("overlap_chunk_shape_differs", 11, _overlap(_DEFLATE, chunks=(4, 2, 3))),
    Defect("overlap_time_unit_differs", 11, _overlap(units="hours since 1851-01-01")),
    Defect(
        "overlap_of_three",
        11,
        _files({"months": 18}, {"start": 6, "months": 18}, {"start": 12, "months": 24}),
    ),
    Defect("file_within_another", 11, _files({"months": 24}, {"start": 6}, {"start": 24})),
    Defect("interleaved", 36, replace(_files(*_ALTERNATING), every=_DEFLATE)),
    Defect(
        "interleaved_contiguous", 36, replace(_files(*_ALTERNATING), every={"unlimited": False})
    ),
    Defect(
        "interleaved_in_chunks",
        36,
        replace(_files(*_ALTERNATING), every={"compression": "zlib", **_FIVE}),
        "time-overlap",
    ),
    Defect("same_file_twice", 11, Recipe(listed_twice=True)),
    Defect("time_gap", 12, _files({}, {"start": 24})),
    Defect("variable_missing", 13, _second(omit=("tas",)), "variable-missing"),
    Defect("scalar_missing", 13, _second(omit=("height",)), "variable-missing"),
    Defect("latitude_flipped", 14, _second(latitude_step=-1), "coordinate-differs"),
    Defect("latitude_differs", 14, _second(latitude_noise=0.5), "coordinate-differs"),
    Defect("latitude_rounding", 14, _second(latitude_noise=1.4e-14)),
    Defect("coordinate_type_differs", 14, _second(coordinate_dtype="f4")),
    Defect(
        "coordinate_type_differs_first",
        14,
        _second({"coordinate_dtype": "f4"}, coordinate_dtype="f8"),
    ),
    Defect(
        "filler_hides_grid",
        14,
        _second(
            {"extra": (oddities.add_filled_grid(0.0),)}, extra=(oddities.add_filled_grid(0.5),)
        ),
        "coordinate-differs",
    ),
    Defect(
        "text_length_differs",
        14,
        _second({"extra": (oddities.label(8),)}, extra=(oddities.label(16),)),
        "dimension-differs",
    ),
    Defect("grid_differs", 14, _second(grid=(5, 6)), "dimension-differs"),
    Defect(
        "attributes_of_references",
        16,
        _all(oddities.state_globally(esgvzarr_segments="no", esgvzarr_recipe="none")),
    ),
    Defect("same_basename", 15, _files({"name": "a/tas.nc"}, {"start": 12, "name": "b/tas.nc"})),
    Defect("global_attributes_differ", 16, _second(extra=(extras.change_history,))),
    Defect("scalar_integer", 17, _all(extras.add_scalar_integer)),
    Defect("compact_layout", 18, _all_spoilt(extras.add_compact)),
    Defect("fletcher32", 19, _all(fletcher32=True, **_DEFLATE)),
    Defect("bzip2", 19, _all(compression="bzip2", chunks=(1, 4, 6))),
    Defect("zstd", 19, _all(compression="zstd", chunks=(1, 4, 6))),
    Defect("szip", 19, _all(compression="szip", chunks=(1, 4, 6)), "filter-unsupported"),
    Defect("scale_offset_coordinate", 19, _all_spoilt(extras.add_scale_offset_filter)),
    Defect("zeros_without_fill_value", 20, _all(extras.add_zeros)),
    Defect("no_fill", 20, _all(fill_value=False)),
    Defect("chunks_never_written", 21, _all(fill_value=None, unwritten=(3, 7), **_DEFLATE)),
    Defect("chunks_never_written_fill_value", 21, _all(unwritten=(3, 7), **_DEFLATE)),
    Defect("nothing_written", 21, _all(fill_value=None, unwritten=tuple(range(12)))),
    Defect("filter_mask", 22, _spoilt(extras.store_chunk_unfiltered, **_DEFLATE)),
    Defect(
        "filter_mask_large",
        22,
        _spoilt(extras.store_chunk_unfiltered, lengths=(2, 2), **_LARGE),
        "file-filter-mask",
    ),
    Defect("netcdf3_classic_records", 23, _all(format="NETCDF3_CLASSIC")),
    Defect("netcdf3_classic_fixed", 23, _all(format="NETCDF3_CLASSIC", unlimited=False)),
    Defect("netcdf3_offset64_records", 23, _all(format="NETCDF3_64BIT_OFFSET")),
    Defect("netcdf3_offset64_fixed", 23, _all(format="NETCDF3_64BIT_OFFSET", unlimited=False)),
    Defect("netcdf3_flags", 23, _all(extras.add_flags, format="NETCDF3_CLASSIC")),
    Defect("netcdf3_packed", 23, _all(format="NETCDF3_CLASSIC", **_PACKED)),
    Defect("netcdf4_classic_model", 23, _all(format="NETCDF4_CLASSIC")),
    Defect("cdf5", 24, _all(format="NETCDF3_64BIT_DATA")),
    Defect("truncated", 24, _spoilt(extras.truncate), "file-truncated"),
    Defect(
        "truncated_netcdf3",
        24,
        _spoilt(extras.truncate, format="NETCDF3_CLASSIC"),
        "file-truncated",
    ),
    Defect("html_page", 24, _spoilt(extras.replace_by_html), "file-not-netcdf"),
    Defect("empty_file", 24, _spoilt(extras.empty), "file-not-netcdf"),
    Defect("broken_header", 24, _spoilt(extras.break_header), "file-unreadable"),
    Defect(
        "chunk_index_disordered",
        24,
        _spoilt(uncommon.exchange_chunk_keys, **_DEFLATE),
        "file-unreadable",
    ),
    Defect("char_array", 25, _all(extras.add_char_array)),
    Defect("char_array_netcdf3", 25, _all(extras.add_char_array, format="NETCDF3_CLASSIC")),
    Defect("vlen_string", 25, _all(extras.add_vlen_string)),
    Defect("odd_attributes", 25, _all(extras.add_odd_attributes)),
    Defect("no_steps_in_one_file", 26, _second(months=0, name="tas_empty.nc")),
    Defect("no_variables", 26, _all_spoilt(uncommon.take_all_variables), "file-no-variables"),
    Defect("groups", 27, _all(extras.add_group)),
    Defect("groups_alone", 27, _all_spoilt(uncommon.add_empty_root_group), "file-groups"),
    Defect("extent_shorter_than_time", 29, _all(extras.add_shorter)),
    Defect("extent_shorter_in_chunk", 29, _all(extras.add_shorter_in_chunk)),
    Defect(
        "extent_shorter_without_fill", 29, _all(extras.add_shorter_without_fill), "file-unwritten"
    ),
    Defect("extent_shorter_inside", 29, _all(extras.add_shorter_inside), "file-unwritten"),
    Defect(
        "netcdf3_one_record_variable",
        30,
        _all(
            extras.add_record_variable,
            lengths=(3,),
            format="NETCDF3_CLASSIC",
            unlimited=False,
            omit=("tas",),
        ),
    ),
    Defect("netcdf3_one_record", 30, _all(lengths=(1, 1, 1), format="NETCDF3_CLASSIC")),
    Defect("integer_auxiliary", 31, _all(extras.add_flags)),
    Defect(
        "fixed_packing_differs",
        1,
        _second({"extra": (oddities.pack_latitude(0.1),)}, extra=(oddities.pack_latitude(0.2),)),
        "coordinate-differs",
    ),
    Defect(
        "reference_time_differs", 1, _all(oddities.add_scalar_reference_time), "coordinate-differs"
    ),
    Defect(
        "epoch_before_1582",
        6,
        _second({"units": "days since 0001-01-01"}, calendar="proleptic_gregorian"),
    ),
    Defect("time_integer", 5, _all(**_INTEGER_HOURS)),
    Defect("time_integer_rebased", 5, _second(_INTEGER_HOURS, units="minutes since 1849-12-01")),
    Defect("time_single", 5, _all(time_dtype="f4", units="hours since 1850-01-01")),
    Defect("time_type_differs", 5, _second({"units": "hours since 1850-01-01"}, time_dtype="i8")),
    Defect("time_fill_value", 5, _second({"time_dtype": "f8"}, time_fill=1e20)),
    Defect(
        "time_missing_step",
        5,
        _all(time_fill=45.0, time_dtype="f8", units="days since 1850-01-01"),
        "time-invalid",
    ),
    Defect("bounds_nowhere", 5, _all(omit=("time_bnds",))),
    Defect("bounds_no_date", 5, _all(oddities.end_bounds_nowhere), "time-invalid"),
    Defect("bounds_missing", 13, _second(omit=("time_bnds",)), "variable-missing"),
    Defect("other_dimension_order", 2, _all(oddities.add_other_orders)),
    Defect("second_time", 5, _all(oddities.add_second_time)),
    Defect("missing_values", 7, _all(oddities.add_missing_values)),
    Defect("unsigned", 7, _all(oddities.add_unsigned)),
    Defect("integer_types", 31, _all(oddities.add_integers)),
    Defect("integer_types_cdf5", 24, _all(oddities.add_integers, format="NETCDF3_64BIT_DATA")),
    Defect("enumeration", 31, _all(oddities.add_enum)),
    Defect(
        "fill_value_of_other_type",
        20,
        _all_spoilt(oddities.state_other_fill(np.float64(0.1))),
        "file-fill-invalid",
    ),
    Defect("chars_along_time", 25, _all(oddities.add_chars_along_time)),
    Defect("strings_along_time", 25, _all(oddities.add_strings_along_time)),
    Defect(
        "attribute_not_finite",
        25,
        _all(oddities.state_globally(limit=np.inf), oddities.change("lat", gap=np.float32("nan"))),
    ),
    Defect("attribute_types", 25, _all(oddities.add_attribute_types)),
    Defect(
        "attribute_number_and_text",
        35,
        _second(
            {"extra": (oddities.state_realization(np.int32(1)),)},
            extra=(oddities.state_realization("1"),),
        ),
    ),
    Defect(
        "attribute_whole_and_floating",
        35,
        _second(
            {"extra": (oddities.state_realization(np.int32(1)),)},
            extra=(oddities.state_realization(1.0),),
        ),
    ),
    Defect(
        "variant_label_differs",
        32,
        _second(extra=(oddities.state_globally(variant_label="r2i1p1f2"),)),
        "dataset-mixed",
    ),
    Defect(
        "frequency_differs",
        32,
        _second(extra=(oddities.state_globally(frequency="day"),)),
        "dataset-mixed",
    ),
    Defect(
        "cell_methods_differ",
        32,
        _second(extra=(oddities.state_method("time: maximum"),)),
        "dataset-mixed",
    ),
    Defect(
        "cell_methods_remark",
        32,
        _second(extra=(oddities.state_method("area: time: mean (interval: 20 minutes)"),)),
    ),
    Defect(
        "dataset_id_differs",
        32,
        _all(oddities.state_globally(variant_label="r2i1p1f2")),
        "dataset-id-differs",
    ),
    Defect("identity_absent", 32, _second(extra=(oddities.forget_identity,))),
    Defect("bounds_unnamed", 5, _second({"bounds": ""}, units="days since 1851-01-01")),
    Defect("bounds_misnamed", 5, _second({"bounds": "time_bound"}, units="days since 1851-01-01")),
    Defect(
        "dates_without_units",
        5,
        _second({"extra": (oddities.add_dates_without_units,)}, units="days since 1851-01-01"),
        "time-invalid",
    ),
    Defect(
        "dates_with_own_units",
        5,
        _second({"extra": (oddities.add_average_period,)}, units="days since 1851-01-01"),
    ),
    Defect(
        "time_months_of_360_days",
        5,
        _all(oddities.count_time("months since 1850-01-01", "360_day", 0.5, 1.0)),
    ),
    Defect(
        "time_common_years",
        5,
        _all(oddities.count_time("common_years since 1850-01-01", "noleap", 0.0, 1.0)),
    ),
    Defect(
        "time_months_of_any_length",
        5,
        _all(oddities.count_time("months since 1850-01-01", "standard", 0.5, 1.0)),
        "time-invalid",
    ),
    Defect(
        "time_calendar_empty",
        5,
        _all(oddities.change("time", calendar="")),
        "time-invalid",
    ),
    Defect(
        "time_unit_unreadable",
        5,
        _all(oddities.change("time", units="d-ys since 1850-01-01")),
        "time-invalid",
    ),
    Defect("time_absolute", 10, _all(oddities.state_absolute_time)),
    Defect(
        "time_since_year_of_model",
        5,
        _all(oddities.change("time", units="days since 1850", calendar="360_day")),
        "time-invalid",
    ),
    Defect("time_packed", 5, _all(oddities.pack_time)),
    Defect("time_goes_back", 10, _all(oddities.turn_time_back), "time-not-increasing"),
    Defect(
        "time_missing_step_alone",
        5,
        _all(lengths=(24,), time_fill=45.0, time_dtype="f8", units="days since 1850-01-01"),
    ),
    Defect(
        "time_missing_first_step_alone",
        5,
        _all(lengths=(24,), time_fill=15.5, time_dtype="f8", units="days since 1850-01-01"),
    ),
    Defect("units_spelled_differently", 7, _second(variable_units="kelvin ")),
    Defect("units_absent_of_scalar", 7, _second(extra=(oddities.forget_height_units,))),
    Defect(
        "scale_factor_text",
        40,
        _all(oddities.change("tas", scale_factor="0.1")),
        "attribute-invalid",
    ),
    Defect(
        "coordinates_list",
        40,
        _all(oddities.list_coordinates),
        "attribute-invalid",
    ),
    Defect(
        "bounds_list",
        40,
        _all(oddities.list_bounds),
        "attribute-invalid",
    ),
    Defect(
        "attributes_that_are_arrays",
        40,
        _all(
            oddities.change("time", axis=np.array([1, 2], "i4")),
            oddities.change("lat", positive=np.array([1, 2], "i4")),
            oddities.change("tas", units=np.array([1, 2], "i4")),
        ),
    ),
    Defect("strings_deflated", 25, _all_spoilt(oddities.add_deflated_strings)),
    Defect("characters_of_utf8", 34, _all_spoilt(oddities.add_utf8_characters)),
    Defect("latin1", 34, _all_spoilt(oddities.state_latin1)),
    Defect(
        "latin1_netcdf3",
        34,
        replace(
            _all(oddities.state_latin1_later, format="NETCDF3_CLASSIC"),
            spoil_every=(oddities.make_latin1,),
        ),
    ),
    Defect("nul_in_text", 34, _all(oddities.state_nul, format="NETCDF3_CLASSIC")),
    Defect("nul_in_text_of_hdf5", 34, _all_spoilt(oddities.state_nul_in_hdf5)),
    Defect("utf8_called_ascii", 34, _all(oddities.state_utf8, format="NETCDF4_CLASSIC")),
    Defect("half_precision", 25, _all_spoilt(oddities.add_half), "file-type-unsupported"),
    Defect("integers_of_24_bits", 25, _all_spoilt(oddities.add_24_bits), "file-type-unsupported"),
    Defect(
        "scalar_named_as_dimension",
        24,
        _all(uncommon.add_scalar_named_as_dimension),
        "file-name-invalid",
    ),
    Defect("long_double", 25, _all_spoilt(uncommon.add_long_double), "file-type-unsupported"),
    Defect("user_block", 24, _all_spoilt(uncommon.add_user_block, **_DEFLATE)),
    Defect("user_block_contiguous", 24, _all_spoilt(uncommon.add_user_block, unlimited=False)),
    Defect("blosc", 19, _all(uncommon.add_blosc)),
    Defect("szip_coordinate", 19, _all(uncommon.add_szip_coordinate)),
    Defect("checksum_before_shuffle", 19, _all_spoilt(uncommon.put_checksum_first)),
    Defect("fixed_length_strings", 25, _all_spoilt(uncommon.add_fixed_strings)),
    Defect("booleans", 31, _all_spoilt(uncommon.add_booleans)),
    Defect("characters_with_encoding", 25, _all(uncommon.state_encoding)),
    Defect("link_to_data", 19, _all_spoilt(uncommon.link_to_data)),
    Defect(
        "link_to_nothing",
        19,
        _all_spoilt(uncommon.link_to_nothing),
        "file-layout-unsupported",
    ),
    Defect(
        "link_to_other_file",
        19,
        _all_spoilt(uncommon.link_to_other_file),
        "file-layout-unsupported",
    ),
    Defect("link_to_dimension", 19, _all_spoilt(uncommon.link_to_dimension), "file-name-invalid"),
    Defect(
        "two_record_dimensions",
        14,
        _all(uncommon.add_second_record_dimension),
        "coordinate-differs",
    ),
    Defect("attributes_per_file", 16, _all(oddities.add_attribute_per_file)),
    Defect("odd_names", 17, _all(oddities.add_odd_names)),
    Defect("bare_dimensions", 17, _all(oddities.add_bare_dimensions)),
    Defect("edges", 2, _all(oddities.add_edges)),
    Defect("newest_layout", 18, _all_spoilt(oddities.with_newest_layout, lengths=(10, 12))),
    Defect(
        "netcdf3_unaligned_records",
        30,
        _all(oddities.add_unaligned_records, format="NETCDF3_CLASSIC"),
    ),
)

DEFECTS: dict[str, Defect] = {defect.name: defect for defect in _TABLE}
"""All defects, by name. For rule 28 (a source that is replaced later), write a dataset again with
another ``seed``.
"""
