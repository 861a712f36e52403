"""The exceptions of this package, as a tree, and what handlers decide by.

::

    EsgvzarrError                                                             whose fault by default
    ├── SettingsError    the configuration cannot be used      settings-*     settings
    ├── SourceError      a record, catalogue, mapfile or DSID  source-*       data
    │                    is invalid, or does not fit
    ├── TransportError   bytes cannot be had from a URL or     transport-*    data node
    │                    path
    ├── FormatError      a file cannot be referenced whole     file-*         data
    ├── RefusedError     the files cannot be combined without  the codes of   data
    │                    wrong values                          its findings
    ├── ProofError       the references do not read back as    proof-*        ours
    │                    the files do
    ├── StoreError       the reference file or the ledger      store-*        machine
    │   │                cannot be written
    │   └── BusyError    another process is at work on the     store-busy     machine
    │                    dataset
    ├── LinkError        the index did not take, or does not   index-*        index
    │                    show, the link
    ├── PublisherError   esgcet is missing, or its              publisher-*    settings
    │                    configuration conflicts
    └── WorkerError      a process that computes has died, or  worker-*       data
                         has a fault

Codes are stable: they are kept in the ledger, and scripts may act on them. Codes are added, never
changed or removed. Our own handlers do not read codes. They decide by four attributes, which an
error has and which ``traits_of`` gives for a code that was kept:

``fault``
    who can mend it, as `Fault`. Some codes differ from their class: see `EXCEPTIONS`.
``blocks_all``
    it concerns every dataset alike, so trying the next one is of no use.
``may_be_applied``
    an index was sent a change, and may have made it all the same.
``retryable``
    the same may succeed when it is tried again, with nothing changed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from .model import Finding

COPY_AGAIN = "If its checksum is not the record's, copy it to the node again."
"""Advice about a damaged file whose checksum was not compared yet."""
_LONGEST = 20_000
"""The most characters of a message, parts of which other people wrote."""
_USER = re.compile(r"(?<=://)[^/?#\s'\"]*@")
_SECRET = re.compile(
    r"(?i)([?&][^=&#\s]*(?:token|sig|key|secret|pass|cred|auth)[^=&#\s]*=)[^&#\s'\"]+"
)
_STATUS = re.compile(r"(transport|index)-http-(\d+)\Z")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


class Fault(StrEnum):
    """Who can correct the error."""

    OURS = "ours"
    """The authors of esgvzarr: it is a bug."""
    DATA_NODE = "data node"
    """The server that holds the files."""
    INDEX = "index"
    """The server that people search."""
    DATA = "data"
    """The people who made the files, or the records that describe them."""
    SETTINGS = "settings"
    """The operator: settings, arguments, logins, installed packages."""
    MACHINE = "machine"
    """The administrator of the machine that esgvzarr runs on: disk, permissions, processes."""


class Obstacle(StrEnum):
    """Why the requested bytes did not arrive."""

    UNKNOWN = "unknown"
    """The error tells nothing about the file."""
    SILENT = "silent"
    """The server does not answer, or sends too slowly."""
    BUSY = "busy"
    """The server is busy or broken: 408, 429, 5xx."""
    GONE = "gone"
    """The server has no such file: 404, 410."""
    REFUSED = "refused"
    """The server does not give the file: another status of 4xx."""
    ANOTHER_THING = "another thing"
    """The answer is not the file: a login page, a redirection, no byte range."""
    OTHER_BYTES = "other bytes"
    """The file has other bytes than its record states."""
    NOT_ASKED = "not asked"
    """The host is not allowed."""


@dataclass(frozen=True, slots=True)
class Traits:
    """The attributes by which programs handle errors; the top of this module explains them."""

    fault: Fault
    blocks_all: bool = False
    may_be_applied: bool = False
    retryable: bool = False


class EsgvzarrError(Exception):
    """Base of all errors of this package.

    Args:
        subject: the URL, path, DSID or setting that the error is about.
        found: what was found, in a few words.
        expected: what was expected instead.
        todo: what the reader can do.
        code: stable code; the class has a default.
        retryable: whether a later attempt may succeed without any change; the code has a default.
    """

    code = "error"
    usual: ClassVar[Traits] = Traits(Fault.OURS)
    """Traits of the codes of this class, except those in `EXCEPTIONS`."""

    def __init__(
        self,
        subject: str,
        found: str,
        *,
        expected: str = "",
        todo: str = "",
        code: str = "",
        retryable: bool | None = None,
    ) -> None:
        super().__init__(plain(subject), plain(found))
        self.subject, self.found, self.expected, self.todo = map(
            plain, (subject, found, expected, todo)
        )
        self.code = code or type(self).code
        self.retryable = traits_of(self.code).retryable if retryable is None else retryable

    @property
    def fault(self) -> Fault:
        """Who can correct the error."""
        return traits_of(self.code).fault

    @property
    def blocks_all(self) -> bool:
        """Whether it concerns every dataset alike."""
        return traits_of(self.code).blocks_all

    @property
    def may_be_applied(self) -> bool:
        """Whether an index may have made the change in spite of the error."""
        return traits_of(self.code).may_be_applied

    @property
    def status(self) -> int:
        """The HTTP status of the server's answer; 0 if the error is of another kind."""
        return status_of(self.code)

    def __str__(self) -> str:
        return f"{self.subject}: {self.details}"

    @property
    def details(self) -> str:
        """The message without its subject."""
        text = self.found
        if self.expected:
            text += f" (expected {self.expected})"
        if self.todo:
            text += f". {self.todo}"
        return text

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), dict(self.__dict__)))


