"""An ESGF index node for publishers and search users: esg-search over Solr documents in memory."""

from __future__ import annotations

import itertools
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Collection, Mapping
from copy import deepcopy
from typing import Any
from urllib.parse import parse_qs
from xml.etree import ElementTree

from .faults import Fault, FaultPlan
from .loopback import Asked, LoopbackServer, Response, text_response

Document = dict[str, Any]
CORES = {"datasets": "Dataset", "files": "File"}
"""Core -> type of its documents."""
SINGLE = frozenset(
    (
        "id",
        "type",
        "title",
        "version",
        "size",
        "number_of_files",
        "data_node",
        "index_node",
        "master_id",
        "instance_id",
        "dataset_id",
        "replica",
        "latest",
        "retracted",
        "timestamp",
        "_timestamp",
        "pid",
        "_version_",
        "datetime_start",
        "datetime_end",
        "north_degrees",
        "south_degrees",
        "east_degrees",
        "west_degrees",
    )
)
"""Fields with one value; all others are lists."""
_KEYWORDS = {
    "query",
    "format",
    "limit",
    "offset",
    "fields",
    "facets",
    "distrib",
    "latest",
    "replica",
    "retracted",
}
_FLAGS = ("latest", "replica", "retracted")


class SolrServer(LoopbackServer):
    """Serves esg-search while the context is open: ``search``, and ``ws/publish``, ``update``,
    ``retract`` and ``delete``.

    Searches read a copy that is updated after ``delay_s``, as the slave of an index node follows
    its master. Answers are those of esg-search 4: XML that is not well-formed is refused, and so is
    an update whose query Solr does not understand.

    >>> with SolrServer() as server:
    ...     server.fault(Status(503), "/esg-search/ws/*")

    Args:
        tls: serve https, as esgcet expects.
        delay_s: seconds until searches show a change.
        authorize: accept changes only from clients with ``client_certificate``.
    """

    asks_clients = True

    def __init__(self, *, tls: bool = True, delay_s: float = 0.0, authorize: bool = False) -> None:
        super().__init__(tls=tls)
        self.delay_s = delay_s
        self.authorize = authorize
        self.updates_are_lost = False
        """Set this to answer updates as if they were made."""
        self._lock = threading.Lock()
        self._master: dict[str, Document] = {}
        self._shown: list[tuple[float, dict[str, Document]]] = [(0.0, {})]
        self._faults = FaultPlan()

    def add_document(self, document: Mapping[str, Any]) -> None:
        """Store a document, without the API and its delay."""
        with self._lock:
            self._master[document["id"]] = _as_stored(document)
            self._shown = [(0.0, deepcopy(self._master))]

    def document(self, identifier: str) -> Document:
        """Return a stored document; raise KeyError if there is none."""
        with self._lock:
            return deepcopy(self._master[identifier])

    def documents(self, kind: str = "Dataset") -> list[Document]:
        """Return all stored documents of a type."""
        with self._lock:
            return [
                deepcopy(document) for document in self._master.values() if document["type"] == kind
            ]

    def fault(self, fault: Fault, paths: str = "*", methods: Collection[str] = ()) -> None:
        """From now on, apply ``fault`` to requests whose URL path matches a glob, and with these
        methods (all, if empty).
        """
        self._faults.add(fault, paths, methods)

    def heal(self) -> None:
        """Remove all faults."""
        self._faults.clear()
        self.updates_are_lost = False

    def settle(self) -> None:
        """Let searches show all changes now."""
        with self._lock:
            self._shown = [(0.0, deepcopy(self._master))]

    def answer(self, asked: Asked) -> Response:
        """Return the answer, with faults applied."""
        return self._faults.answer(asked, self._usual_answer)

    def _usual_answer(self, asked: Asked) -> Response:
        path = asked.path.rstrip("/").removeprefix("/esg-search/")
        if path == "search" and asked.method == "GET":
            return self._search(parse_qs(asked.query))
        changes = {
            "ws/publish": self._publish,
            "ws/update": self._update,
            "ws/retract": self._retract,
            "ws/delete": self._delete,
        }
        if path not in changes or asked.method != "POST":
            return text_response(404)
        if self.authorize and asked.client is None:
            return _said(401, "User is not authorized to publish")
        with self._lock:
            try:
                said = changes[path](asked.body)
            except (ElementTree.ParseError, KeyError, ValueError, AttributeError) as error:
                return _said(400, f"{type(error).__name__}: {error}")
            self._shown.append((time.monotonic() + self.delay_s, deepcopy(self._master)))
        return _said(200, said)

    def _search(self, query: Mapping[str, list[str]]) -> Response:
        with self._lock:
            while len(self._shown) > 1 and self._shown[1][0] <= time.monotonic():
                del self._shown[0]
            shown = self._shown[0][1].values()
            found = [deepcopy(document) for document in shown if _matches(document, query)]
        start = int(query.get("offset", ["0"])[0])
        rows = int(query.get("limit", ["10"])[0])
        names = set(",".join(query.get("fields", ["*"])).split(","))
        page = [_shown(document, names) for document in found[start : start + rows]]
        response = {"numFound": len(found), "start": start, "maxScore": 1.0, "docs": page}
        body = {
            "responseHeader": {"status": 0, "QTime": 1},
            "response": response,
            "facet_counts": _count(found, query),
        }
        return text_response(200, json.dumps(body), "application/solr+json;charset=UTF-8")

    def _publish(self, body: bytes) -> str:
        document: Document = {}
        for field in ElementTree.fromstring(body).findall("field"):  # noqa: S314  (of a test)
            document.setdefault(field.attrib["name"], []).append(field.text or "")
        identifier = document["id"][0]
        self._master[identifier] = _as_stored(document)
        return f"Published record: {identifier}"

    def _update(self, body: bytes) -> str:
        updates = ElementTree.fromstring(body)  # noqa: S314  (of a test)
        kind = CORES[updates.attrib["core"]]
        updated = 0
        if updates.attrib["action"] != "set":
            raise ValueError("only set is served")
        for update in updates.findall("update"):
            found = [
                document
                for document in self._master.values()
                if document["type"] == kind and _meant(document, update)
            ]
            updated += len(found)
            for document in [] if self.updates_are_lost else found:
                _set(document, update)
        return f"Number of records updated: {updated}"

    def _retract(self, body: bytes) -> str:
        (identifier,) = parse_qs(body.decode())["id"]
        for document in self._master.values():
            if identifier in (document["id"], document.get("dataset_id")):
                document.update(retracted=True, latest=False)
        return f"Retracted id: {identifier}"

    def _delete(self, body: bytes) -> str:
        (identifier,) = parse_qs(body.decode())["id"]
        kept = {
            key: doc
            for key, doc in self._master.items()
            if identifier not in (key, doc.get("dataset_id"))
        }
        self._master = kept
        return f"Deleted id: {identifier}"


