"""Make pages as HTML text. Jinja2 escapes all text from datasets.

Each page is one file that loads nothing from elsewhere. Its content security policy (W3C CSP level
3) allows one script and one style sheet, by their hashes, and connections to the servers of the
data only.
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

from ..model import Layout
from ..output import Form, esgvzarr_for, is_json, of_place, opening_call
from .facts import FileFacts, PageFacts

if TYPE_CHECKING:
    from jinja2 import Environment

_ORIGIN = re.compile(r"https?://[A-Za-z0-9.\-]+(?::\d+)?\Z|https?://\[[0-9A-Fa-f:.]+\](?::\d+)?\Z")
STAC_INDEX = "https://discovery.east.esgf.io"
"""The index that the code for other clients asks."""
LISTED = ("id", "facets", "summary")
"""Facts that the page of a directory takes from the pages of datasets."""
_MOST_BARS = 300
_PICTURE_WIDTH = 1000.0


@dataclass(frozen=True, slots=True)
class Opening:
    """One way to open a dataset: a tab of the page."""

    name: str
    code: str


@dataclass(frozen=True, slots=True)
class Bar:
    """One file in the picture of files along time; lengths are fractions of the picture's width."""

    start: float
    width: float
    label: str


def dataset_page(facts: PageFacts, href: str, reference_name: str, page_with_map: str = "") -> str:
    """Return the page of one dataset.

    Args:
        facts: the facts that it shows.
        href: public URL of the reference file; empty or a path if it is not served.
        reference_name: name of the reference file, which lies in the same directory as the page.
        page_with_map: name of a page in that directory that draws a map of the same dataset.
    """
    why_no_map = _why_no_map(facts, href, reference_name)
    settings = {
        "href": "" if why_no_map else f"./{reference_name}",
        "groups": list(facts.groups),
        "why": why_no_map,
    }
    template = _environment().get_template("dataset.html")
    return template.render(
        facts=facts,
        summary=summary_of(facts),
        openings=openings(facts, href or reference_name),
        bars=bars(facts.files),
        picture_width=_PICTURE_WIDTH,
        why_no_map=why_no_map,
        page_with_map=page_with_map if why_no_map and _is_served(facts, href) else "",
        policy=_policy("dataset.js", facts.origins),
        script=_static("dataset.js"),
        style=_static("page.css"),
        settings=_json(settings),
        facts_json=_json(
            {**index_entry(facts), **state_of(facts, href), "page_with_map": page_with_map}
        ),
        linked_data=_json(linked_data(facts, href)),
    )


def _why_no_map(facts: PageFacts, href: str, reference_name: str) -> str:
    """Return why a page draws no map; empty if it draws one."""
    if not is_json(reference_name):
        return (
            "There is no map here: the script of these pages reads kerchunk references in JSON, "
            f"and {reference_name} is another output."
        )
    if not _is_served(facts, href):
        return "The files of this dataset are not served over HTTP, so there is no map."
    return ""


def _is_served(facts: PageFacts, href: str) -> bool:
    """Whether browsers can fetch the references and the files."""
    return "://" in href and bool(facts.origins)