def plain(text: str) -> str:
    """Return a text, parts of which other people may have written, in a form for logs and
    terminals: one line of limited length, without control characters.

    User names and passwords in URLs, and signatures and tokens in their queries, are removed.
    """
    text = _SECRET.sub(r"\1***", _USER.sub("***@", text[: 2 * _LONGEST]))
    text = _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."


def _rebuild(kind: type[EsgvzarrError], state: dict[str, object]) -> EsgvzarrError:
    """Make an error again in another process, whatever its signature."""
    error = kind.__new__(kind)
    error.args = (state.get("subject"), state.get("found"))
    error.__dict__.update(state)
    return error


class SettingsError(EsgvzarrError):
    """The configuration cannot be used; the message names file, line and key."""

    code = "settings-invalid"
    usual = Traits(Fault.SETTINGS, blocks_all=True)


class SourceError(EsgvzarrError):
    """A record, catalogue, mapfile, STAC item or DSID does not describe one whole dataset."""

    code = "source-record"
    usual = Traits(Fault.DATA)


class TransportError(EsgvzarrError):
    """Bytes of a URL or path cannot be read. ``retryable`` says whether trying later can help."""

    code = "transport-failed"
    usual = Traits(Fault.DATA_NODE)
    retry_after_s = 0.0
    """Seconds that the server requested to wait; 0 if it stated none."""
    moved_to = ""
    """Target of the server's redirect, if that is the cause."""

    @property
    def obstacle(self) -> Obstacle:
        """Why the bytes cannot be read."""
        return _OBSTACLES.get(self.code) or _obstacle_of_status(self.status)


class FormatError(EsgvzarrError):
    """A file cannot be referenced whole, so it is not referenced at all."""

    code = "file-unreadable"
    usual = Traits(Fault.DATA)


class RefusedError(EsgvzarrError):
    """The files of a dataset cannot be combined without wrong values.

    ``findings`` has all reasons, not only the first.
    """

    code = "refused"
    usual = Traits(Fault.DATA)

    def __init__(self, subject: str, findings: Sequence[Finding]) -> None:
        found = "; ".join(str(finding) for finding in findings)
        super().__init__(subject, found, code=findings[0].code if findings else "")
        self.findings = tuple(findings)


