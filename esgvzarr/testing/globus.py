"""Globus Search, and the part of Globus Auth that issues tokens for it, for globus-sdk and the
``globus`` program.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import threading
import time
import uuid
from collections.abc import Callable, Collection, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qs

from .faults import Fault, FaultPlan
from .loopback import Asked, LoopbackServer, Response, text_response

CLIENT_ID = "b4c0a2a6-5d5d-4a4e-9d0a-4f6a3c3f2d11"
CLIENT_SECRET = "secret-that-stays-hidden"  # noqa: S105
TOKEN = "token-that-stays-hidden"  # noqa: S105
REFRESH_TOKEN = "refresh-token-that-stays-hidden"  # noqa: S105
RESOURCE_SERVER = "search.api.globus.org"
SCOPE = f"urn:globus:auth:scope:{RESOURCE_SERVER}:all"
_ROUTE = re.compile(r"/v1/(index|task)/([0-9a-f-]{36})(?:/(\w+))?\Z")


@dataclass(slots=True)
class Task:
    """An ingest that was accepted."""

    due: float
    """When it will be carried out, on the monotonic clock."""
    entries: list[dict[str, Any]]
    message: str = ""
    """Why it fails."""
    done: bool = False


class GlobusServer(LoopbackServer):
    """Serves one index while the context is open: subject, search, scroll, ingest, task, and tokens
    for ``environment``'s client.

    Entries that are ``visible_to`` the public are shown to all; a logged-in client sees all
    entries, and may write. Answers do not tell who sees an entry. Ingests are carried out in order,
    ``delay_s`` after they were accepted.

    >>> with GlobusServer() as server:
    ...     os.environ.update(server.environment) ...
    globus_sdk.SearchClient().get_subject(server.index_uuid, "...")

    Args:
        delay_s: seconds until an ingest is carried out.
    """

    def __init__(self, *, delay_s: float = 0.0) -> None:
        super().__init__()
        self.index_uuid = str(uuid.uuid4())
        self.delay_s = delay_s
        self.failure = ""
        """Set this to accept the ingests from now on, and let them fail with this message."""
        self._lock = threading.Lock()
        self._entries: dict[tuple[str, str | None], dict[str, Any]] = {}
        self._tasks: dict[str, Task] = {}
        self._faults = FaultPlan()

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables that direct globus-sdk and the ``globus`` program to this server,
        and log the program in.
        """
        urls = {f"GLOBUS_SDK_SERVICE_URL_{service}": self.url for service in ("SEARCH", "AUTH")}
        return {
            **urls,
            "GLOBUS_CLI_CLIENT_ID": CLIENT_ID,
            "GLOBUS_CLI_CLIENT_SECRET": CLIENT_SECRET,
        }

    def add_entry(
        self, content: Mapping[str, Any], *, visible_to: Collection[str] = ("public",)
    ) -> None:
        """Store a document as esgcet would, without the API and its delay."""
        kind = "dataset" if content["type"] == "Dataset" else "file"
        entry = {
            "id": kind,
            "subject": content["id"],
            "visible_to": list(visible_to),
            "content": deepcopy(dict(content)),
        }
        with self._lock:
            self._entries[content["id"], kind] = entry

    def content(self, subject: str, entry_id: str | None = "dataset") -> dict[str, Any]:
        """Return a stored document; raise KeyError if there is none."""
        with self._lock:
            return dict(deepcopy(self._entries[subject, entry_id]["content"]))

    def contents(self, entry_id: str | None = "dataset") -> list[dict[str, Any]]:
        """Return all documents of a kind."""
        with self._lock:
            return [
                deepcopy(entry["content"])
                for (_, kind), entry in self._entries.items()
                if kind == entry_id
            ]

    def fault(self, fault: Fault, paths: str = "*", methods: Collection[str] = ()) -> None:
        """From now on, apply ``fault`` to requests whose URL path matches a glob, and with these
        methods (all, if empty).
        """
        self._faults.add(fault, paths, methods)

    def heal(self) -> None:
        """Remove all faults."""
        self._faults.clear()
        self.failure = ""

    def settle(self) -> None:
        """Carry out the ingests that are waiting."""
        with self._lock:
            for task in self._tasks.values():
                task.due = 0.0

    def answer(self, asked: Asked) -> Response:
        """Return the answer, with faults applied."""
        return self._faults.answer(asked, self._usual_answer)

    def _usual_answer(self, asked: Asked) -> Response:
        if asked.path == "/v2/oauth2/token":
            return _token(asked)
        route = _ROUTE.match(asked.path)
        known: dict[tuple[str | None, ...], Callable[[Asked, str], Response]] = {
            ("GET", "index", "subject"): self._subject,
            ("POST", "index", "search"): self._search,
            ("POST", "index", "scroll"): self._scroll,
            ("POST", "index", "ingest"): self._ingest,
            ("GET", "task", None): self._task,
        }
        serve = known.get((asked.method, route[1], route[3])) if route else None
        if route is None or serve is None or (route[1] == "index" and route[2] != self.index_uuid):
            return _error(404, "NotFound.Generic", "Resource not found")
        with self._lock:
            self._carry_out()
            return serve(asked, route[2])

    def _carry_out(self) -> None:
        for task in self._tasks.values():
            if task.done or task.due > time.monotonic():
                continue
            task.done = True
            for entry in [] if task.message else task.entries:
                self._entries[entry["subject"], entry.get("id")] = entry

    def _subject(self, asked: Asked, _: str) -> Response:
        (subject,) = parse_qs(asked.query)["subject"]
        result = self._result(subject, asked)
        return (
            _json(result)
            if result["entries"]
            else _error(404, "NotFound.Generic", f"Subject not found: {subject}")
        )

    def _search(self, asked: Asked, _: str) -> Response:
        query = json.loads(asked.body)
        meant: dict[str, None] = {}
        for entry in self._entries.values():
            if all(_passes(entry, one) for one in query["filters"]):
                meant[entry["subject"]] = None
        found = [result for subject in meant if (result := self._result(subject, asked))["entries"]]
        start = int(query.get("marker") or query.get("offset", 0))
        limit = query.get("limit", 10)
        page = found[start : start + limit]
        body = {
            "gmeta": page,
            "count": len(page),
            "total": len(found),
            "offset": start,
            "marker": str(start + limit),
            "has_next_page": len(found) > start + limit,
        }
        return _json({"@datatype": "GSearchResult", "@version": "2017-09-01", **body})

    def _scroll(self, asked: Asked, _: str) -> Response:
        """Return a page; every page but the last names a marker for the next one."""
        query = json.loads(asked.body)
        if "offset" in query:
            return _error(400, "BadRequest.ValidationError", "scroll takes no offset")
        again = json.dumps({**query, "offset": int(query.get("marker", 0))}).encode()
        page = json.loads(bytes(self._search(replace(asked, body=again), _).body))  # type: ignore[arg-type]
        marker = str(page.pop("offset") + page["count"]) if page["has_next_page"] else None
        return _json({**page, "marker": marker})

    def _result(self, subject: str, asked: Asked) -> dict[str, Any]:
        entries = [
            {"content": entry["content"], "entry_id": entry.get("id"), "matched_principal_sets": []}
            for entry in self._entries.values()
            if entry["subject"] == subject
            and ("public" in entry["visible_to"] or _logged_in(asked))
        ]
        return {
            "@datatype": "GMetaResult",
            "@version": "2019-08-27",
            "subject": subject,
            "entries": entries,
        }

    def _ingest(self, asked: Asked, _: str) -> Response:
        if not _logged_in(asked):
            return _error(401, "Unauthorized.Generic", "No credentials, or none that are valid")
        document = json.loads(asked.body)
        data = document["ingest_data"]
        entries = data["gmeta"] if document["ingest_type"] == "GMetaList" else [data]
        if not all({"subject", "visible_to", "content"} <= entry.keys() for entry in entries):
            return _error(
                400, "BadRequest.InvalidDocument", "an entry lacks subject, visible_to or content"
            )
        task_id = str(uuid.uuid4())
        self._tasks[task_id] = Task(time.monotonic() + self.delay_s, entries, self.failure)
        self._carry_out()
        return _json(
            {"acknowledged": True, "task_id": task_id, "success": True, "num_documents_ingested": 0}
        )

    def _task(self, asked: Asked, task_id: str) -> Response:
        task = self._tasks.get(task_id)
        if task is None or not _logged_in(asked):
            return _error(403, "Forbidden.Generic", "You do not have permission to view this task")
        state = "FAILED" if task.message else "SUCCESS"
        if not task.done:
            state = "PENDING"
        said = {
            "state_description": f"Task {state.lower()}",
            "message": task.message or None,
            "additional_details": None,
        }
        return _json(
            {
                "task_id": task_id,
                "index_id": self.index_uuid,
                "task_type": "INGEST",
                "state": state,
                **said,
            }
        )


