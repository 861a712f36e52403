"""Change STAC items through esgcet's own clients, with their login and tokens."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import EsgvzarrError, LinkError, PublisherError
from .configuration import check_installed
from .hook import swapped

_SOON_S = 60.0


def certificate_end(path: str | os.PathLike[str]) -> float:
    """Return when a client certificate expires, in seconds since 1970-01-01.

    Raises:
        PublisherError: the file is not a certificate.
    """
    check_installed()
    from cryptography.x509 import load_pem_x509_certificate

    try:
        return load_pem_x509_certificate(Path(path).read_bytes()).not_valid_after_utc.timestamp()
    except (OSError, ValueError) as error:
        raise PublisherError(
            str(path),
            f"is not a certificate: {error}",
            expected="a PEM file",
            todo="Set cert in esg.yaml to the path of a certificate.",
            code="publisher-certificate",
        ) from error


class TransactionClient:
    """Changes items through esgcet's own client (EGI or Globus), with its login and tokens.

    The login happens at the first change, so that a run without changes needs none. Messages never
    contain a token.

    Args:
        config: esgcet's settings, as in `Registration.config`.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = config
        self._client: Any = None

    def patch(self, collection: str, item_id: str, operation: Mapping[str, Any]) -> int:
        """Send one JSON Patch operation.

        Returns:
            The HTTP status: 200 and 201 when done, 202 when queued.

        Raises:
            LinkError: the API refused (``index-http-<status>``), or cannot be reached
                (``index-unreachable``).
            PublisherError: esgcet's login or configuration does not work; or this is a dry run, in
                which nothing is sent.
        """
        subject = f"{collection}/{item_id}"
        if self._config.get("dry_run"):
            raise PublisherError(subject, "not changed in a dry run", code="publisher-dry-run")
        client = self._client
        self._client = None  # After an error, the next change logs in again.
        with _translated(subject):
            if client is None or _ends_soon(client):
                client = self._login()
            send = _patch_globus if hasattr(client, "transaction_client") else _patch_egi
            status, body = send(client, collection, item_id, operation)
        self._client = client
        if status >= 300:
            raise _refused(subject, status, body)
        return status

    def check_login(self) -> float | None:
        """Check that a change would need no login by a person: a login is stored, and can be
        renewed.

        Returns:
            When it ends, in seconds since 1970-01-01; None if it states no end.

        Raises:
            PublisherError: a person must log in (``publisher-login``), or the client cannot be
                used.
            LinkError: a server that esgcet's client asks cannot be reached.
        """
        check_installed()
        from esgcet.util.settings import TOKEN_STORAGE_FILE

        stac = self._config.get("stac_config") or {}
        path = Path(str(stac.get("token_storage_file") or TOKEN_STORAGE_FILE)).expanduser()
        ends = _end_of_login(path)
        with _translated("stac_config"):
            self._client = self._client or self._login()
        return ends

    def _login(self) -> Any:
        check_installed()
        from esgcet.stac.stac_client import getTransactionClient

        return getTransactionClient(self._config.get("stac_config") or {})(dict(self._config))


def _ends_soon(client: Any) -> bool:
    """Whether the access token of an EGI client ends soon. A new client is needed then: it reads
    the file of the login again, in which another process or thread may have renewed the token. The
    old client has the renewal token of before, which an identity provider may accept only once.
    """
    token = getattr(getattr(client, "auth", None), "token_data", None)
    if not isinstance(token, Mapping):
        return False
    return float(token.get("expires_at", 0)) < time.time() + _SOON_S


def _end_of_login(path: Path) -> float | None:
    """Return when the login in the file of one of esgcet's clients ends. That of Globus does not
    end; that of EGI states its end.

    Raises:
        PublisherError: the file holds no login, or it has ended.
    """
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        kept = {}
    if not isinstance(kept, dict) or not ("refresh_token" in kept or "data" in kept):
        raise _no_login(path, "holds no login")
    if "data" in kept:
        return None
    ends = max(
        (float(kept[name]) for name in ("expires_at", "refresh_expires_at") if name in kept),
        default=0.0,
    )
    if ends < time.time():
        raise _no_login(path, "holds a login that has ended")
    return ends


