"""The one door to esgcet: its ``esgpublish``, its configuration, its transaction clients.

esgcet exits, prints and answers ``None`` or ``False``; past this door there are values and errors.
``import esgcet`` takes seconds, so it happens inside functions.
"""

from __future__ import annotations

import argparse
import builtins
import copy
import functools
import importlib.util
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NoReturn

from ..errors import EsgvzarrError, LinkError, PublisherError
from ..settings import read_config

log = logging.getLogger(__name__)

Record = Mapping[str, Any]
Patched = Callable[..., Any]
_SENDING = frozenset(("update", "pid_cite", "pid", "compliance_check"))
"""What esgcet's publishers do besides ``index_pub`` that sends, or writes files."""


@dataclass(frozen=True, slots=True)
class Registration:
    """One dataset that esgcet has just registered."""

    records: tuple[Record, ...] = field(repr=False)
    """esgcet's publication records, one per file and the dataset's last, as they were before any
    index writer changed them.
    """
    paths: Mapping[str, str] = field(repr=False)
    """Published HTTPServer URL of a file -> its path in the mapfile, esgcet's mount points applied.
    """
    config: Mapping[str, Any] = field(repr=False)
    """esgcet's settings for this dataset; holds ``stac_config``. Has credentials: never log it."""
    index_kind: Literal["stac", "globus", "solr"]
    dry_run: bool
    """True if esgcet was told not to publish: then it was not let to."""
    sent: Record = field(default_factory=dict, repr=False)
    """The dataset's record as the index writer sent it."""

    @property
    def instance_id(self) -> str:
        """The DSID."""
        return str(self.records[-1]["instance_id"])


def config_path(arguments: Sequence[str]) -> Path:
    """The ``esg.yaml`` that esgpublish reads when it is given these arguments.

    Raises:
        PublisherError: the arguments cannot be read; esgpublish itself exits with 2 on them.
    """
    parser = _Parser(add_help=False)
    parser.add_argument(
        "--config", "-cfg", default=os.getenv("ESG_CONFIG_FILE") or Path.home() / ".esg/esg.yaml"
    )
    parser.add_argument(
        "--certificate", "-c"
    )  # or else -c would be taken for the short form of -cfg
    return Path(parser.parse_known_args(list(arguments))[0].config)


class _Parser(argparse.ArgumentParser):
    """Raises where argparse exits."""

    def error(self, message: str) -> NoReturn:
        raise PublisherError(
            "esgpublish arguments", message, todo="See esgpublish --help.", code="publisher-usage"
        )


def check_config(config: str | os.PathLike[str]) -> None:
    """Make sure that esgcet is there and does not write references of its own.

    Raises:
        PublisherError: esgcet is not installed, or ``kerchunk: generation:`` is on.
        SettingsError: the file cannot be read.
    """
    _check_installed()
    own = read_config(config).get("kerchunk")
    if isinstance(own, Mapping) and own.get("generation"):
        raise PublisherError(
            f"{config}, key kerchunk.generation",
            "esgcet's own reference generation is on",
            expected=(
                "off: it writes before registration, and its link makes the whole item invalid"
            ),
            todo="Set `generation: false` there, or remove the key.",
            code="publisher-kerchunk-on",
        )


def _check_installed() -> None:
    if importlib.util.find_spec("esgcet") is None:
        raise PublisherError(
            "esgcet",
            "is not installed",
            todo="pip install 'esgvzarr[publisher]'",
            code="publisher-missing",
        )


def run_esgpublish(
    arguments: Sequence[str],
    registered: Callable[[Registration], None],
    registering: Callable[[Registration], None] = lambda _: None,
) -> int:
    """Run the unmodified ``esgpublish`` in this process and hear of each dataset that it registers.

    Args:
        arguments: what ``esgpublish`` is given, without the program's name.
        registered: called once for each registered dataset, after esgcet is through with it.
            Whatever it raises is logged with the DSID; it changes neither the run nor its status.
        registering: called just before esgcet sends a dataset to its index; must not raise.

    In a dry run esgcet scans the files and makes its records, and that is all: what sends or writes
        is not run (updates of older
    versions, PIDs, the compliance checker's report). esgcet's own dry run does some of it.

    Returns:
        The exit status that ``esgpublish`` would have had as a program.

    Raises:
        PublisherError: esgcet is not installed.
    """
    _check_installed()
    from esgcet import pub_internal
    from esgcet.project.generic_pub import BasePublisher

    hook = _Hook(registered, registering)
    with ExitStack() as stack:
        stack.enter_context(_swapped(sys, "argv", ["esgpublish", *arguments]))
        for name in ("exit", "quit"):  # these close stdin too
            stack.enter_context(_swapped(builtins, name, sys.exit))
        stack.enter_context(
            _swapped(pub_internal, "PubRunner", hook.runner(pub_internal.PubRunner))
        )
        for publisher in _family(BasePublisher):
            if "index_pub" in vars(publisher):
                stack.enter_context(
                    _swapped(publisher, "index_pub", hook.captured(publisher.index_pub))
                )
            for name in _SENDING & vars(publisher).keys():
                stack.enter_context(
                    _swapped(publisher, name, _kept_in_dry_runs(getattr(publisher, name)))
                )
        try:
            pub_internal.main()
        except SystemExit as stop:
            return _status(stop)
        except KeyboardInterrupt:
            raise
        except FileNotFoundError as missing:  # a map or a configuration
            log.error("esgpublish stopped: %s", missing)
            return 1
        except BaseException:  # esgcet raises bare BaseException too
            log.exception("esgpublish stopped")
            return 1
    return 0