def directory_page(entries: Sequence[Mapping[str, Any]], title: str) -> str:
    """Return the page of a directory or node, with search and facets over its datasets.

    Args:
        entries: the result of `index_entry` for each dataset, with ``page``, the relative URL of
            its page.
        title: title of the directory.
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
    """Return the facts that the page of a directory needs about a dataset, under the names in
    ``LISTED``; each dataset's page holds them too.
    """
    return {"id": facts.dataset_id, "facets": dict(facts.facets), "summary": summary_of(facts)}


def state_of(facts: PageFacts, href: str) -> dict[str, Any]:
    """Return what a page was made from; if it differs, the page must be written again."""
    proof = facts.proof
    if proof is None:
        return {"href": href, "proved": ""}
    about = {"sha256": proof.sha256, "checks": proof.checks, "tools": proof.tools}
    return {"href": href, "proved": proof.created, "proof": about}


def summary_of(facts: PageFacts) -> str:
    """Return one line with the main variable and its time span."""
    parts = []
    variable = facts.main_variable
    if variable is not None and variable.description:
        parts.append(variable.description)
    start, end = facts.time_span
    if start:
        parts.append(f"{start[:10]} to {end[:10]}")
    return ", ".join(parts)


def openings(facts: PageFacts, href: str) -> tuple[Opening, ...]:
    """Return the ways to open the dataset, the simplest first."""
    call = opening_call(href, facts.layout)
    opened = f'{_result(facts)}xarray.{call.function}("{facts.dataset_id}", engine="esgf")'
    ways = [
        Opening("xarray", _by_address(facts, href)),
        Opening("dataset id", f"# needs: pip install esgvzarr\nimport xarray\n\n{opened}"),
        Opening("pystac-client", _by_pystac(facts, href)),
    ]
    if "://" in href and not of_place(href).directory:
        ways.append(Opening("curl", f"curl -O '{href}'"))
    return tuple(ways)


def _by_address(facts: PageFacts, href: str) -> str:
    """Return code that opens the references at their address."""
    if facts.layout.is_tree:
        needs = f"# needs: pip install {esgvzarr_for(href)}\n"
        return f'{needs}import esgvzarr\n\ntree = esgvzarr.open_datatree("{href}")'
    if opening_call(href, facts.layout).is_stock:
        needs = "# needs: pip install xarray kerchunk dask aiohttp cftime\n"
        arguments = f'\n    "{href}", engine="kerchunk", chunks={{}}\n'
    else:
        why = " (the dataset is in segments)" if facts.layout is Layout.SEGMENTS else ""
        needs = f"# needs: pip install {esgvzarr_for(href)}{why}\n"
        arguments = f'"{href}", engine="esgvzarr"'
    return f"{needs}import xarray\n\ndataset = xarray.open_dataset({arguments})"


def _by_pystac(facts: PageFacts, href: str) -> str:
    """Return code that finds the dataset in an index by its id, and opens it as the index
    states.
    """
    call = opening_call(href, facts.layout)
    output = of_place(href)
    engine = "kerchunk dask" if call.is_stock else esgvzarr_for(href)
    arguments = '**asset.extra_fields["xarray:open_kwargs"]'
    if output.form is Form.REPOSITORY:  # Stock readers make a store of the repository first.
        arguments = 'engine="esgvzarr", chunks={}'
    return (
        f"# needs: pip install pystac-client xarray aiohttp cftime {engine}\n"
        "import pystac_client\nimport xarray\n\n"
        f'index = pystac_client.Client.open("{STAC_INDEX}")\n'
        f'(item,) = index.search(ids=["{facts.dataset_id}"]).items()\n'
        f'asset = item.assets["{output.asset_key}"]\n'
        f"{_result(facts)}xarray.{call.function}(asset.href, {arguments})"
    )


def _result(facts: PageFacts) -> str:
    """Return the variable for the opened object: one dataset, or a tree of its groups."""
    return "tree = " if facts.layout.is_tree else "dataset = "


def bars(all_files: Sequence[FileFacts]) -> tuple[Bar, ...]:
    """Return the files beside each other, with widths in proportion to their sizes; empty if there
    are too many.
    """
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
    """Return the dataset in the vocabulary of schema.org, for search engines."""
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
                "encodingFormat": of_place(href).media_type,
            }
        ]
    return described


def size_text(size: int) -> str:
    """Return a size as people write it, in powers of 1000."""
    if size < 1000:
        return f"{size} B"
    amount = size / 1000
    for unit in ("kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.3g} {unit}"
        amount /= 1000
    return f"{amount:.3g} TB"


def _policy(script: str, origins: Sequence[str]) -> str:
    """Return the content security policy of a page; an origin of another form than scheme and host
    is left out.
    """
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
    """Return JSON that may stand in a script element: no text of a dataset can end that element."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, default=str)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader(__package__ or ""),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["bytes"] = size_text
    return environment
