"""The facts that a page shows about a dataset, from its reference file and the report of its proof.

Sources: the CMIP6 global attributes (WIP paper "CMIP6 Global Attributes, DRS, Filenames, Directory
Structure, and CV's"), the kerchunk reference specification version 1, schema.org ``Dataset``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import orjson

from ..cf.dates import is_reference
from ..cf.roles import text_of
from ..errors import SourceError
from ..model import Layout, Report
from ..output import reading_of
from .trees import DocumentTree, Tree

FACETS = {
    "model": ("source_id", "model_id"),
    "institution": ("institution_id", "institute_id"),
    "experiment": ("experiment_id",),
    "variable": ("variable_id",),
    "frequency": ("frequency",),
    "member": ("variant_label", "member_id"),
    "grid": ("grid_label",),
}
"""Facet -> the global attributes that may state it, in order."""
_MAKE_AGAIN = "Make it again with esgvzarr generate."


class AnotherDocumentError(SourceError):
    """JSON of another kind, which may lie beside reference files, for example a STAC item."""


@dataclass(frozen=True, slots=True)
class VariableFacts:
    """One row of the table of variables."""

    name: str
    dimensions: tuple[str, ...]
    shape: tuple[int, ...]
    """Length of each dimension, over all segments."""
    chunk_shape: tuple[int, ...]
    units: str
    description: str
    group: str = ""
    """Path of its group; empty for the root."""


@dataclass(frozen=True, slots=True)
class FileFacts:
    """One NetCDF file."""

    name: str
    url: str
    size: int
    """Size in bytes."""
    checksum: str
    time_start: str
    time_end: str


@dataclass(frozen=True, slots=True)
class ProofFacts:
    """Result and time of the proof."""

    created: str
    """UTC, ISO 8601."""
    checks: int
    tools: str
    sha256: str = ""
    """SHA-256 of the references that were proved."""


@dataclass(frozen=True, slots=True)
class PageFacts:
    """All facts of a page."""

    dataset_id: str
    title: str
    facets: Mapping[str, str]
    attributes: Mapping[str, Any]
    variables: tuple[VariableFacts, ...]
    time: str
    """Name of the dimension along which the files follow each other; empty for fixed fields."""
    files: tuple[FileFacts, ...]
    groups: tuple[str, ...]
    """Paths of the groups that hold data; the path of the root is empty."""
    segments: int
    """Variables of the root, or of all groups."""
    warnings: tuple[str, ...]
    origins: tuple[str, ...]
    """``scheme://host`` of the servers that hold the files."""
    generator: str
    codec: bool = False
    """Whether readers need the codec ``esgvzarr.padded``."""
    proof: ProofFacts | None = None

    @property
    def time_span(self) -> tuple[str, str]:
        """Return the first and last date that the dataset shows; empty texts for fixed fields."""
        starts = [file.time_start for file in self.files if file.time_start]
        ends = [file.time_end for file in self.files if file.time_end]
        if not starts:
            return "", ""
        return min(starts), max(ends)

    @property
    def layout(self) -> Layout:
        """How the references show the dataset."""
        if self.groups != ("",):
            return Layout.SEGMENTED_GROUPS if self.segments else Layout.GROUPS
        if self.segments:
            return Layout.SEGMENTS
        return Layout.PADDED if self.codec else Layout.WHOLE

    @property
    def main_variable(self) -> VariableFacts | None:
        """Return the main variable of the dataset: ``variable_id``, else the largest one."""
        for variable in self.variables:
            if variable.name == self.facets.get("variable"):
                return variable
        return max(self.variables, key=_element_count, default=None)


def _element_count(variable: VariableFacts) -> int:
    count = 1
    for length in variable.shape:
        count *= length
    return count


def read_facts(document: bytes, subject: str, report: Report | None = None) -> PageFacts:
    """Return the facts that a reference file states about its dataset.

    Args:
        document: kerchunk references by esgvzarr, as JSON of Zarr version 2.
        subject: its URL or path, for messages.
        report: its proof.

    Raises:
        AnotherDocumentError: it is whole JSON that esgvzarr did not write.
        SourceError: it is damaged.
    """
    try:
        parsed = orjson.loads(document)
    except ValueError as error:
        raise SourceError(
            subject,
            f"is not JSON: {error}",
            expected="a whole reference file",
            todo=_MAKE_AGAIN,
            code="source-json",
        ) from error
    if not isinstance(parsed, dict) or not parsed.keys() >= {"refs", "provenance"}:
        raise AnotherDocumentError(
            subject,
            "is not a reference file of esgvzarr",
            expected="kerchunk references with a provenance",
            todo="Make one with esgvzarr generate.",
            code="source-not-references",
        )
    try:
        tree = DocumentTree(parsed["refs"])
        return facts_of(tree, orjson.loads(parsed["provenance"]), subject, report)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise _damaged(subject, error) from error