def _no_login(path: Path, found: str) -> PublisherError:
    return PublisherError(
        str(path),
        found,
        expected="the login of a publisher",
        todo="Log in with esglogin.",
        code="publisher-login",
    )


@contextmanager
def _translated(subject: str) -> Iterator[None]:
    """Translate errors of esgcet and its HTTP libraries. Their texts may quote headers, so only
    their types are passed on.
    """
    import requests

    try:
        yield
    except EsgvzarrError:
        raise
    except (SystemExit, EOFError) as stop:
        raise PublisherError(
            subject,
            "esgcet's login to the index failed",
            todo="Log in again with esglogin, then run esgvzarr resume.",
            code="publisher-login",
            retryable=isinstance(stop.__cause__, requests.ConnectionError | requests.Timeout),
        ) from None
    except (requests.ConnectionError, requests.Timeout) as error:
        raise _unreachable(subject, type(error).__name__) from None
    except (requests.RequestException, KeyError, TypeError, ValueError, OSError) as error:
        raise PublisherError(
            f"{subject}, stac_config",
            f"esgcet's client cannot be used: {type(error).__name__}",
            todo="Compare stac_config in esg.yaml with esgcet's own example.",
            code="publisher-stac-config",
        ) from None


def _patch_egi(
    client: Any, collection: str, item_id: str, operation: Mapping[str, Any]
) -> tuple[int, str]:
    """Send an operation by the EGI client. It drops the answer, so a hook in the request's own
    ``auth`` records it.
    """
    heard: list[Any] = []
    auth = client.auth

    def listening(request: Any) -> Any:
        request = auth(request) if auth else request
        request.register_hook("response", lambda response, **_: heard.append(response))
        return request

    with swapped(client, "auth", listening):
        client.json_patch(collection, item_id, [dict(operation)])
    if not heard:
        raise _unreachable(f"{collection}/{item_id}", "no answer")
    answer = heard[0]  # A redirect turns a PATCH into a GET.
    token = answer.request.headers.get("Authorization", "").removeprefix("Bearer ")
    return answer.status_code, answer.text.replace(token, "***") if token else answer.text


def _patch_globus(
    client: Any, collection: str, item_id: str, operation: Mapping[str, Any]
) -> tuple[int, str]:
    """Send an operation by the Globus client. esgcet's own method turns every error into ``False``,
    so the client that it uses is called directly.
    """
    from globus_sdk import AuthAPIError, GlobusAPIError, NetworkError

    try:
        response = client.transaction_client.patch(
            f"/collections/{collection}/items/{item_id}",
            headers={"Content-Type": "application/json-patch+json"},
            data=[dict(operation)],
        )
    except AuthAPIError:
        raise SystemExit from None
    except GlobusAPIError as error:
        token = getattr(client.transaction_client.authorizer, "access_token", None)
        return error.http_status, error.text.replace(token, "***") if token else error.text
    except NetworkError as error:
        raise _unreachable(f"{collection}/{item_id}", type(error).__name__) from None
    return int(response.http_status), ""


def _unreachable(subject: str, reason: str) -> LinkError:
    return LinkError(
        subject,
        f"the transaction API cannot be reached: {reason}",
        todo="Run esgvzarr resume later.",
        code="index-unreachable",
    )


def _refused(subject: str, status: int, body: str) -> LinkError:
    """Make the error for a refusal. RFC 9457 bodies state the reason; other bodies are quoted."""
    try:
        problem = json.loads(body)
    except (ValueError, RecursionError):
        problem = None
    if isinstance(problem, Mapping):
        reason = ": ".join(str(problem[key]) for key in ("title", "detail") if problem.get(key))
    else:
        reason = " ".join(body.split())[:200]
    found = f"HTTP {status}" + (f": {reason}" if reason else "")
    return LinkError(subject, found, code=f"index-http-{status}")
