"""``python -m benchmarks.fuzz --inputs N``: damaged files and documents, and what becomes of them.

Each input ends in an outcome with a code, within 20 s and 1 GiB, or it is accepted and then reads
as netCDF4 reads the file. All else is a fault: it is kept, and the exit status is 1. The same
``--seed`` gives the same inputs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from esgvzarr import DatasetId, DatasetRecord, EsgvzarrError, FileRecord, Transport
from esgvzarr.errors import WorkerError
from esgvzarr.generate import verify_published
from esgvzarr.output import named
from esgvzarr.output.kerchunk import encode
from esgvzarr.proof import verify
from esgvzarr.settings import Settings
from esgvzarr.sources import read_source
from esgvzarr.stage import make_references
from esgvzarr.testing import DATASET_ID
from esgvzarr.testing.mutants import FILES, Kind, Seed, mutants, seeds
from esgvzarr.workers import Limits, in_a_worker

LIMITS = Limits(time_s=20.0, memory_mib=1024)
ACCEPTED = "accepted"
OTHER_VALUES = "accepted, and reads otherwise than netCDF4 reads it"
FAULTS = ("worker-failed", "worker-time", "worker-memory", OTHER_VALUES)
_AT_ONCE = 200
"""Inputs that one process reads."""


def outcome_of_file(path: str) -> str:
    """Scan, combine and prove one file; compare it by itself if it is accepted."""
    warnings.simplefilter("ignore")
    size = Path(path).stat().st_size
    file = FileRecord("tas.nc", path, size=size)
    record = DatasetRecord(DatasetId.parse(DATASET_ID), "", (file,))
    try:
        with Transport() as transport:
            document = encode(make_references(record, transport))
            artefact = named("json").parse(document, "references", transport)
            report = verify(artefact, [file], transport, location="references", full=True)
    except EsgvzarrError as error:
        return error.code
    if not report.passed:
        return "proof-failed"
    return ACCEPTED if reads_alike(json.loads(document), path) else OTHER_VALUES


def reads_alike(references: dict[str, object], path: str) -> bool:
    """Whether stock xarray shows all numbers that netCDF4 reads; none of our code takes part."""
    import netCDF4
    import xarray

    shown = xarray.open_dataset(
        references,  # type: ignore[arg-type]
        engine="kerchunk",
        decode_cf=False,
        storage_options={"skip_instance_cache": True},
        open_dataset_options={"chunks": None, "decode_cf": False},
    )
    with netCDF4.Dataset(path) as truth:
        truth.set_auto_maskandscale(False)
        truth.set_auto_chartostring(False)
        if set(truth.variables) != set(shown.variables):
            return False
        return all(
            _equal(np.asarray(variable[...]), np.asarray(shown.variables[name].values))
            for name, variable in truth.variables.items()
        )


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    if a.shape != b.shape:
        return False
    if a.dtype.kind in "OSUT" or b.dtype.kind in "OSUT":
        return [_text(x) for x in a.ravel().tolist()] == [_text(x) for x in b.ravel().tolist()]
    return bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f" and b.dtype.kind == "f"))


def _text(value: object) -> str:
    return value.decode("utf-8", "replace").rstrip("\0") if isinstance(value, bytes) else str(value)


def outcome_of_references(path: str, file: str) -> str:
    """Verify a reference file, which leads to ``file``, whole."""
    warnings.simplefilter("ignore")
    try:
        with Transport(retries=0, timeout_s=2) as transport:
            report = verify_published(path, [file], transport, Settings(), full=True)
    except EsgvzarrError as error:
        return error.code
    if not report.passed:
        return "proof-failed"
    document = json.loads(Path(path).read_bytes())
    return ACCEPTED if reads_alike(document, file) else OTHER_VALUES


def outcome_of_document(path: str) -> str:
    """Return the outcome of a document that should describe a dataset."""
    dataset_id = DatasetId.parse(DATASET_ID)
    try:
        with Transport(retries=0, timeout_s=2) as transport:
            read_source([path], dataset_id, transport, {"/data": "http://node.example"})
    except EsgvzarrError as error:
        return error.code
    return ACCEPTED


@dataclass(frozen=True, slots=True)
class Input:
    """What is fed, on disk."""

    kind: Kind
    path: str
    right: str
    """A file that references lead to."""


def outcome_of(one: Input) -> str:
    """Return the outcome of an input of any kind."""
    if one.kind in FILES:
        return outcome_of_file(one.path)
    if one.kind is Kind.REFERENCES:
        return outcome_of_references(one.path, one.right)
    return outcome_of_document(one.path)


Judge = Callable[[Input], str]
"""Says the outcome of an input; a function of a module."""


def outcomes_of(
    inputs: Sequence[Input], judge: Judge, *, progress: Callable[[float, str], None]
) -> None:
    """Tell seconds and outcome of each input. An input beyond its time ends the process."""
    for one in inputs:
        signal.setitimer(signal.ITIMER_REAL, LIMITS.time_s)
        began = time.monotonic()
        outcome = judge(one)
        signal.setitimer(signal.ITIMER_REAL, 0)
        progress(time.monotonic() - began, outcome)


class Fuzzer:
    """Feeds inputs, and counts and keeps what comes of them.

    A worker process lives for many inputs. An input that ends it is tried again in a process of its
    own, within its own limits; what it does there is its outcome.
    """

    def __init__(
        self, directory: Path, kept: Path | None = None, judge: Judge = outcome_of
    ) -> None:
        self.directory = directory
        self.kept = kept
        self.judge = judge
        self.counts: Counter[tuple[str, str]] = Counter()
        self.slowest_s = 0.0
        self.not_repeated = 0
        """Inputs that ended a worker which had read others before, and end well alone."""
        self._fed = 0
        self._waiting: list[Input] = []
        self.right = directory / "right.nc"

    def prepare(self) -> list[Seed]:
        """All seeds, the references of a right file among them."""
        found = seeds(self.directory / "seeds")
        data = next(one.data for one in found if one.kind is Kind.HDF5)
        self.right.write_bytes(data)
        file = FileRecord("right.nc", str(self.right), size=len(data))
        record = DatasetRecord(DatasetId.parse(DATASET_ID), "", (file,))
        with Transport() as transport:
            references = encode(make_references(record, transport))
        return [*found, Seed(Kind.REFERENCES, references)]

    def feed(self, one: Seed) -> None:
        """Try an input with others."""
        self._fed += 1  # the same bytes may come twice
        name = f"{hashlib.sha256(one.data).hexdigest()[:16]}-{self._fed}"
        path = self.directory / f"{name}.{one.kind}"
        path.write_bytes(one.data)
        self._waiting.append(Input(one.kind, str(path), str(self.right)))
        if len(self._waiting) >= _AT_ONCE:
            self.finish()

    def finish(self) -> None:
        """Try the inputs that wait."""
        waiting = self._waiting
        self._waiting = []
        while waiting:
            told = self._together(waiting)
            for one, (seconds, outcome) in zip(waiting, told, strict=False):
                self._note(one, seconds, outcome)
            if len(told) < len(waiting):
                self._try_alone(waiting[len(told)])
            waiting = waiting[len(told) + 1 :]

    def _together(self, inputs: Sequence[Input]) -> list[tuple[float, str]]:
        """Seconds and outcome of each input up to the one that ends the process."""
        told: list[tuple[float, str]] = []
        limits = replace(LIMITS, time_s=LIMITS.time_s * (len(inputs) + 1))
        with suppress(WorkerError):
            in_a_worker(
                outcomes_of,
                inputs,
                self.judge,
                limits=limits,
                progress=lambda seconds, outcome: told.append((seconds, outcome)),
            )
        return told

    def _try_alone(self, one: Input) -> None:
        began = time.monotonic()
        try:
            outcome = in_a_worker(self.judge, one, limits=LIMITS)
            self.not_repeated += 1
        except WorkerError as error:
            outcome = error.code
            print(f"{one.path}: {error}", file=sys.stderr)
        self._note(one, time.monotonic() - began, outcome)

    def _note(self, one: Input, seconds: float, outcome: str) -> None:
        self.slowest_s = max(self.slowest_s, seconds)
        self.counts[one.kind.value, outcome] += 1
        odd = outcome in FAULTS or outcome.startswith("worker-")
        odd = odd or (one.kind in FILES and outcome == "proof-failed")
        path = Path(one.path)
        if self.kept is not None and odd:
            self.kept.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, self.kept / f"{outcome.split(',')[0]}-{path.name}")
        path.unlink()

    def faults(self) -> int:
        """Inputs that should not have ended as they did."""
        return sum(count for (_, outcome), count in self.counts.items() if outcome in FAULTS)


def run(inputs: int, seed: int, kept: Path | None = None, seconds: float = math.inf) -> Fuzzer:
    """Feed so many inputs, or as many as can be had in the time."""
    ends = time.monotonic() + seconds
    with tempfile.TemporaryDirectory(prefix="esgvzarr-fuzz-") as place:
        fuzzer = Fuzzer(Path(place), kept)
        source = mutants(fuzzer.prepare(), seed)
        for _ in range(inputs):
            fuzzer.feed(next(source))
            if time.monotonic() > ends:
                break
        fuzzer.finish()
    return fuzzer


def main() -> None:
    """Print a table; exit 1 where there were faults."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=math.inf, help="stop after this time")
    parser.add_argument("--keep", type=Path, help="directory for inputs that end badly")
    options = parser.parse_args()
    began = time.monotonic()
    fuzzer = run(options.inputs, options.seed, options.keep, options.seconds)
    print("| kind | outcome | inputs |\n| --- | --- | --: |")
    for (kind, outcome), count in sorted(fuzzer.counts.items()):
        print(f"| {kind} | {outcome} | {count} |")
    fed = sum(fuzzer.counts.values())
    print(
        f"\n{fed} inputs, seed {options.seed}, {time.monotonic() - began:.0f} s; "
        f"slowest {fuzzer.slowest_s:.1f} s; {fuzzer.not_repeated} ended "
        f"a process among others and not alone; {fuzzer.faults()} faults"
    )
    sys.exit(1 if fuzzer.faults() else 0)


if __name__ == "__main__":
    main()
