"""Instructions in words and code to open references that need more than one call, made from the
fields that programs read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SEGMENTS = "esgvzarr_segments"
"""Attribute of a group: the paths of its segments, in time order."""
CONCAT_DIM = "esgvzarr_concat_dim"
"""Attribute of a group: the dimension along which its segments follow each other."""
GROUPS = "esgvzarr_groups"
"""Attribute of the root: the groups of a document of several datasets."""
RECIPE = "esgvzarr_recipe"
"""Attribute of a group: how to open it, in words and code."""
OURS = (RECIPE, SEGMENTS, CONCAT_DIM, GROUPS)
"""Attributes of groups that no file has."""

_OF_SEGMENTS = (
    "xarray.open_dataset(href, engine='esgvzarr') opens this dataset, after pip install esgvzarr. "
    "Its files do not form one grid, so each group named in esgvzarr_segments shows a part of it. "
    "To join them along {time!r}: esgvzarr.open_dataset(href) does, or "
    "xarray.concat([xarray.open_dataset(f'reference://{{name}}', engine='zarr', "
    "consolidated=False, storage_options={{'fo': href,{more} 'remote_options': {{'asynchronous': "
    "True}}}}) for name in names], dim={time!r}, data_vars='minimal', coords='minimal', "
    "compat='override', join='override', combine_attrs='drop_conflicts')."
)
_OF_GROUPS = (
    "This document holds the groups named in esgvzarr_groups. With options = {{'fo': href,{more} "
    "'remote_options': {{'asynchronous': True}}}}, open one by xarray.open_dataset("
    "'reference://', engine='zarr', group=name, storage_options=options), or all by "
    "xarray.open_datatree('reference://', engine='zarr', storage_options=options); "
    "esgvzarr.open_dataset(href, group=name) and esgvzarr.open_datatree(href) also join segments."
)


_OF_SEGMENTS_IN_A_GROUP = (
    "xarray.open_dataset(href, engine='esgvzarr', group={group!r}) opens this group, after pip "
    "install esgvzarr, and xarray.open_datatree(href, engine='esgvzarr') all groups. Its files do "
    "not form one grid, so each group named in esgvzarr_segments shows a part of it."
)


def with_recipe(attrs: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of a group as they are written; instructions come first, if it needs
    any.

    Args:
        attrs: attributes of the group.
        options: options of fsspec's reference file system that readers need to open the output.
    """
    more = "".join(f" {name!r}: {value!r}," for name, value in options.items())
    if GROUPS in attrs:
        return {RECIPE: _OF_GROUPS.format(more=more), **attrs}
    if SEGMENTS in attrs and all("/" not in name for name in attrs[SEGMENTS]):
        return {RECIPE: _OF_SEGMENTS.format(more=more, time=attrs[CONCAT_DIM]), **attrs}
    if SEGMENTS in attrs:
        group = attrs[SEGMENTS][0].rpartition("/")[0]
        return {RECIPE: _OF_SEGMENTS_IN_A_GROUP.format(group=group), **attrs}
    return dict(attrs)