def _as_stored(document: Mapping[str, Any]) -> Document:
    """Convert a document to the types of Solr's schema: some fields have one value, flags are true
    or false, counts are numbers.
    """
    stored: Document = {}
    for name, value in document.items():
        values = value if isinstance(value, list) else [value]
        stored[name] = _typed(name, values[0]) if name in SINGLE else [str(one) for one in values]
    return {"retracted": False, **stored}


def _typed(name: str, value: Any) -> Any:
    if name in _FLAGS:
        return str(value).lower() == "true"
    if name in ("size", "number_of_files"):
        return int(value)
    return float(value) if name.endswith("_degrees") else str(value)


def _count(found: list[Document], query: Mapping[str, list[str]]) -> dict[str, Any]:
    """Count the values of the requested facets; ``*`` means all fields with several values."""
    names = set(",".join(query.get("facets", [])).split(",")) - {""}
    if "*" in names:
        names = set()
        for document in found:
            names |= {name for name, value in document.items() if isinstance(value, list)}
    fields: dict[str, list[Any]] = {}
    for name in sorted(names):
        counter = Counter[str]()
        for document in found:
            counter.update(_strings(document.get(name)))
        fields[name] = list(itertools.chain.from_iterable(counter.most_common()))
    return {"facet_fields": fields}


def _shown(document: Document, names: set[str]) -> Document:
    """Return the requested fields of a document."""
    return {name: value for name, value in document.items() if "*" in names or name in names}


def _matches(document: Document, query: Mapping[str, list[str]]) -> bool:
    kind = query.get("type", ["Dataset"])[0]
    wanted = {
        name: values for name, values in query.items() if name not in _KEYWORDS and name != "type"
    }
    flags = {name: query[name][0].lower() == "true" for name in _FLAGS if name in query}
    return (
        document["type"] == kind
        and all(document.get(name) == flag for name, flag in flags.items())
        and all(
            set(values) & set(_strings(document.get(name)))
            for name, values in {**wanted, **_terms(query)}.items()
        )
    )


def _terms(query: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Parse the free text of a search of the form ``field:value AND field:(value value)``: field ->
    values, any of which matches.
    """
    text = " AND ".join(query.get("query", []))
    pairs = (term.split(":", 1) for term in text.split(" AND ") if ":" in term)
    return {name: value.strip('()"').split() for name, value in pairs}


def _meant(document: Document, update: ElementTree.Element) -> bool:
    """Whether the update's query matches the document: ``field=value&...``, values in Solr's own
    syntax.
    """
    query = (update.findtext("query") or "").strip()
    for constraint in query.split("&"):
        name, value = constraint.split("=")
        quoted = re.fullmatch(r'"([^"]*)"', value)
        if quoted is None and re.search(r'[:"(){}\[\]^~*?\s]', value):
            raise ValueError(f"Server returned HTTP response code: 400 for fq={name}:{value}")
        if (quoted.group(1) if quoted else value) not in _strings(document.get(name)):
            return False
    return True


def _set(document: Document, update: ElementTree.Element) -> None:
    for field in update.findall("field"):
        name = field.attrib["name"]
        values = [(value.text or "").strip() for value in field.findall("value")]
        if values:
            document.update(_as_stored({name: values, "retracted": document["retracted"]}))
        else:
            document.pop(name, None)


def _strings(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(one) for one in value] if isinstance(value, list) else [str(value)]


def _said(status: int, message: str) -> Response:
    """Return an answer; esg-search does not escape messages."""
    kind = "success" if status == 200 else "error"
    text = (
        '<?xml version="1.0" encoding="UTF-8"?><response '
        f'status="{kind}"><message>{message}</message></response>'
    )
    return text_response(status, text, "application/xml")