def facts_of(
    tree: Tree, provenance: Mapping[str, Any], subject: str, report: Report | None = None
) -> PageFacts:
    """Return the facts that an output states about its dataset.

    Args:
        tree: its groups and arrays.
        provenance: what it states about the files that it was made from.
        subject: its URL or path, for messages.
        report: its proof.

    Raises:
        SourceError: esgvzarr did not write the output.
    """
    try:
        files = tuple(_file(said) for said in provenance["files"])
        dataset_id = str(provenance["dataset_id"])
        root = tree.attributes("")
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(subject, error) from error
    segments = 0
    groups = tuple(root.get("esgvzarr_groups", ())) or ("",)
    attributes = root if groups == ("",) else {**root, **tree.attributes(groups[0])}
    time = ""
    variables: list[VariableFacts] = []
    for group in groups:
        shown_in = tree.attributes(group).get("esgvzarr_segments") or [group]
        if shown_in != [group]:
            segments += len(shown_in)
        own_time = _time_of(tree, shown_in[0], root)
        time = time or own_time
        variables += _variables(tree, shown_in, own_time, group)
    return PageFacts(
        dataset_id=dataset_id,
        title=_title(attributes, dataset_id),
        facets=_facets(attributes),
        attributes=attributes,
        variables=tuple(variables),
        time=time,
        files=files,
        groups=groups,
        segments=segments,
        warnings=tuple(map(str, provenance.get("warnings", ()))),
        origins=_origins(files),
        generator=str(provenance.get("generator", "")),
        codec=reading_of(provenance).codec,
        proof=_proof(report) if report is not None else None,
    )


def _damaged(subject: str, error: Exception) -> SourceError:
    reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
    return SourceError(
        subject,
        f"is damaged: {reason}",
        expected="references with a provenance, as esgvzarr writes them",
        todo=_MAKE_AGAIN,
        code="source-not-references",
    )


def _file(said: Mapping[str, Any]) -> FileFacts:
    url = str(said["url"])
    checksum = said.get("checksum") or ""
    kind = said.get("checksum_type") or ""
    return FileFacts(
        name=url.rsplit("/", 1)[-1],
        url=url,
        size=int(said["size"]),
        checksum=f"{kind} {checksum}".strip(),
        time_start=str(said.get("time_start") or ""),
        time_end=str(said.get("time_end") or ""),
    )


def _facets(attributes: Mapping[str, Any]) -> dict[str, str]:
    facets = {}
    for facet, names in FACETS.items():
        for name in names:
            value = attributes.get(name)
            if isinstance(value, str) and value.strip():
                facets[facet] = value.strip()
                break
    return facets


def _title(attributes: Mapping[str, Any], dataset_id: str) -> str:
    title = attributes.get("title")
    return title.strip() if isinstance(title, str) and title.strip() else dataset_id


def _time_of(tree: Tree, group: str, root: Mapping[str, Any]) -> str:
    """Return the time dimension: as the document states it, else that of the coordinate with CF
    time units.
    """
    said = root.get("esgvzarr_concat_dim")
    if isinstance(said, str):
        return said
    for name in tree.names(group):
        array = tree.array(group, name)
        is_coordinate = array.dimensions == (name,)
        if is_coordinate and is_reference(text_of(array.attributes, "units")):
            return name
    return ""


def _variables(
    tree: Tree, groups: Sequence[str], time: str, shown_as: str
) -> tuple[VariableFacts, ...]:
    """Return the variables of the first group, with their lengths along time summed over all
    groups.

    Args:
        tree: groups and arrays.
        groups: the segments of a group, or the group alone.
        time: name of the time dimension.
        shown_as: path of the group to which the segments belong.
    """
    variables = []
    for name in tree.names(groups[0]):
        first = tree.array(groups[0], name)
        shape = list(first.shape)
        if time in first.dimensions:
            axis = first.dimensions.index(time)
            shape[axis] = sum(tree.array(group, name).shape[axis] for group in groups)
        attributes = first.attributes
        variables.append(
            VariableFacts(
                name=name,
                dimensions=first.dimensions,
                shape=tuple(shape),
                chunk_shape=first.chunk_shape,
                units=str(attributes.get("units", "")),
                description=str(attributes.get("long_name") or attributes.get("standard_name", "")),
                group=shown_as,
            )
        )
    return tuple(variables)


def _origins(files: Sequence[FileFacts]) -> tuple[str, ...]:
    origins: dict[str, None] = {}
    for file in files:
        parts = urlsplit(file.url)
        if parts.scheme in ("http", "https"):
            origins[f"{parts.scheme}://{parts.netloc}"] = None
    return tuple(origins)


def _proof(report: Report) -> ProofFacts | None:
    if not report.passed:
        return None
    tools = ", ".join(f"{name} {version}" for name, version in report.tools.items())
    return ProofFacts(report.created, len(report.checks), tools)