@contextmanager
def _swapped(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def _family(kind: type[Any]) -> Iterator[type[Any]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _family(child)


def _status(stop: SystemExit) -> int:
    if stop.code is None:
        return 0
    if isinstance(stop.code, int):
        return int(stop.code)
    log.error("esgpublish: %s", stop.code)
    return 1


def _kept_in_dry_runs(method: Patched) -> Patched:
    """The method, but in a dry run nothing; True, as for a check that passes."""

    def wrapper(publisher: Any, *arguments: Any) -> Any:
        if publisher.argdict.get("dry_run"):
            log.info("dry run: %s of esgcet is not run", method.__name__)
            return True
        return method(publisher, *arguments)

    return wrapper


class _Hook:
    """Captures what ``index_pub`` is given, and acts when esgcet is through with the map.

    It must not act inside ``index_pub``: esgcet may still exit(1) afterwards, and a map is one
    dataset, whose last call counts.
    """

    def __init__(
        self,
        registered: Callable[[Registration], None],
        registering: Callable[[Registration], None],
    ) -> None:
        self._registered = registered
        self._registering = registering
        self._captured: tuple[Registration, bool] | None = None

    def captured(self, index_pub: Patched) -> Patched:
        def wrapper(publisher: Any, records: Sequence[Record]) -> Any:
            registration = _registration(publisher, records)
            self._captured = (registration, False)
            if registration.dry_run:
                self._captured = (registration, True)
                return True
            self._registering(registration)
            accepted = index_pub(publisher, records)
            self._captured = (
                replace(registration, sent=copy.deepcopy(dict(records[-1]))),
                bool(accepted),
            )
            return accepted

        return wrapper

    def runner(self, base: type[Any]) -> type[Any]:
        hook = self

        class Runner(base):  # type: ignore[misc]
            """esgcet's runner of one map."""

            def run(self, fullmap: str, pub_args: Any) -> Any:
                hook._captured = None
                try:
                    return super().run(fullmap, pub_args)
                except KeyboardInterrupt:
                    hook._captured = None  # the operator wants out
                    raise
                finally:
                    hook._act(fullmap)

        return Runner

    def _act(self, fullmap: str) -> None:
        if self._captured is None:
            log.warning(
                "%s: esgpublish did not get as far as the index, so there is nothing to reference",
                fullmap,
            )
            return
        registration, accepted = self._captured
        if not accepted:
            log.warning(
                "%s: not registered by esgpublish, so nothing is referenced",
                registration.instance_id,
            )
            return
        try:
            self._registered(registration)
        except EsgvzarrError as error:
            log.error(
                "%s: registered, but not referenced: [%s] %s",
                registration.instance_id,
                error.code,
                error,
            )
        except (Exception, SystemExit):
            log.exception("%s: registered, but not referenced", registration.instance_id)


def _registration(publisher: Any, records: Sequence[Record]) -> Registration:
    config = publisher.argdict
    return Registration(
        records=tuple(copy.deepcopy(list(records))),
        paths=_paths(records, publisher.mapdict or ()),
        config=copy.deepcopy(config),
        index_kind=index_kind(config),
        dry_run=bool(config.get("dry_run")),
    )


def index_kind(config: Mapping[str, Any]) -> Literal["stac", "globus", "solr"]:
    """The kind of index that esgcet takes where several are configured."""
    if config.get("stac_config") or config.get("stac_api"):
        return "stac"
    return "globus" if config.get("globus_index") else "solr"


def client_certificate(config: Mapping[str, Any]) -> Path | None:
    """The file that ``cert`` names, if it is there: esgcet's Solr writer does without where it is
    not.
    """
    path = Path(str(config.get("cert") or "")).expanduser()
    return path if path.is_file() else None


@functools.cache
def item_schema(project: str) -> Mapping[str, Any] | None:
    """The JSON schema of a project's STAC items, made by esgvoc of the vocabularies that esgcet
    asks; None where it has none.
    """
    if importlib.util.find_spec("esgvoc") is None:
        return None
    from esgvoc.apps.jsg.json_schema_generator import generate_json_schema
    from esgvoc.core.exceptions import EsgvocException

    try:
        return dict(generate_json_schema(project.lower()))
    except EsgvocException as error:
        log.debug("no JSON schema for %s: %s", project, error)
        return None


def certificate_end(path: str | os.PathLike[str]) -> float:
    """When a client certificate ends, in seconds since 1970.

    Raises:
        PublisherError: the file is no certificate.
    """
    _check_installed()
    from cryptography.x509 import load_pem_x509_certificate

    try:
        return load_pem_x509_certificate(Path(path).read_bytes()).not_valid_after_utc.timestamp()
    except (OSError, ValueError) as error:
        raise PublisherError(
            str(path),
            f"is no certificate: {error}",
            expected="a PEM file",
            todo="See cert in esg.yaml.",
            code="publisher-certificate",
        ) from error


def _paths(records: Sequence[Record], maplines: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Local path by published URL. esgcet makes the File records in the order of the map, and may
    skip lines.
    """
    paths: dict[str, str] = {}
    lines = iter(maplines)
    for record in records:
        if record.get("type") != "File":
            continue
        path = next(
            (
                str(line["file"])
                for line in lines
                if os.path.basename(line["file"]) == record["title"]
            ),
            None,
        )
        urls = [url.split("|")[0] for url in record["url"] if url.endswith("|HTTPServer")]
        if path is not None and urls:
            paths[urls[0]] = path
    return paths


class TransactionClient:
    """Changes items through esgcet's own client (EGI or Globus), with its login and tokens.

    The login happens at the first change, so that a run that changes nothing needs none. Messages
    never hold a token.

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
            PublisherError: esgcet's login or configuration does not work, or this is a dry run, in
                which nothing is sent.
        """
        subject = f"{collection}/{item_id}"
        if self._config.get("dry_run"):
            raise PublisherError(subject, "not changed in a dry run", code="publisher-dry-run")
        with _translated(subject):
            self._client = self._client or self._login()
            send = _patch_globus if hasattr(self._client, "transaction_client") else _patch_egi
            status, body = send(self._client, collection, item_id, operation)
        if status >= 300:
            raise _refused(subject, status, body)
        return status

    def check_login(self) -> float | None:
        """Make sure that a change would need no login by hand: one is kept, and can be renewed.

        Returns:
            When it ends, in seconds since 1970; None if it does not say.

        Raises:
            PublisherError: somebody has to log in (``publisher-login``), or the client cannot be
                used.
            LinkError: what esgcet's client asks cannot be reached.
        """
        _check_installed()
        from esgcet.util.settings import TOKEN_STORAGE_FILE

        stac = self._config.get("stac_config") or {}
        path = Path(str(stac.get("token_storage_file") or TOKEN_STORAGE_FILE)).expanduser()
        ends = _end_of_login(path)
        with _translated("stac_config"):
            self._client = self._client or self._login()
        return ends

    def _login(self) -> Any:
        _check_installed()
        from esgcet.stac.stac_client import getTransactionClient

        return getTransactionClient(self._config.get("stac_config") or {})(dict(self._config))


def _end_of_login(path: Path) -> float | None:
    """When the login in the file of either of esgcet's clients ends: that of Globus does not, that
    of EGI says so.

    Raises:
        PublisherError: it has none, or it ended.
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
        expected="that of a publisher",
        todo="Log in (esglogin).",
        code="publisher-login",
    )


@contextmanager
def _translated(subject: str) -> Iterator[None]:
    """Turn what esgcet and its HTTP libraries throw into our errors. Their texts may quote headers,
    so only types are passed on.
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
            todo="Log in again (esglogin), then esgvzarr resume.",
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
    """esgcet's client drops the answer, so the request's own ``auth`` hook hears it."""
    heard: list[Any] = []
    auth = client.auth

    def listening(request: Any) -> Any:
        request = auth(request) if auth else request
        request.register_hook("response", lambda response, **_: heard.append(response))
        return request

    with _swapped(client, "auth", listening):
        client.json_patch(collection, item_id, [dict(operation)])
    if not heard:
        raise _unreachable(f"{collection}/{item_id}", "no answer")
    answer = heard[0]  # a redirect ends a PATCH: what follows is a GET
    token = answer.request.headers.get("Authorization", "").removeprefix("Bearer ")
    return answer.status_code, answer.text.replace(token, "***") if token else answer.text


def _patch_globus(
    client: Any, collection: str, item_id: str, operation: Mapping[str, Any]
) -> tuple[int, str]:
    """esgcet's own method turns every error into ``False``, so its client underneath is asked the
    same.
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
        todo="Try esgvzarr resume later.",
        code="index-unreachable",
    )


def _refused(subject: str, status: int, body: str) -> LinkError:
    """RFC 9457 bodies say why; others are quoted."""
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
