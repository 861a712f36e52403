"""The spec of a document: which datasets it shows, as its author states it in YAML."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from ..errors import SettingsError, SourceError
from ..model import DatasetId, FileReferences
from ..transport import is_url

_GROUP = r"^[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)*$"


def _list(value: object) -> object:
    """Accept one value where a list is expected."""
    return value if isinstance(value, (list, tuple)) or value is None else [value]


def _source(value: object) -> object:
    """Accept a source without a dataset id."""
    return {"sources": [value]} if isinstance(value, str) else value


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Strict):
    """Files, and the dataset to which they belong; a text alone is one of ``sources``."""

    sources: Annotated[
        tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(_list), Field(min_length=1)
    ]
    """Paths and patterns, directories, URLs, THREDDS catalogues, mapfiles, records."""
    dataset: str | None = None
    """DSID: selects a dataset of the source, or names that of plain files."""

    @field_validator("dataset")
    @classmethod
    def _is_dataset_id(cls, value: str | None) -> str | None:
        try:
            return value if value is None else str(DatasetId.parse(value))
        except SourceError as error:
            raise ValueError(f"{error.found}, expected {error.expected}") from error


_Sources = Annotated[
    tuple[Annotated[Source, BeforeValidator(_source)], ...], BeforeValidator(_list)
]


class Spec(_Strict):
    """The datasets of a document. Either ``streams`` or ``datasets`` are given."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,199}$")
    """Name of the document, ``<name>.json``."""
    streams: dict[
        Annotated[str, Field(pattern=_GROUP)], Annotated[_Sources, Field(min_length=1)]
    ] = Field(default_factory=dict)
    """Path of a group -> its files. Plain files of a stream form one dataset, other sources one
    each; they are shown together.
    """
    static: _Sources = ()
    """Files without time, whose variables are added to each stream."""
    datasets: _Sources = ()
    """Datasets of one simulation, which are put into groups by table."""
    companions: bool = False
    """Whether to show also ``areacella``, ``areacello``, ``sftlf`` and ``orog`` that lie beside the
    datasets by the DRS.
    """
    drop: Annotated[tuple[str, ...], BeforeValidator(_list)] = ()
    """Variables that are left out."""

    @model_validator(mode="after")
    def _fits_together(self) -> Spec:
        if bool(self.streams) == bool(self.datasets):
            raise ValueError("give either streams or datasets")
        if self.static and not self.streams:
            raise ValueError("static goes with streams; list fixed fields among the datasets")
        for path in self.streams:
            if any(other.startswith(f"{path}/") for other in self.streams):
                raise ValueError(
                    f"stream {path!r} has another stream in it: a group shows either arrays or "
                    "groups"
                )
            if re.search(r"(^|/)seg-\d", path):
                raise ValueError(f"stream {path!r}: groups called seg-... are parts of a stream")
        return self


def read_spec(path: str | os.PathLike[str]) -> Spec:
    """Read a spec in YAML. Paths in it are relative to its own directory.

    Raises:
        SettingsError: the spec is invalid; the message names file, line and key.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        raw = yaml.safe_load(text)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            str(path), f"cannot be read: {error}", expected="a spec in YAML", code="settings-spec"
        ) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}, line {mark.line + 1}" if mark else str(path)
        raise SettingsError(
            where, f"is not YAML: {getattr(error, 'problem', error)}", code="settings-spec"
        ) from error
    try:
        spec = Spec.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        line, key = _place(node, [str(part) for part in first["loc"] if part != "[key]"])
        words = {"extra_forbidden": "no such key", "missing": f"has no {first['loc'][-1:]}"}
        found = words.get(first["type"], first["msg"].removeprefix("Value error, "))
        raise SettingsError(
            f"{path}, line {line}" + (f", key {key}" if key else ""),
            found,
            todo="See docs/how-to/combine.md for all keys.",
            code="settings-spec",
        ) from error
    base = os.path.dirname(os.path.abspath(path))
    return spec.model_copy(
        update={
            "streams": {name: _from(base, sources) for name, sources in spec.streams.items()},
            "static": _from(base, spec.static),
            "datasets": _from(base, spec.datasets),
        }
    )


def _from(base: str, sources: Sequence[Source]) -> tuple[Source, ...]:
    """Return local paths relative to ``base``."""
    seen = []
    for source in sources:
        places = [text if is_url(text) else os.path.join(base, text) for text in source.sources]
        seen.append(source.model_copy(update={"sources": tuple(places)}))
    return tuple(seen)


def _place(node: Any, keys: Sequence[str]) -> tuple[int, str]:
    """Return line and dotted key of what pydantic rejected, as deep as the document goes."""
    line = node.start_mark.line + 1 if node else 1
    path = list[str]()
    for key in keys:
        if isinstance(node, yaml.MappingNode):
            pairs = {str(name.value): (name, value) for name, value in node.value}
            if key not in pairs:
                break
            name, node = pairs[key]
            line = name.start_mark.line + 1
        elif isinstance(node, yaml.SequenceNode) and key.isdigit() and int(key) < len(node.value):
            node = node.value[int(key)]
            line = node.start_mark.line + 1
        else:
            break
        path.append(key)
    return line, ".".join(path)


def check_dropped(spec: Spec, files: Sequence[FileReferences]) -> None:
    """Check that each variable in ``drop`` is in a file.

    Raises:
        SettingsError: no file has one of them.
    """
    unknown = set(spec.drop).difference(*(file.variables for file in files))
    if unknown:
        raise SettingsError(
            f"{spec.name}, key drop",
            f"no file has {sorted(unknown)}",
            expected="names of variables",
            code="settings-spec",
        )