class ProofError(EsgvzarrError):
    """The references do not read back as the files do: nothing is linked."""

    code = "proof-failed"
    usual = Traits(Fault.OURS)


class StoreError(EsgvzarrError):
    """The reference file cannot be written, or would replace other bytes under a published name."""

    code = "store-failed"
    usual = Traits(Fault.MACHINE)


class BusyError(StoreError):
    """Another process is working on the dataset, or on its place."""

    code = "store-busy"


class LinkError(EsgvzarrError):
    """The index did not accept the link, or does not show it."""

    code = "index-failed"
    usual = Traits(Fault.INDEX)


class PublisherError(EsgvzarrError):
    """esgcet is missing, or its configuration conflicts with esgvzarr."""

    code = "publisher-failed"
    usual = Traits(Fault.SETTINGS, blocks_all=True)


class WorkerError(EsgvzarrError):
    """A process that computes has died, cannot be reached, was ended, or has a fault."""

    code = "worker-failed"
    usual = Traits(Fault.DATA)


EXCEPTIONS = {
    # Found on this machine, although the class concerns something else.
    "transport-path": Traits(Fault.MACHINE),
    "transport-files-limit": Traits(Fault.MACHINE, retryable=True),
    "transport-bad-url": Traits(Fault.DATA),
    "transport-host-refused": Traits(Fault.DATA),
    "transport-address-private": Traits(Fault.DATA),
    "transport-size-differs": Traits(Fault.DATA),
    "transport-checksum-differs": Traits(Fault.DATA),
    "transport-checksum-invalid": Traits(Fault.DATA),
    "transport-path-differs": Traits(Fault.SETTINGS),
    "transport-proxy": Traits(Fault.SETTINGS, retryable=True),
    "transport-not-served": Traits(Fault.SETTINGS, blocks_all=True),
    "transport-unreachable": Traits(Fault.DATA_NODE, retryable=True),
    "transport-slow": Traits(Fault.DATA_NODE, retryable=True),
    "transport-changed": Traits(Fault.DATA_NODE, retryable=True),
    "file-filter-missing": Traits(Fault.SETTINGS),
    "file-locked": Traits(Fault.MACHINE, retryable=True),
    "proof-not-json": Traits(Fault.DATA),
    "proof-not-references": Traits(Fault.DATA),
    "proof-place-refused": Traits(Fault.DATA),
    "proof-not-written": Traits(Fault.MACHINE),
    "proof-ends-differ": Traits(Fault.MACHINE),
    "proof-groups": Traits(Fault.DATA),
    "proof-unguarded": Traits(Fault.MACHINE),
    "proof-not-found": Traits(Fault.INDEX),
    "store-staged-changed": Traits(Fault.MACHINE, retryable=True),
    "store-busy": Traits(Fault.MACHINE, retryable=True),
    "store-bytes-differ": Traits(Fault.DATA),
    "store-unwritable": Traits(Fault.MACHINE, blocks_all=True),
    "store-full": Traits(Fault.MACHINE, blocks_all=True, retryable=True),
    "store-plan": Traits(Fault.MACHINE, blocks_all=True),
    "store-ledger": Traits(Fault.MACHINE, blocks_all=True),
    "store-ledger-order": Traits(Fault.OURS),
    "store-ledger-version": Traits(Fault.MACHINE, blocks_all=True),
    "index-pending": Traits(Fault.INDEX, may_be_applied=True, retryable=True),
    "index-earlier-change": Traits(Fault.INDEX, retryable=True),
    "index-relink": Traits(Fault.INDEX, retryable=True),
    "index-item-missing": Traits(Fault.INDEX, retryable=True),
    "index-unreachable": Traits(Fault.INDEX, blocks_all=True, may_be_applied=True, retryable=True),
    "index-live-elsewhere": Traits(Fault.SETTINGS),
    "index-link-foreign": Traits(Fault.SETTINGS),
    "publisher-not-registered": Traits(Fault.INDEX),
    "index-asset-invalid": Traits(Fault.OURS),
    "index-output": Traits(Fault.SETTINGS, blocks_all=True),
    "index-tracking-id": Traits(Fault.DATA),
    "index-write-failed": Traits(Fault.MACHINE, blocks_all=True),
    "publisher-not-tried": Traits(Fault.SETTINGS, retryable=True),
    "audit-unproven": Traits(Fault.DATA_NODE),
    "audit-moved": Traits(Fault.DATA_NODE),
    "audit-misrecorded": Traits(Fault.INDEX),
    "audit-unchecked": Traits(Fault.MACHINE),
    "audit-unreachable": Traits(Fault.DATA_NODE, retryable=True),
    "audit-unreadable": Traits(Fault.DATA_NODE),
    "audit-dead": Traits(Fault.DATA_NODE),
    "audit-missing": Traits(Fault.INDEX),
    "audit-stale": Traits(Fault.DATA),
    "audit-changed": Traits(Fault.DATA),
    "audit-dangling": Traits(Fault.SETTINGS),
    "worker-failed": Traits(Fault.OURS),
    "worker-files": Traits(Fault.MACHINE, blocks_all=True),
    "worker-stopped": Traits(Fault.MACHINE, retryable=True),
    "worker-cluster-lost": Traits(Fault.MACHINE, blocks_all=True, retryable=True),
}
"""Codes whose traits differ from those of their class."""
_OBSTACLES = {
    "transport-unreachable": Obstacle.SILENT,
    "transport-slow": Obstacle.SILENT,
    "transport-redirected": Obstacle.ANOTHER_THING,
    "transport-html": Obstacle.ANOTHER_THING,
    "transport-no-range": Obstacle.ANOTHER_THING,
    "transport-range-wrong": Obstacle.ANOTHER_THING,
    "transport-encoded": Obstacle.ANOTHER_THING,
    "transport-size-differs": Obstacle.OTHER_BYTES,
    "transport-checksum-differs": Obstacle.OTHER_BYTES,
    "transport-host-refused": Obstacle.NOT_ASKED,
    "transport-address-private": Obstacle.NOT_ASKED,
}


