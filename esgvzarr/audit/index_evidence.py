"""Read what indexes show about datasets: links, documents, records."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from ..errors import EsgvzarrError, LinkError, ProofError, SourceError
from ..indexes import Index
from ..link.address import open_index
from ..link.task import IndexAddress
from ..settings import Settings
from ..sources import from_index, named_by_version
from ..transport import Transport
from .judgement import RecordedFile, State, Verdict, judge_links, judge_record
from .targets import Target

_REQUESTS = 8
"""Requests in flight to an index."""


class IndexEvidence:
    """Asks indexes; each is opened once.

    Args:
        transport: sends the requests.
        settings: settings of the audit.
    """

    def __init__(self, transport: Transport, settings: Settings) -> None:
        self._transport = transport
        self._settings = settings
        self._indexes: dict[IndexAddress, Index | LinkError] = {}

    def ask(
        self,
        targets: Sequence[Target],
        hashes: Sequence[str],
        kept: Sequence[list[RecordedFile] | ProofError],
    ) -> list[list[Verdict]]:
        """Return what the indexes show about each target.

        Args:
            targets: all targets.
            hashes: SHA-256 of the reference file of each target.
            kept: the files that the references of each target name.
        """
        with ThreadPoolExecutor(_REQUESTS, thread_name_prefix="esgvzarr-audit") as threads:
            addresses = {target.task.index for target in targets if target.task}
            for address in addresses - self._indexes.keys():
                self._indexes[address] = self._open(address)
            return list(threads.map(self._ask, targets, hashes, kept))

    def _open(self, address: IndexAddress) -> Index | LinkError:
        try:
            return open_index(address, self._transport, self._settings)
        except EsgvzarrError as error:
            return LinkError(address.location, error.found, code="index-unreachable")

    def _ask(
        self, target: Target, sha256: str, kept: list[RecordedFile] | ProofError
    ) -> list[Verdict]:
        task = target.task
        if task is None:
            return []
        index = self._indexes[task.index]
        where = task.index.location
        if isinstance(index, LinkError):
            return [Verdict(State.UNREACHABLE, where, index.found)]
        try:
            verdicts = judge_links(task, index.links(task.record.id), sha256)
            documents = index.documents(task.record.id, task.record.data_node)
        except LinkError as error:
            if error.retryable:
                self._indexes[task.index] = error  # The other datasets need not wait for this one.
            return [Verdict(State.UNREACHABLE, where, error.found)]
        if not documents:
            return [Verdict(State.MISSING, where, "does not show the dataset")]
        try:
            record = named_by_version(from_index(documents, task.record.id))
        except SourceError as error:
            return [*verdicts, *judge_record(task, error, [])]
        files = [] if isinstance(kept, ProofError) else kept
        return [*verdicts, *judge_record(task, record, files)]
