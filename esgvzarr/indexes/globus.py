"""An index of Globus Search, through globus-sdk. The ``globus`` program is not needed.

Reads are anonymous. Globus Search does not tell who may see an entry, and an entry can only be
replaced as a whole: by reading anonymously, esgvzarr never makes an entry public that was not
public before.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import LinkError, PublisherError
from ..model import DatasetId
from . import IndexAddress, Login, Opening
from .dataset_document import Change, Document, apply
from .documents import Complaint, DocumentIndex

_log = logging.getLogger(__name__)
ENTRY_ID = "dataset"
"""Entry id of a Dataset on its subject, as esgcet makes it; that of a File is ``file``."""
LOGIN = Path("~/.globus/cli/storage.db")
"""Where ``globus login`` stores its tokens."""
_MOST = 10_000
"""The most subjects of a dataset's data nodes or files in an answer; Globus Search gives 10 unless
more are requested, and at most this number.
"""


_PAGE = 1000
"""Subjects on a page of a search."""


class GlobusIndex(DocumentIndex):
    """An index of Globus Search. The environment variables of globus-sdk apply
    (``GLOBUS_SDK_SERVICE_URL_SEARCH``, ...).

    Args:
        index_uuid: as in esgcet's ``index_UUID``.
        login: returns a globus-sdk authorizer for Globus Search; called at the first change.
        poll_timeout_s: seconds to wait until the index shows the dataset, and then the change.
        retries: tries after the first, for errors that globus-sdk retries.
        registered: the Dataset document that was just sent to the index.

    Raises:
        PublisherError: globus-sdk is not installed.
    """

    def __init__(
        self,
        index_uuid: str,
        *,
        login: Callable[[], Any] | None = None,
        poll_timeout_s: float = 60.0,
        retries: int = 3,
        registered: Document | None = None,
    ) -> None:
        super().__init__(f"the Globus Search index {index_uuid}", poll_timeout_s, registered)
        if importlib.util.find_spec("globus_sdk") is None:
            todo = "pip install 'esgvzarr[publisher]'"
            raise PublisherError(
                "globus-sdk", "is not installed", todo=todo, code="publisher-missing"
            )
        self._uuid = index_uuid
        self._retries = retries
        self._login = login or globus_login
        self._reader: Any = None
        self._writer: Any = None
        self._authorizer: Any = None

    @classmethod
    def configured(cls, config: Mapping[str, Any], index_node: str) -> IndexAddress | None:
        """Return ``index_UUID``, if ``globus_index`` is on."""
        uuid = config.get("index_UUID")
        return IndexAddress("globus", str(uuid)) if uuid and config.get("globus_index") else None

    @classmethod
    def opened(cls, address: IndexAddress, opening: Opening) -> GlobusIndex:
        """Open the index with the login of the ``globus`` program."""
        return cls(
            address.location,
            poll_timeout_s=opening.settings.poll_timeout_s,
            retries=opening.settings.retries,
            registered=opening.registered,
        )

    def check_login(self) -> Login:
        """Ask Globus whether it still accepts the stored login."""
        check_login()
        return Login("Globus Search accepts the stored login")

    def _read(self, identifier: str) -> Document | None:
        from globus_sdk import SearchAPIError

        with _translated(identifier):
            try:
                subject = self._anybody().get_subject(self._uuid, identifier).data
            except SearchAPIError as error:
                if error.http_status == 404:
                    return None
                raise
        return _document_of(subject, identifier)

    def _read_all(self, dataset_id: DatasetId) -> Sequence[Document]:
        return self._search(ENTRY_ID, str(dataset_id), "instance_id", "Dataset")

    def _read_files(self, identifier: str) -> Sequence[Document]:
        return self._search("file", identifier, "dataset_id", "File")

    def _search(self, entry_id: str, name: str, field: str, kind: str) -> list[Document]:
        """Return the documents of a kind that have the name in a field."""
        filters = [
            {"type": "match_all", "field_name": key, "values": [value]}
            for key, value in ((field, name), ("type", kind))
        ]
        with _translated(name):
            found = (
                self._anybody()
                .post_search(self._uuid, {"q": "", "filters": filters, "limit": _MOST})
                .data
            )
        subjects = found.get("gmeta") if isinstance(found, dict) else None
        if not isinstance(subjects, list):
            raise _invalid(name)
        documents = (_document_of(subject, name, entry_id) for subject in subjects)
        return [document for document in documents if document and document.get(field) == name]

    def _read_page(
        self, facets: Mapping[str, Sequence[str]], page: str
    ) -> tuple[Sequence[Document], str]:
        """``page`` is the marker of Globus Search."""
        wanted = [*facets.items(), ("type", ["Dataset"])]
        filters = [
            {"type": "match_any", "field_name": name, "values": list(values)}
            for name, values in wanted
        ]
        query = {"q": "", "filters": filters, "limit": _PAGE, **({"marker": page} if page else {})}
        with _translated("search"):
            found = self._anybody().scroll(self._uuid, query).data
        subjects = found.get("gmeta") if isinstance(found, dict) else None
        if not isinstance(subjects, list):
            raise _invalid("search")
        documents = (_document_of(subject, "search") for subject in subjects)
        return [document for document in documents if document], str(
            found.get("marker") or ""
        ) if subjects else ""

    def _write(self, document: Document, change: Change) -> Complaint:
        identifier = str(document["id"])
        with _translated(identifier, self._token):
            self._authorizer = self._authorizer or self._login()
            self._writer = self._writer or self._client(self._authorizer)
            task = self._writer.ingest(self._uuid, ingest_document(apply(document, change))).data
        task_id = task.get("task_id") if isinstance(task, dict) else None
        if task_id is None:
            raise LinkError(
                identifier,
                "the index names no task",
                expected="a task_id",
                code="index-update-failed",
            )
        _log.debug("%s: %s ingested by task %s", identifier, ", ".join(change), task_id)
        return lambda: self._check_task(identifier, str(task_id))

    def _check_task(self, identifier: str, task_id: str) -> None:
        try:
            with _translated(identifier, self._token):
                task = self._writer.get_task(task_id).data
        except LinkError as error:  # Whatever this answer means, the index accepted the change.
            _log.info("%s", error)
            return
        if isinstance(task, dict) and task.get("state") == "FAILED":
            reason = task.get("message") or task.get("state_description")
            raise LinkError(
                identifier, f"task {task_id} failed: {reason}", code="index-update-failed"
            )

    def _token(self) -> str:
        return str(getattr(self._authorizer, "access_token", None) or "")

    def _anybody(self) -> Any:
        """Return a client that reads without a login."""
        self._reader = self._reader or self._client()
        return self._reader

    def _client(self, authorizer: Any = None) -> Any:
        from globus_sdk import SearchClient
        from globus_sdk.transport import RetryConfig

        return SearchClient(
            authorizer=authorizer,
            app_name="esgvzarr",
            retry_config=RetryConfig(max_retries=self._retries),
        )


def ingest_document(document: Document) -> dict[str, Any]:
    """Return the document that is sent to ingest: the whole entry, in the form that esgcet gives
    it.
    """
    entry = {
        "id": ENTRY_ID,
        "subject": document["id"],
        "visible_to": ["public"],
        "content": document,
    }
    return {"ingest_type": "GMetaList", "ingest_data": {"gmeta": [entry]}}


def globus_login() -> Any:
    """Return a globus-sdk authorizer for Globus Search, from the login that esgcet's ``globus``
    program uses.

    That is the client in ``GLOBUS_CLI_CLIENT_ID`` and ``GLOBUS_CLI_CLIENT_SECRET`` if both are set,
    else the user who ran ``globus login``; ``GLOBUS_PROFILE`` and ``GLOBUS_SDK_ENVIRONMENT`` apply.
    Renewed tokens are stored where that program finds them.

    Raises:
        PublisherError: there is no login.
    """
    from globus_sdk import (
        ClientCredentialsAuthorizer,
        ConfidentialAppAuthClient,
        RefreshTokenAuthorizer,
        SearchClient,
    )
    from globus_sdk.token_storage.legacy import SQLiteAdapter

    client_id = os.environ.get("GLOBUS_CLI_CLIENT_ID")
    secret = os.environ.get("GLOBUS_CLI_CLIENT_SECRET")
    if client_id and secret:
        return ClientCredentialsAuthorizer(
            ConfidentialAppAuthClient(client_id, secret), SearchClient.scopes.all
        )
    path = LOGIN.expanduser()
    if not path.is_file():
        raise _not_logged_in(f"{path} does not exist")
    profile = (
        "userprofile",
        os.environ.get("GLOBUS_SDK_ENVIRONMENT") or "production",
        os.environ.get("GLOBUS_PROFILE"),
    )
    try:
        kept = SQLiteAdapter(path, namespace="/".join(filter(None, profile)))
        tokens = kept.get_token_data(SearchClient.resource_server) or {}
        client = kept.read_config("auth_client_data") or {}
        return RefreshTokenAuthorizer(
            tokens["refresh_token"],
            ConfidentialAppAuthClient(client["client_id"], client["client_secret"]),
            access_token=tokens["access_token"],
            expires_at=tokens["expires_at_seconds"],
            on_refresh=kept.store,
        )
    except KeyError:
        raise _not_logged_in(f"{path} has no login for Globus Search") from None
    except sqlite3.Error as error:
        raise _not_logged_in(f"{path} cannot be read: {error}") from error


def check_login() -> None:
    """Check that Globus still accepts the stored login. No login is started.

    Raises:
        PublisherError: there is no login, or it has expired.
        LinkError: Globus cannot be reached.
    """
    with _translated("Globus Search"):
        globus_login().get_authorization_header()


@contextmanager
def _translated(subject: str, token: Callable[[], str] = str) -> Iterator[None]:
    """Translate errors of globus-sdk. Only the API's own message is passed on, without the
    token.
    """
    from globus_sdk import AuthAPIError, GlobusAPIError, GlobusError, NetworkError

    try:
        yield
    except AuthAPIError as error:
        raise _not_logged_in(f"Globus Auth answers HTTP {error.http_status}") from None
    except GlobusAPIError as error:
        status = error.http_status
        secret = token()
        said = error.message or ""
        reason = said.replace(secret, "***") if secret else said
        raise LinkError(
            subject,
            f"HTTP {status}" + (f": {reason}" if reason else ""),
            todo="Check that this login may write to the index." if status in (401, 403) else "",
            code=f"index-http-{status}",
        ) from None
    except NetworkError as error:
        raise LinkError(
            subject,
            f"Globus Search cannot be reached: {type(error).__name__}",
            todo="Run esgvzarr resume later.",
            code="index-unreachable",
        ) from None
    except (GlobusError, ValueError) as error:
        raise LinkError(
            subject, f"globus-sdk cannot be used: {error}", todo="See the variables GLOBUS_SDK_*."
        ) from error


def _document_of(subject: Any, name: str, entry_id: str = ENTRY_ID) -> Document | None:
    """Return the content of one of a subject's entries; None if it has none."""
    entries = subject.get("entries") if isinstance(subject, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise _invalid(name)
    content = next(
        (entry.get("content") for entry in entries if entry.get("entry_id") == entry_id), None
    )
    if content is None:
        return None
    if not isinstance(content, dict) or content.get("id") != subject.get("subject"):
        raise _invalid(name)
    return content


def _invalid(name: str) -> LinkError:
    return LinkError(
        name,
        "the index does not answer with Dataset documents",
        expected="Dataset documents",
        code="index-item-invalid",
    )


def _not_logged_in(found: str) -> PublisherError:
    return PublisherError(
        "Globus Search",
        found,
        expected="a login",
        todo=(
            "Run `globus login`, or set GLOBUS_CLI_CLIENT_ID and GLOBUS_CLI_CLIENT_SECRET; "
            "then run esgvzarr resume."
        ),
        code="publisher-login",
    )