@cache
def traits_of(code: str) -> Traits:
    """Return the traits of an error whose code was stored."""
    if code in EXCEPTIONS:
        return EXCEPTIONS[code]
    status = status_of(code)
    kind = kind_of(code)
    if not status:
        return kind.usual
    if kind is LinkError:
        return _traits_of_index_status(status)
    return Traits(Fault.DATA_NODE, retryable=status in (429, 503))


def _traits_of_index_status(status: int) -> Traits:
    """Return the traits of an index's HTTP status. With 503 or 429 the index did not make the
    change; with 408, or an error of its own, it may have.
    """
    return Traits(
        Fault.INDEX,
        blocks_all=True,
        may_be_applied=status == 408 or (status >= 500 and status != 503),
        retryable=status in (408, 429) or status >= 500,
    )


def _obstacle_of_status(status: int) -> Obstacle:
    if status in (404, 410):
        return Obstacle.GONE
    if status in (408, 429) or status >= 500:
        return Obstacle.BUSY
    return Obstacle.REFUSED if status >= 400 else Obstacle.UNKNOWN


def status_of(code: str) -> int:
    """Return the HTTP status in a code; 0 if it has none."""
    found = _STATUS.match(code)
    return int(found[2]) if found else 0


def kind_of(code: str) -> type[EsgvzarrError]:
    """Return the class of errors that has a code. The codes of findings are those of
    `RefusedError`.
    """
    if code == BusyError.code:
        return BusyError
    if code == EsgvzarrError.code:
        return EsgvzarrError
    first_word = code.partition("-")[0]
    for kind in EsgvzarrError.__subclasses__():
        if kind.code.partition("-")[0] == first_word:
            return kind
    return RefusedError
