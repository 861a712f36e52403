"""Run esgcet's ``esgpublish`` in this process, and report each dataset that it registers."""

from __future__ import annotations

import builtins
import copy
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from ..errors import EsgvzarrError
from .configuration import check_installed, index_kind

log = logging.getLogger(__name__)

Record = Mapping[str, Any]
Patched = Callable[..., Any]
_RUNNING: list[_Hook] = []
"""The run that receives the calls of the entry point, if there is one."""
_SENDING = frozenset(("update", "pid_cite", "pid", "compliance_check"))
"""Methods of esgcet's publishers, besides ``index_pub``, that send or write files."""


@dataclass(frozen=True, slots=True)
class Registration:
    """One dataset that esgcet has just registered."""

    records: tuple[Record, ...] = field(repr=False)
    """esgcet's publication records, one per file and the dataset's last, from before an index
    writer changed them.
    """
    paths: Mapping[str, str] = field(repr=False)
    """Published HTTPServer URL of a file -> its path in the mapfile, with esgcet's mount points
    applied.
    """
    config: Mapping[str, Any] = field(repr=False)
    """esgcet's settings for this dataset, with ``stac_config``. They hold credentials and must
    never be logged.
    """
    index_kind: Literal["stac", "globus", "solr"]
    dry_run: bool
    """Whether this is a dry run: then esgcet's method that publishes was not called."""
    sent: Record = field(default_factory=dict, repr=False)
    """The dataset's record as the index writer sent it."""

    @property
    def instance_id(self) -> str:
        """The DSID."""
        return str(self.records[-1]["instance_id"])


@dataclass(frozen=True, slots=True)
class Unregistered:
    """A mapfile whose dataset esgcet did not register."""

    path: str
    """Path of the mapfile."""
    dataset_id: str
    """The DSID; empty if esgcet did not reach its index."""
    tried: bool
    """False if esgcet ended before this mapfile: it leaves all others after the first one that
    fails.
    """


def run_esgpublish(
    arguments: Sequence[str],
    registered: Callable[[Registration], None],
    registering: Callable[[Registration], None] = lambda _: None,
    unregistered: Callable[[Unregistered], None] = lambda _: None,
) -> int:
    """Run the unmodified ``esgpublish`` in this process, and report each dataset that it registers.

    Args:
        arguments: arguments of ``esgpublish``, without the program's name.
        registered: called once for each registered dataset, after esgcet has finished with it. An
            exception in it is logged with the DSID; it changes neither the run nor its status.
        registering: called just before esgcet sends a dataset to its index; must not raise.
        unregistered: called at the end for each mapfile whose dataset was not registered.

    In a dry run esgcet only scans the files and makes its records: methods that send or write are
    not called (updates of older versions, PIDs, the compliance checker's report). esgcet's own dry
    run calls some of them.

    Returns:
        The exit status that ``esgpublish`` would have as a program.

    Raises:
        PublisherError: esgcet is not installed.
    """
    check_installed()
    from esgcet import pub_internal
    from esgcet.project.generic_pub import BasePublisher

    hook = _Hook(registered, registering)
    with ExitStack() as stack:
        stack.enter_context(swapped(sys, "argv", ["esgpublish", *arguments]))
        for name in ("exit", "quit"):  # These exceptions close stdin too.
            stack.enter_context(swapped(builtins, name, sys.exit))
        if has_entry_point(pub_internal):
            stack.enter_context(hook.running())
        else:
            runner = hook.runner(pub_internal.PubRunner)
            stack.enter_context(swapped(pub_internal, "PubRunner", runner))
        for publisher in _family(BasePublisher):
            if "index_pub" in vars(publisher):
                stack.enter_context(
                    swapped(publisher, "index_pub", hook.captured(publisher.index_pub))
                )
            for name in _SENDING & vars(publisher).keys():
                stack.enter_context(
                    swapped(publisher, name, _kept_in_dry_runs(getattr(publisher, name)))
                )
        status = _status_of(pub_internal.main)
    for left in hook.unregistered():
        unregistered(left)
    return status


def has_entry_point(pub_internal: Any) -> bool:
    """Whether this version of esgcet calls the entry points ``esgcet.published``
    (docs/upstream).
    """
    return getattr(pub_internal, "PUBLISHED", "") == "esgcet.published"


def published(publisher: Any, _: Any) -> None:
    """Called by esgcet through the entry point ``esgcet.published`` when it has finished with a
    mapfile.
    """
    for hook in _RUNNING:
        hook.through(str(publisher.fullmap))


def _status_of(main: Callable[[], None]) -> int:
    """Return the exit status of a program."""
    try:
        main()
    except SystemExit as stop:
        return _status(stop)
    except KeyboardInterrupt:
        raise
    except FileNotFoundError as missing:  # A mapfile or the configuration is wrong.
        log.error("esgpublish stopped: %s", missing)
        return 1
    except BaseException:  # esgcet also raises bare BaseException.
        log.exception("esgpublish stopped")
        return 1
    return 0


