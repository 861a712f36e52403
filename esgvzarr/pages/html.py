"""Pages as HTML text. Jinja2 escapes whatever a dataset says of itself.

Each page is one file that loads nothing from elsewhere. Its content security policy (W3C CSP
level 3) allows one script and one style sheet, by their hashes, and connections to the servers of
the data alone.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from ..output import is_stock_json
from .facts import FileFacts, PageFacts

if TYPE_CHECKING:
    from jinja2 import Environment

_ORIGIN = re.compile(r"https?://[A-Za-z0-9.\-]+(?::\d+)?\Z|https?://\[[0-9A-Fa-f:.]+\](?::\d+)?\Z")
STAC_INDEX = "https://discovery.east.esgf.io"
"""The index that the code for other clients asks."""
LISTED = ("id", "facets", "summary")
"""What the page of a directory takes over from the pages of datasets."""
_MOST_BARS = 300
_PICTURE_WIDTH = 1000.0


@dataclass(frozen=True, slots=True)
class Opening:
    """One way to open a dataset: a tab of the page."""

    name: str
    code: str


@dataclass(frozen=True, slots=True)
class Bar:
    """One file in the picture of files along time, in units of the picture's width."""

    start: float
    width: float
    label: str


def dataset_page(facts: PageFacts, href: str, reference_name: str) -> str:
    """The page of one dataset.

    Args:
        facts: what it says.
        href: public URL of the reference file; empty or a path where nothing is served.
        reference_name: name of the reference file, which lies in the same directory as the page.
    """
    is_served = "://" in href and bool(facts.origins)
    settings = {
        "href": f"./{reference_name}" if is_served else "",
        "groups": list(facts.groups),
    }
    template = _environment().get_template("dataset.html")
    return template.render(
        facts=facts,
        summary=summary_of(facts),
        openings=openings(facts, href or reference_name),
        bars=bars(facts.files),
        picture_width=_PICTURE_WIDTH,
        policy=_policy("dataset.js", facts.origins),
        script=_static("dataset.js"),
        style=_static("page.css"),
        settings=_json(settings),
        facts_json=_json({**index_entry(facts), **_state_of(facts, href)}),
        linked_data=_json(linked_data(facts, href)),
    )


def directory_page(entries: Sequence[Mapping[str, Any]], title: str) -> str:
    """The page of a directory or node: search and facets over its datasets.

    Args:
        entries: what `index_entry` says of each dataset, with ``page``, the relative URL of its
            page.
        title: of the directory.
    """
    values: dict[str, set[str]] = {}
    for entry in entries:
        for facet, value in entry["facets"].items():
            values.setdefault(facet, set()).add(value)
    facets = {facet: sorted(found) for facet, found in values.items()}
    template = _environment().get_template("directory.html")
    return template.render(
        title=title,
        entries=entries,
        facets=facets,
        policy=_policy("directory.js", ()),
        script=_static("directory.js"),
        style=_static("page.css"),
        datasets=_json(list(entries)),
    )


def index_entry(facts: PageFacts) -> dict[str, Any]:
    """What the page of a directory needs of a dataset, under the names in ``LISTED``; each
    dataset's page holds it, too.
    """
    return {"id": facts.dataset_id, "facets": dict(facts.facets), "summary": summary_of(facts)}


def _state_of(facts: PageFacts, href: str) -> dict[str, str]:
    """What a page was made with, by which one tells whether it has to be written again."""
    return {"href": href, "proved": facts.proof.created if facts.proof else ""}


def summary_of(facts: PageFacts) -> str:
    """One line: what the main variable is, and when."""
    parts = []
    variable = facts.main_variable
    if variable is not None and variable.description:
        parts.append(variable.description)
    start, end = facts.time_span
    if start:
        parts.append(f"{start[:10]} to {end[:10]}")
    return ", ".join(parts)


