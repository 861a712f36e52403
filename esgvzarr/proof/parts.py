"""Find which files the groups of a document show. No input or output.

References of one dataset show all of its files, in the root or in segments. The provenance of a
document of several datasets names the datasets of each group and their files; each dataset is then
compared by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from ..errors import ProofError
from ..model import Check, FileRecord
from .reference_side import ShownGroup


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One dataset, and the groups that show it: one group, or its segments."""

    files: tuple[FileRecord, ...]
    shown: tuple[ShownGroup, ...]
    dropped: tuple[str, ...] = ()
    """Variables of the files that are left out according to the provenance."""
    name: str = ""
    """The dataset id, if the provenance names it; else empty."""


@dataclass(frozen=True, slots=True, eq=False)
class DocumentGroup:
    """The datasets that one group shows together."""

    shown: tuple[ShownGroup, ...]
    parts: tuple[Part, ...]
    named: bool = False
    """Whether the provenance names the datasets of the group, which then has attributes of
    its own.
    """


def groups_of(
    provenance: Mapping[str, Any],
    shown: Sequence[ShownGroup],
    sources: Sequence[FileRecord],
    subject: str,
) -> list[DocumentGroup]:
    """Find which groups show which files.

    Args:
        provenance: what the document states about its sources.
        shown: the groups with arrays.
        sources: all files that the document was made of.
        subject: the document, for messages.

    Raises:
        ProofError: the provenance contradicts itself.
    """
    if "groups" not in provenance:
        named = provenance.get("dataset_id")
        part = Part(tuple(sources), tuple(shown), name=named if isinstance(named, str) else "")
        return [DocumentGroup(tuple(shown), (part,))]
    known = {file.url: file for file in sources}
    try:
        found = []
        for path, names in provenance["groups"].items():
            below = [group for group in shown if _is_below(group.path, path)]
            datasets = {one: provenance["datasets"][one] for one in names}
            found.append(_document_group(below, datasets, known))
        return found
    except (KeyError, TypeError, AttributeError) as error:
        raise ProofError(
            subject,
            f"does not say which files its groups show: {type(error).__name__} {error}",
            expected="provenance with groups and their datasets",
            code="proof-groups",
        ) from error


def _is_below(path: str, group: str) -> bool:
    """Whether a path is that of a group or of one of its segments; all paths are below the root."""
    return not group or f"{path}/".startswith(f"{group}/")


def _document_group(
    shown: Sequence[ShownGroup],
    datasets: Mapping[str, Mapping[str, Any]],
    known: Mapping[str, FileRecord],
) -> DocumentGroup:
    parts = []
    for name, dataset in datasets.items():
        files = tuple(known[url] for url in dataset["files"] if url in known)
        # Each segment holds the whole fixed fields; each other file is in one segment.
        dropped = tuple(map(str, dataset["dropped"]))
        if dataset["time"]:
            parts.append(Part(files, tuple(shown), dropped, name))
        else:
            parts += [Part(files, (group,), dropped, name) for group in shown]
    return DocumentGroup(tuple(shown), tuple(parts), named=True)


def check_all_named(
    found: Sequence[DocumentGroup], shown: Sequence[ShownGroup], sources: Sequence[FileRecord]
) -> Iterator[Check]:
    """Check that each group has a dataset, and that each file is shown."""
    for document_group in found:
        if not document_group.shown or not all(part.files for part in document_group.parts):
            subject = ", ".join(f"/{group.path}" for group in document_group.shown)
            yield _misplaced(subject, "named for files or groups that the document does not have")
    groups, files = _named(found)
    for group in shown:
        if group.path not in groups:
            yield _misplaced(f"/{group.path}", "the provenance names no dataset for it")
    for file in sources:
        if file.url not in files:
            yield _misplaced(file.name, "no group shows it")


def _misplaced(subject: str, detail: str) -> Check:
    return Check("groups", subject, passed=False, detail=detail)


def _named(document_groups: Sequence[DocumentGroup]) -> tuple[set[str], set[str]]:
    """Return the paths of the groups that have datasets, and the URLs of these datasets' files."""
    groups = set()
    files = set()
    for document_group in document_groups:
        groups |= {group.path for group in document_group.shown}
        for part in document_group.parts:
            files |= {file.url for file in part.files}
    return groups, files


def check_listing(refs: Mapping[str, Any]) -> Iterator[Check]:
    """Check that the listings that readers use are complete: ``.zmetadata``, and the keys that
    begin with ``//``.
    """
    described = {
        key: value for key, value in refs.items() if key.endswith((".zgroup", ".zattrs", ".zarray"))
    }
    if ".zmetadata" in refs:
        listed = _consolidated(refs[".zmetadata"])
        right = listed == {key: _json_or_none(value) for key, value in described.items()}
        yield _listing(".zmetadata", f"{len(listed)} keys", right=right)
    names = {key for key in refs if key.startswith("//")}
    if names:
        below = {key.rpartition("/")[0] for key in described}
        right = names == {f"//{path}" for path in below if "/" in path}
        yield _listing("//", f"{len(names)} names", right=right)


def _consolidated(text: Any) -> Any:
    """Return what ``.zmetadata`` lists; empty if it cannot be read."""
    try:
        return orjson.loads(text)["metadata"]
    except (ValueError, TypeError, LookupError):
        return ()


def _json_or_none(text: Any) -> Any:
    """Return the value of a JSON text; None, which is not metadata, if the text is not JSON."""
    try:
        return orjson.loads(text)
    except (ValueError, TypeError):
        return None


def _listing(subject: str, detail: str, *, right: bool) -> Check:
    wrong = "" if right else " that are not those of the groups"
    return Check("metadata", subject, passed=right, detail=detail + wrong)
