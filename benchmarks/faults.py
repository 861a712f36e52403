"""``python -m benchmarks.faults``: thousands of operations under random faults, and what is left
when they are over.

Datasets are linked, linked again, superseded, replaced by force, unpublished and resumed in a STAC
API, Solr, Globus Search and a static catalogue, by processes that are killed at any moment, while
data nodes, indexes and disks fail. Equal seeds give equal operations and faults; what runs at the
same time as what else, no seed can say.

After the storm, and again after everything was healed and resumed, each dataset is looked at. The
exit status is 1 if anything is broken: a link without its file, a file or temporary file that is
of no owner, a ledger that says otherwise than the index, a wrong value, a crash, a process that
hangs.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from esgvzarr.generate import make_transport, verify_published
from esgvzarr.link.ledger import Ledger
from esgvzarr.link.states import DONE, State
from esgvzarr.link.task import Entry
from esgvzarr.settings import read_settings
from esgvzarr.testing import write_monthly
from esgvzarr.testing.oddities import forget_member

from .fault_worker import Order, work
from .sites import Site, open_sites
from .storm import DISKS, KILLS, LATE_S, OTHERS, PASSING, POLL_S, QUEUES, Injection, SmallDisk

VERBS = {
    "new": 14,
    "link": 30,
    "force": 8,
    "unpublish": 14,
    "delete": 8,
    "resume": 12,
    "resume all": 5,
}
"""Verb -> weight. ``new`` makes a new version of a dataset, which supersedes the one before, and
links it.
"""
_WANTED = {
    "new": "linked",
    "link": "linked",
    "force": "linked",
    "unpublish": "withdrawn",
    "delete": "deleted",
}
_WAITS = ("index-pending", "index-earlier-change", "store-bytes-differ")
_HANGS_S = 60.0
_SETTLES_S = 60.0 + 100 * POLL_S
"""An index has lost a change after 60 times as long as anybody waits for it."""
_WORKERS = multiprocessing.get_context("forkserver")


# ---- what is done: drawn before anything is done


@dataclass(frozen=True, slots=True)
class Operation:
    """One verb on one dataset, and what it meets."""

    number: int
    verb: str
    site: str
    family: int
    dataset_id: str
    injections: tuple[Injection, ...] = ()
    template: int = 0
    """Which files the dataset has from now on, for ``new`` and ``force``."""


def draw(count: int, seed: int) -> list[Operation]:
    """All operations, from nothing but the seed."""
    dice = random.Random(seed)
    families = max(2, count // 60)
    versions: dict[tuple[str, int], list[str]] = defaultdict(list)
    operations = []
    for number in range(count):
        site = dice.choice(("stac", "solr", "globus", "catalog"))
        family = dice.randrange(families)
        known = versions[site, family]
        verb = dice.choices(list(VERBS), list(VERBS.values()))[0] if known else "new"
        if site == "catalog" and verb == "resume all":
            verb = "resume"
        if verb == "new":
            master_id = f"CMIP6.CMIP.MOHC.UKESM1-0-LL.historical.r{family + 1}i1p1f2.Amon.tas.gn"
            known.append(f"{master_id}.v{20190101 + len(known)}")
        dataset_id = known[-1] if verb == "new" else dice.choice(known)
        injections = tuple(_draw_faults(dice, verb, site, family))
        operations.append(
            Operation(number, verb, site, family, dataset_id, injections, dice.randrange(4))
        )
    return operations


def _draw_faults(dice: random.Random, verb: str, site: str, family: int) -> Iterator[Injection]:
    """None, one or two."""
    kinds = list(PASSING) * 2 + list(KILLS) * 5 + ["HTTP 403"]
    kinds += [kind for kind in DISKS if kind == "file size limit" or has_small_disk(family)] * 4
    if site != "catalog":
        kinds += [*QUEUES * 6, *["HTTP 409"] * 3] + ["not registered yet"] * 4 * (verb == "new")
    if site == "globus":
        kinds += ["ingest task fails"] * 3
    for kind in {dice.choice(kinds): None for _ in range(dice.choice((0, 1, 1, 1, 2)))}:
        if kind in (*QUEUES, "HTTP 409", "ingest task fails"):
            where = "changes"
        elif kind in (*PASSING, "HTTP 403", "SIGKILL at a request"):
            where = (
                dice.choice(("data", "data", "served", "reads", "changes"))
                if site != "catalog"
                else "data"
            )
        else:
            where = ""
        first = {"data": dice.randint(1, 20), "reads": dice.randint(1, 4)}.get(where, 1)
        times = 1 if kind in KILLS else dice.choice((1, 1, 2, 99))
        yield Injection(kind, where, first, times, dice.random())


def has_small_disk(family: int) -> bool:
    """Whether the datasets of a family lie on a disk of their own, where this process may mount
    one.
    """
    return family % 4 == 1


# ---- doing it


class Worker:
    """A process that does orders; a new one takes its place where it is killed."""

    def __init__(self, note: Any) -> None:
        self._note = note
        self._lock = threading.Lock()
        self._start()

    def _start(self) -> None:
        self._pipe, theirs = _WORKERS.Pipe()
        process = _WORKERS.Process(target=work, args=(theirs,), daemon=True)
        process.start()
        theirs.close()
        with self._lock:
            self._process = process
            self.killed = False

    def kill(self) -> None:
        """SIGKILL, from whichever thread."""
        with self._lock:
            self.killed = True
            self._process.kill()

    def do(self, order: Order, kill_after_s: float = 0.0) -> tuple[str, Any]:
        """What it says at last: ``done`` with outcomes, ``crashed`` with a traceback; ``killed``;
        ``hung``.
        """
        timer = threading.Timer(kill_after_s, self.kill)
        if kill_after_s:
            timer.start()
        try:
            self._pipe.send(order)
            while True:
                if not self._pipe.poll(_HANGS_S):
                    self.kill()
                    said = ("hung", f"{order} for more than {_HANGS_S:g} s")
                    break
                said = self._pipe.recv()
                if said[0] != "warned":
                    break
                self._note(order, said[1])
        except (EOFError, OSError):
            said = ("killed", "") if self.killed else ("crashed", "the process died by itself")
        timer.cancel()
        timer.join() if timer.ident else None
        if self.killed or said[0] == "crashed":
            self.close()
            self._start()
        return said

    def close(self) -> None:
        """Its end."""
        self._process.kill()
        self._process.join()
        self._pipe.close()


@dataclass
class Run:
    """All of it: sites, disks, and what was seen."""

    sites: dict[str, Site]
    directory: Path
    disks: dict[tuple[str, int], SmallDisk] = field(default_factory=dict)
    wanted: dict[tuple[str, str], str] = field(default_factory=dict)
    """(Site, dataset) -> what it is to be in the end."""
    templates: dict[tuple[str, str], int] = field(default_factory=dict)
    unheard: set[tuple[str, str]] = field(default_factory=set)
    """(Site, dataset) whose last order was killed before the ledger had a step of it."""
    warned: set[Order] = field(default_factory=set)
    """Orders of which a process said that the ledger could not be used."""
    outcomes: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, order: Order, warning: str) -> None:
        """A warning of a worker."""
        if "cannot be used as the ledger" in warning:
            with self.lock:
                self.warned.add(order)

    def breaks(self, what: str) -> None:
        """Keep that something is wrong."""
        with self.lock:
            self.broken.append(what)

    def order(self, site: Site, verb: str, dataset_id: str, file_limit: int = 0) -> Order:
        """For a worker."""
        return Order(
            verb,
            dataset_id,
            site.node.config,
            site.node.directory_of(dataset_id),
            site.catalog,
            file_limit,
        )

    def put_files(self, site: Site, dataset_id: str, template: int) -> None:
        """The dataset's files, from now on."""
        site.node.add_dataset(
            dataset_id, sorted((self.directory / f"template{template}").glob("*.nc"))
        )
        self.templates[site.kind, dataset_id] = template


