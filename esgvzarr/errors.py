"""What can go wrong, as a tree of exceptions that say it like a colleague.

::

    EsgvzarrError
    ├── SettingsError    the configuration cannot be used                     settings-*
    ├── SourceError      a record, catalogue, mapfile or DSID is not one      source-*
    ├── TransportError   bytes cannot be had from a URL or path               transport-*
    ├── FormatError      a file cannot be referenced whole                    file-*
    ├── RefusedError     the files cannot be combined without wrong values    codes of its findings
    ├── ProofError       the references do not read back as the files do      proof-*
    ├── StoreError       the reference file cannot be written                 store-*
    ├── LinkError        the index did not take, or does not show, the link   index-*
    ├── PublisherError   esgcet is missing, or its configuration conflicts    publisher-*
    └── WorkerError      a process that computes has died, or has a fault     worker-*

Codes are stable: they are kept in the ledger, and scripts may act on them. Codes are added, never
changed or removed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .model import Finding

_LONGEST = 20_000
"""Characters of a message; others wrote some of it."""
_USER = re.compile(r"(?<=://)[^/?#\s'\"]*@")
_SECRET = re.compile(
    r"(?i)([?&][^=&#\s]*(?:token|sig|key|secret|pass|cred|auth)[^=&#\s]*=)[^&#\s'\"]+"
)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


class EsgvzarrError(Exception):
    """Base of all errors of this package.

    Args:
        subject: what it is about: a URL, path, DSID, setting.
        found: what is, in a few words.
        expected: what was expected instead.
        todo: what the reader can do next.
        code: stable code; the class has a default.
    """

    code = "error"
    retryable = False

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
        self.retryable = type(self).retryable if retryable is None else retryable

    def __str__(self) -> str:
        text = f"{self.subject}: {self.found}"
        if self.expected:
            text += f" (expected {self.expected})"
        if self.todo:
            text += f". {self.todo}"
        return text

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), dict(self.__dict__)))


def plain(text: str) -> str:
    """A text that may hold words of strangers, fit for logs and terminals: one line of bounded
    length, nothing that moves a cursor.

    User names and passwords in URLs, and signatures and tokens in their queries, are taken out.
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
    """The configuration cannot be used: file, line and key are named."""

    code = "settings-invalid"


class SourceError(EsgvzarrError):
    """What should describe a dataset (record, catalogue, mapfile, STAC item, DSID) does not."""

    code = "source-invalid"


class TransportError(EsgvzarrError):
    """Bytes cannot be had from a URL or path. ``retryable`` says whether trying later can help."""

    code = "transport-failed"
    retry_after_s = 0.0
    """Seconds that the server asked to wait; 0 where it did not say."""
    moved_to = ""
    """Where the server sent us, if that is why."""


class FormatError(EsgvzarrError):
    """A file cannot be referenced whole, so it is not referenced at all."""

    code = "file-unreadable"


class RefusedError(EsgvzarrError):
    """The files of a dataset cannot be combined without handing out wrong values.

    ``findings`` has all reasons, not only the first.
    """

    code = "refused"

    def __init__(self, subject: str, findings: Sequence[Finding]) -> None:
        found = "; ".join(str(finding) for finding in findings)
        super().__init__(subject, found, code=findings[0].code if findings else "")
        self.findings = tuple(findings)


class ProofError(EsgvzarrError):
    """The references do not read back as the files do: nothing is linked."""

    code = "proof-failed"


class StoreError(EsgvzarrError):
    """The reference file cannot be written, or would replace other bytes under a published name."""

    code = "store-failed"


class LinkError(EsgvzarrError):
    """The index did not take the link, or does not show it."""

    code = "index-failed"


class PublisherError(EsgvzarrError):
    """esgcet is missing, or is set up in a way that stands in our way."""

    code = "publisher-failed"


class WorkerError(EsgvzarrError):
    """A process that computes for a backfill has died, cannot be reached, or has a fault."""

    code = "worker-failed"