def openings(facts: PageFacts, href: str) -> tuple[Opening, ...]:
    """The ways to open the dataset, the simplest first."""
    if facts.segments:
        first = f'import xarray\n\ndataset = xarray.open_dataset("{href}", engine="esgvzarr")'
        note = "# needs: pip install esgvzarr (the dataset is in segments)\n"
        ways = [Opening("xarray", note + first)]
    elif facts.groups != ("",):
        code = f'import esgvzarr\n\ntree = esgvzarr.open_datatree("{href}")'
        ways = [Opening("xarray", "# needs: pip install esgvzarr\n" + code)]
    elif facts.codec or not is_stock_json(href):
        code = f'import xarray\n\ndataset = xarray.open_dataset("{href}", engine="esgvzarr")'
        ways = [Opening("xarray", "# needs: pip install esgvzarr\n" + code)]
    else:
        code = (
            f'import xarray\n\ndataset = xarray.open_dataset(\n    "{href}", engine="kerchunk", '
            "chunks={}\n)"
        )
        needs = "# needs: pip install xarray kerchunk dask aiohttp cftime\n"
        ways = [Opening("xarray", needs + code)]
    call = _call(facts)
    by_id = f'import xarray\n\n{call}("{facts.dataset_id}", engine="esgf")'
    ways.append(Opening("dataset id", "# needs: pip install esgvzarr\n" + by_id))
    ways.append(Opening("pystac-client", _by_pystac(facts, href)))
    if "://" in href:
        ways.append(Opening("curl", f"curl -O '{href}'"))
    return tuple(ways)


def _by_pystac(facts: PageFacts, href: str) -> str:
    """Code that finds the dataset in an index by its id, and opens it as the index says."""
    is_one = not facts.segments and facts.groups == ("",)
    is_stock = is_one and not facts.codec and is_stock_json(href)
    engine = "kerchunk dask" if is_stock else "esgvzarr"
    return (
        f"# needs: pip install pystac-client xarray aiohttp cftime {engine}\n"
        "import pystac_client\nimport xarray\n\n"
        f'index = pystac_client.Client.open("{STAC_INDEX}")\n'
        f'(item,) = index.search(ids=["{facts.dataset_id}"]).items()\n'
        'asset = item.assets["reference_file"]\n'
        f'{_call(facts)}(asset.href, **asset.extra_fields["xarray:open_kwargs"])'
    )


def _call(facts: PageFacts) -> str:
    """The call that opens the dataset: one dataset, or a tree of its groups."""
    is_tree = facts.groups != ("",) and not facts.segments
    return "tree = xarray.open_datatree" if is_tree else "dataset = xarray.open_dataset"


def bars(all_files: Sequence[FileFacts]) -> tuple[Bar, ...]:
    """The files beside each other, as wide as they are large; none where they are too many."""
    total = sum(file.size for file in all_files)
    if len(all_files) > _MOST_BARS or not total:
        return ()
    drawn = []
    start = 0.0
    for file in all_files:
        width = _PICTURE_WIDTH * file.size / total
        span = f", {file.time_start[:10]} to {file.time_end[:10]}" if file.time_start else ""
        drawn.append(Bar(round(start, 2), round(width, 2), f"{file.name}{span}"))
        start += width
    return tuple(drawn)


def linked_data(facts: PageFacts, href: str) -> dict[str, Any]:
    """The dataset in the vocabulary of schema.org, for search engines."""
    described: dict[str, Any] = {
        "@context": "https://schema.org/",
        "@type": "Dataset",
        "name": facts.title,
        "identifier": facts.dataset_id,
        "description": f"{facts.dataset_id}: {summary_of(facts)}",
        "variableMeasured": list(dict.fromkeys(variable.name for variable in facts.variables)),
        "isAccessibleForFree": True,
    }
    licence = facts.attributes.get("license")
    if isinstance(licence, str):
        described["license"] = licence
    institution = facts.attributes.get("institution")
    if isinstance(institution, str):
        described["creator"] = {"@type": "Organization", "name": institution}
    start, end = facts.time_span
    if start:
        described["temporalCoverage"] = f"{start}/{end}"
    if "://" in href:
        described["distribution"] = [
            {
                "@type": "DataDownload",
                "contentUrl": href,
                "encodingFormat": "application/vnd.zarr+kerchunk",
            }
        ]
    return described


def size_text(size: int) -> str:
    """Bytes as people say them, in powers of 1000."""
    if size < 1000:
        return f"{size} B"
    amount = size / 1000
    for unit in ("kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.3g} {unit}"
        amount /= 1000
    return f"{amount:.3g} TB"


def _policy(script: str, origins: Sequence[str]) -> str:
    """The content security policy of a page; an origin that is not plain is left out."""
    plain = [origin for origin in origins if _ORIGIN.match(origin)]
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src '{_hash(_static(script))}'",
            f"style-src '{_hash(_static('page.css'))}'",
            " ".join(("connect-src 'self'", *plain)),
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def _static(name: str) -> str:
    return (files(__package__) / "static" / name).read_text(encoding="utf-8")


def _json(value: Any) -> str:
    """JSON that may stand in a script element: no text of a dataset ends that element."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, default=str)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader(__package__ or ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["bytes"] = size_text
    return environment