def operate(run: Run, worker: Worker, operation: Operation) -> None:
    """One operation, from what goes before to a look at what is left."""
    site = run.sites[operation.site]
    name = operation.dataset_id
    kinds = [one.kind for one in operation.injections]
    if operation.verb in ("new", "force"):
        run.put_files(site, name, operation.template)
    if operation.verb == "new":
        version = int(name.rpartition(".v")[2])
        if version > 20190101:
            site.mark_older(f"{name.rpartition('.v')[0]}.v{version - 1}")
        if "not registered yet" not in kinds:
            site.register(name)
    run.wanted[site.kind, name] = _WANTED.get(
        operation.verb, run.wanted.get((site.kind, name), "linked")
    )
    before = latest(site).get(name)
    site.storm.set(name, operation.injections, worker.kill)
    kill_after_s = next(
        (
            0.001 + 0.16 * one.number
            for one in operation.injections
            if one.kind == "SIGKILL at an instant"
        ),
        0.0,
    )
    limit = next(
        (
            int(1 + 60000 * one.number**2)
            for one in operation.injections
            if one.kind == "file size limit"
        ),
        0,
    )
    verb = "link" if operation.verb == "new" else operation.verb
    with disk_faults(run, operation):
        order = run.order(site, verb, name, limit)
        said, result = worker.do(order, kill_after_s)
    site.storm.calm(name)
    site.register(name)
    with run.lock:
        if operation.verb in _WANTED:
            run.unheard.discard((site.kind, name))
            if said == "killed" and latest(site).get(name) == before:
                run.unheard.add((site.kind, name))
        run.faults.update(kind for kind in kinds if kind in (*DISKS, *OTHERS[:1]))
        run.faults["SIGKILL at an instant"] += said == "killed" and bool(kill_after_s)
        said_of = [said]
        if said == "done":
            said_of = [f"{state} [{code}]" if code else state for _, state, code in result]
        run.outcomes.update(f"{operation.verb}: {what}" for what in said_of)
        warned = order in run.warned
        run.warned.discard(order)
    codes = {code for _, _, code in result} if said == "done" else set()
    if warned and codes and site.kind != "catalog" and "store-ledger" not in codes:
        run.breaks(f"{operation}: went on without a ledger: {result}")
    if said in ("crashed", "hung"):
        run.breaks(
            f"operation {operation.number}, {operation.verb} {site.kind} {name}, {kinds}: "
            f"{said}: {result}"
        )
    check_no_dangling_link(run, site, name, f"after operation {operation}: {said}")