@contextmanager
def swapped(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Set an attribute to another value inside the block."""
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
    """Wrap a method so that a dry run does not call it, and returns True as for a passed check."""

    def wrapper(publisher: Any, *arguments: Any) -> Any:
        if publisher.argdict.get("dry_run"):
            log.info("dry run: %s of esgcet is not run", method.__name__)
            return True
        return method(publisher, *arguments)

    return wrapper


def _named_maps() -> list[str]:
    """Return the mapfiles of the command line; empty if it cannot be read."""
    from esgcet.util.args import PublisherArgs

    try:
        return list(_maps_of(PublisherArgs().get_args().map or ()))
    except SystemExit:
        return []


class _Hook:
    """Captures the arguments of ``index_pub``, and acts when esgcet has finished with the mapfile.

    It must not act inside ``index_pub``: esgcet may still exit(1) afterwards. A mapfile is one
    dataset, and its last call of ``index_pub`` counts.
    """

    def __init__(
        self,
        registered: Callable[[Registration], None],
        registering: Callable[[Registration], None],
    ) -> None:
        self._registered = registered
        self._registering = registering
        self._captured: tuple[Registration, bool] | None = None
        self._map = ""
        """The mapfile of the captured dataset."""
        self._maps: list[str] = []
        self._tried: dict[str, str] = {}
        """Mapfile whose dataset was not registered -> its DSID, if it is known."""
        self._through: set[str] = set()
        """Mapfiles whose datasets were registered."""

    def unregistered(self) -> Iterator[Unregistered]:
        """Yield the mapfiles whose datasets were not registered, in the order of the run."""
        for path in self._maps:
            if path in self._tried:
                yield Unregistered(path, self._tried[path], tried=True)
            elif path not in self._through:
                yield Unregistered(path, "", tried=False)

    def captured(self, index_pub: Patched) -> Patched:
        def wrapper(publisher: Any, records: Sequence[Record]) -> Any:
            registration = _registration(publisher, records)
            self._map = str(publisher.fullmap)
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

    @contextmanager
    def running(self) -> Iterator[None]:
        """Receive the calls of the entry point inside the block. A mapfile at which esgcet ends is
        recorded here.
        """
        _RUNNING.append(self)
        try:
            self._maps = _named_maps()
            yield
            left = [path for path in self._maps if path not in self._through | set(self._tried)]
            if self._captured is not None:
                self._act(self._map)
            elif left and not self._tried:
                self._tried[left[0]] = ""
        finally:
            _RUNNING.remove(self)

    def through(self, fullmap: str) -> None:
        """Act on a mapfile that esgcet has finished with."""
        self._act(fullmap)
        self._captured = None

    def runner(self, base: type[Any]) -> type[Any]:
        hook = self

        class Runner(base):  # type: ignore[misc]
            """esgcet's runner of one map."""

            def run(self, fullmap: str, pub_args: Any) -> Any:
                hook._captured = None
                hook._maps = hook._maps or list(_maps_of(pub_args.get_args().map))
                try:
                    return super().run(fullmap, pub_args)
                except KeyboardInterrupt:
                    hook._captured = None  # The operator interrupted the run.
                    raise
                finally:
                    hook._act(fullmap)

        return Runner

    def _act(self, fullmap: str) -> None:
        if self._captured is None:
            self._tried[fullmap] = ""
            log.warning(
                "%s: esgpublish ended before it reached the index, so no references are made",
                fullmap,
            )
            return
        registration, accepted = self._captured
        if not accepted:
            self._tried[fullmap] = registration.instance_id
            log.warning(
                "%s: esgpublish did not register it, so no references are made",
                registration.instance_id,
            )
            return
        self._through.add(fullmap)
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


def _maps_of(named: Sequence[str]) -> Iterator[str]:
    """Yield the mapfiles that esgcet processes, given a mapfile, a list of mapfiles, or a directory
    of them.
    """
    for name in named:
        if os.path.isdir(name):
            places = [Path(name) / file for file in os.listdir(name)]
            yield from (str(place) for place in places if not place.is_dir())
        elif os.path.isfile(name):
            yield from _maps_in(name)
        else:
            yield name


def _maps_in(path: str) -> list[str]:
    """Return the file itself if it is a mapfile, else the mapfiles that it lists."""
    lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    first = lines[0] if lines else ""
    if "|" in first and (".v" in first or "#" in first):
        return [path]
    return [line.rstrip() for line in lines]


def _registration(publisher: Any, records: Sequence[Record]) -> Registration:
    config = publisher.argdict
    return Registration(
        records=tuple(copy.deepcopy(list(records))),
        paths=_paths(records, publisher.mapdict or ()),
        config=copy.deepcopy(config),
        index_kind=index_kind(config),
        dry_run=bool(config.get("dry_run")),
    )


def _paths(records: Sequence[Record], maplines: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the local path of each published URL. esgcet makes the File records in the order of
    the mapfile, and may skip lines.
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