def _logged_in(asked: Asked) -> bool:
    return asked.headers.get("Authorization") == f"Bearer {TOKEN}"


def _passes(entry: Mapping[str, Any], condition: Mapping[str, Any]) -> bool:
    value = entry["content"].get(condition["field_name"])
    values = value if isinstance(value, list) else [value]
    found = [wanted in values for wanted in condition["values"]]
    return any(found) if condition["type"] == "match_any" else all(found)


def _token(asked: Asked) -> Response:
    try:
        shown = base64.b64decode(
            asked.headers.get("Authorization", "").removeprefix("Basic ")
        ).decode()
    except (binascii.Error, UnicodeDecodeError):
        shown = ""
    grant = {name: values[0] for name, values in parse_qs(asked.body.decode()).items()}
    if shown != f"{CLIENT_ID}:{CLIENT_SECRET}":
        return _json({"error": "invalid_client"}, 401)
    if grant.get("grant_type") == "refresh_token" and grant.get("refresh_token") != REFRESH_TOKEN:
        return _json({"error": "invalid_grant"}, 400)
    token = {
        "access_token": TOKEN,
        "expires_in": 172800,
        "token_type": "Bearer",
        "scope": SCOPE,
        "other_tokens": [],
    }
    refresh = {"refresh_token": REFRESH_TOKEN} if grant.get("grant_type") == "refresh_token" else {}
    return _json({**token, **refresh, "resource_server": RESOURCE_SERVER})


def _json(document: Mapping[str, Any], status: int = 200) -> Response:
    return text_response(status, json.dumps(document), "application/json")


def _error(status: int, code: str, message: str) -> Response:
    body = {
        "@datatype": "GError",
        "@version": "2017-09-01",
        "status": status,
        "code": code,
        "message": message,
    }
    return _json({**body, "request_id": str(uuid.uuid4())}, status)