@contextmanager
def disk_faults(run: Run, operation: Operation) -> Iterator[None]:
    """The family's disk is full or read-only meanwhile."""
    disk = run.disks.get((operation.site, operation.family))
    faults = {one.kind: one.number for one in operation.injections} if disk else {}
    if disk and "read-only disk" in faults:
        with disk.read_only():
            yield
    elif disk and "full disk" in faults:
        with disk.full(int(3 * faults["full disk"])):
            yield
    else:
        yield


def check_no_dangling_link(run: Run, site: Site, dataset_id: str, when: str) -> None:
    """Whatever happened, a link that is shown leads to a file. Another process may be at work
    meanwhile.
    """
    if site.links(dataset_id) and not site.path(dataset_id).exists() and site.links(dataset_id):
        run.breaks(f"{site.kind} {dataset_id}: a link to nothing {when}")


def storm(run: Run, operations: Sequence[Operation], workers: int) -> None:
    """All operations; those of one family in order, by one worker."""

    def lane(number: int) -> None:
        worker = Worker(run.note)
        for operation in operations:
            if operation.family % workers == number:
                try:
                    operate(run, worker, operation)
                except (
                    Exception
                ) as error:  # of this program: or the others would go on without a word
                    run.breaks(f"{operation}: {type(error).__name__}: {error}")
                    raise
        worker.close()

    threads = [threading.Thread(target=lane, args=(number,)) for number in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def settle(run: Run) -> Counter[str]:
    """Heal, resume, and ask again where the reason was definite, or where no ledger heard of it:
    who sees a command killed runs it again. What each dataset needed for that.
    """
    worker = Worker(run.note)
    needed = Counter[str]()
    for site in run.sites.values():
        deadline = time.monotonic() + _SETTLES_S
        while site.kind != "catalog" and unfinished(site) and time.monotonic() < deadline:
            said, result = worker.do(run.order(site, "resume all", ""))
            if said != "done" or any(state == "raised" for _, state, _ in result):
                run.breaks(f"resume of {site.kind}: {said}: {result}")
                break
            needed.update(f"resume: {state}" for _, state, _ in result if state in DONE)
            time.sleep(POLL_S)
    for (kind, name), wanted in run.wanted.items():
        site = run.sites[kind]
        verb = {"linked": "link", "withdrawn": "unpublish", "deleted": "delete"}[wanted]
        last = latest(site).get(name)
        heard = kind != "catalog" and (kind, name) not in run.unheard
        if heard and last and last.state == wanted:
            continue
        deadline = time.monotonic() + _SETTLES_S
        said, result = worker.do(run.order(site, verb, name))
        while said == "done" and result[0][2] in _WAITS and time.monotonic() < deadline:
            verb = "force" if result[0][2] == "store-bytes-differ" else verb
            time.sleep(POLL_S)
            said, result = worker.do(run.order(site, verb, name))
        needed[f"asked for again: {wanted}"] += 1
        if said != "done" or result[0][2]:
            run.breaks(f"{kind} {name} cannot be {wanted} after all was healed: {said}: {result}")
    worker.close()
    return needed


# ---- looking at it


def latest(site: Site) -> dict[str, Entry]:
    """Dataset -> its last step in the ledger."""
    return {last.dataset_id: last for last in Ledger(site.ledger).latest()}


def unfinished(site: Site) -> list[Entry]:
    """What resume takes by itself."""
    return [last for last in latest(site).values() if last.state not in DONE and last.retryable]


def look_after_storm(run: Run) -> Counter[str]:
    """Nothing is at work, and no queue has anything left: ledger, index and disk agree, or the
    ledger says that work is left.
    """
    states: Counter[str] = Counter()
    for kind, name in run.wanted:
        site = run.sites[kind]
        links = site.links(name)
        there = site.path(name).exists()
        last = latest(site).get(name)
        check_no_dangling_link(run, site, name, "after the storm")
        said = "not in the ledger"
        if last is not None:
            said = f"{last.state} [{last.code}]" if last.code else last.state
        states[f"{said}, {'link' if links else 'no link'}, {'file' if there else 'no file'}"] += 1
        if kind == "catalog":  # its references are kept as written, not as linked
            continue
        if last and last.state is State.LINKED:
            whole = site.is_whole(name, linked=True)
            if not (
                whole and there and sha256(site.path(name)) == last.sha256 and links == [last.href]
            ):
                run.breaks(f"{kind} {name}: the ledger says linked; index: {links}, file: {there}")
        elif last and last.state in (State.WITHDRAWN, State.DELETED):
            if links or there:
                run.breaks(
                    f"{kind} {name}: the ledger says {last.state}; index: {links}, file: {there}"
                )
        elif last and last.state is not State.OPEN and not last.code:
            run.breaks(f"{kind} {name}: {last.state} without a reason")
    return states


def what_is_wrong(site: Site, name: str, wanted: str, last: Entry | None) -> list[str]:
    """Where index, disk and ledger are not as was last asked for. The ledger knows the files of a
    catalogue by their paths alone.
    """
    linked = wanted == "linked"
    path = site.path(name)
    href = str(path) if site.kind == "catalog" else site.node.url_of(name)
    wrong = []
    if not site.is_whole(name, linked=linked):
        wrong.append("the record is not whole")
    if site.links(name) != [href] * linked:
        wrong.append(f"links {site.links(name)}")
    if path.exists() != linked:
        wrong.append(f"file {path.exists()}")
    if site.kind == "catalog":
        return wrong
    if last is None or last.state != wanted:
        wrong.append(f"ledger {last and (last.state, last.code)}")
    elif linked and path.exists() and last.sha256 != sha256(path):
        wrong.append(f"the ledger has {last.sha256}, the file {sha256(path)}")
    return wrong


def look_at_end(run: Run) -> Counter[str]:
    """Each dataset is what was last asked for: linked once and proved value for value, or without
    link and file.
    """
    states: Counter[str] = Counter()
    for (kind, name), wanted in run.wanted.items():
        site = run.sites[kind]
        linked = wanted == "linked"
        wrong = what_is_wrong(site, name, wanted, latest(site).get(name))
        if linked and not wrong:
            settings = read_settings(site.node.config)
            with make_transport(settings) as transport:
                report = verify_published(str(site.path(name)), [], transport, settings, full=True)
            wrong = [f"{check.name} {check.subject}: {check.detail}" for check in report.failures]
        if wrong:
            run.breaks(f"{kind} {name} should be {wanted}: {'; '.join(wrong)}")
        template = [
            sha256(file)
            for file in sorted(
                (run.directory / f"template{run.templates[kind, name]}").glob("*.nc")
            )
        ]
        if [sha256(file) for file in site.files(name)] != template:
            run.breaks(f"{kind} {name}: its NetCDF files were touched")
        states["linked and proved" if linked else wanted] += 1
    for site in run.sites.values():
        for path in site.directory.rglob("*"):
            known = path.suffix in (".nc", ".map") or path.name in (
                "collection.json",
                "catalog.json",
            )
            temporary = path.suffix == ".tmp" or path.name.startswith((".esgvzarr-", ".CMIP6"))
            if temporary or (
                path.suffix == ".json" and not known and not is_known(run, site, path)
            ):
                run.breaks(f"left behind: {path}")
        with sqlite3.connect(site.ledger) as ledger:
            if ledger.execute("PRAGMA integrity_check").fetchone()[0] != "ok":
                run.breaks(f"{site.ledger} is damaged")
    return states


def is_known(run: Run, site: Site, path: Path) -> bool:
    """Whether a JSON file belongs to a dataset, in a place where it may lie."""
    return (site.kind, path.stem) in run.wanted or path.name == "egi-token.json"


def sha256(path: Path) -> str:
    """Hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


# ---- the whole


def write_templates(directory: Path) -> None:
    """Four datasets of two small files: plain, compressed, netCDF-3, and with other values. They
    fit the ids of all members.
    """
    kinds: list[dict[str, Any]] = [
        {},
        {"compression": "zlib", "chunks": (1, 4, 6)},
        {"format": "NETCDF3_CLASSIC"},
        {"seed": 1},
    ]
    for number, changes in enumerate(kinds):
        write_monthly(
            directory / f"template{number}", lengths=(12, 12), extra=(forget_member,), **changes
        )


def mount_disks(run: Run, operations: Sequence[Operation], stack: ExitStack) -> None:
    """Small disks, where this process may mount any."""
    places = {
        (one.site, one.family): one.dataset_id for one in operations if has_small_disk(one.family)
    }
    for place, dataset_id in sorted(places.items()):
        try:
            disk = SmallDisk(run.sites[place[0]].node.directory_of(dataset_id).parent)
        except (subprocess.CalledProcessError, OSError):  # not root, or no mount
            return
        stack.callback(disk.close)
        run.disks[place] = disk


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse arguments, raise the storm, print figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    parser.add_argument("--operations", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--workers", type=int, default=2, help="processes that operate at the same time"
    )
    parser.add_argument("--dir", type=Path, help="keep everything here")
    options = parser.parse_args(arguments)
    directory = Path(options.dir or tempfile.mkdtemp(prefix="esgvzarr-faults-")).resolve()
    operations = draw(options.operations, options.seed)
    started = time.monotonic()
    write_templates(directory)
    with open_sites(directory) as sites, ExitStack() as stack:
        run = Run(sites, directory)
        mount_disks(run, operations, stack)
        _WORKERS.set_forkserver_preload(["benchmarks.fault_worker"])
        storm(run, operations, options.workers)
        stormed = time.monotonic()
        time.sleep(2 * LATE_S)
        after_storm = look_after_storm(run)
        needed = settle(run)
        at_end = look_at_end(run)
        for site in sites.values():
            run.faults.update(site.storm.met)
    seconds = (
        f"{stormed - started:.0f} s, and {time.monotonic() - stormed:.0f} s to settle and look"
    )
    print(
        f"{len(operations)} operations on {len(run.wanted)} datasets, seed {options.seed}, "
        f"{options.workers} processes: {seconds}"
    )
    show("operations", Counter(one.verb for one in operations))
    show("in", Counter(one.site for one in operations))
    show("faults met", run.faults)
    show("outcomes", run.outcomes)
    show("after the storm", after_storm)
    show("to settle", needed)
    show("in the end", at_end)
    show("broken", Counter(run.broken))
    if not run.disks:
        print("\nNo disk could be mounted here: none was full or read-only.")
    if options.dir is None:
        shutil.rmtree(directory)
    return 1 if run.broken else 0


def show(title: str, counts: Counter[str]) -> None:
    """A table."""
    print(f"\n{title}: {sum(counts.values())}")
    for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if count:
            print(f"{count:6}  {name}")


if __name__ == "__main__":
    sys.exit(main())
