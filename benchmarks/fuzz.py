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
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

from esgvzarr import DatasetId, DatasetRecord, EsgvzarrError, FileRecord, Transport
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
FAULTS = ("worker-failed", OTHER_VALUES)
_AT_ONCE = 200
"""Documents that one process reads."""


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


def outcomes_of_documents(paths: list[str]) -> list[str]:
    """What becomes of documents that should describe a dataset."""
    found = []
    with Transport(retries=0, timeout_s=2) as transport:
        for path in paths:
            try:
                read_source(
                    [path], DatasetId.parse(DATASET_ID), transport, {"/data": "http://node.example"}
                )
                found.append(ACCEPTED)
            except EsgvzarrError as error:
                found.append(error.code)
    return found


class Fuzzer:
    """Feeds inputs, and counts and keeps what comes of them."""

    def __init__(self, directory: Path, kept: Path | None) -> None:
        self.directory = directory
        self.kept = kept
        self.counts: Counter[tuple[str, str]] = Counter()
        self.slowest_s = 0.0
        self._fed = 0
        self._waiting: list[tuple[Seed, str]] = []
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
        """Try an input, now or with others of its kind."""
        self._fed += 1  # the same bytes may come twice
        name = f"{hashlib.sha256(one.data).hexdigest()[:16]}-{self._fed}"
        path = self.directory / f"{name}.{one.kind}"
        path.write_bytes(one.data)
        if one.kind in FILES:
            self._note(one, str(path), self._alone(outcome_of_file, str(path)))
        elif one.kind is Kind.REFERENCES:
            found = self._alone(outcome_of_references, str(path), str(self.right))
            self._note(one, str(path), found)
        else:
            self._waiting.append((one, str(path)))
            if len(self._waiting) >= _AT_ONCE:
                self.finish()

    def finish(self) -> None:
        """Try the documents that wait; one by one if something goes wrong with all."""
        waiting = self._waiting
        self._waiting = []
        if not waiting:
            return
        try:
            found = in_a_worker(outcomes_of_documents, [path for _, path in waiting], limits=LIMITS)
        except EsgvzarrError:
            found = [self._alone(_outcome_of_document, path) for _, path in waiting]
        for (one, path), outcome in zip(waiting, found, strict=True):
            self._note(one, path, outcome)

    def _alone(self, function: object, *arguments: str) -> str:
        began = time.monotonic()
        try:
            found: str = in_a_worker(function, *arguments, limits=LIMITS)  # type: ignore[arg-type]
        except EsgvzarrError as error:
            found = error.code
            if found == "worker-failed":
                print(f"{arguments[0]}: {error}", file=sys.stderr)
        self.slowest_s = max(self.slowest_s, time.monotonic() - began)
        return found

    def _note(self, one: Seed, path: str, outcome: str) -> None:
        self.counts[one.kind.value, outcome] += 1
        odd = outcome in FAULTS or outcome.startswith("worker-")
        odd = odd or (one.kind in FILES and outcome == "proof-failed")
        if self.kept is not None and odd:
            self.kept.mkdir(parents=True, exist_ok=True)
            place = self.kept / f"{outcome.split(',')[0]}-{Path(path).name}"
            place.write_bytes(one.data)
        Path(path).unlink()

    def faults(self) -> int:
        """Inputs that should not have ended as they did."""
        return sum(count for (_, outcome), count in self.counts.items() if outcome in FAULTS)


def _outcome_of_document(path: str) -> str:
    return outcomes_of_documents([path])[0]


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
        f"slowest {fuzzer.slowest_s:.1f} s; {fuzzer.faults()} faults"
    )
    sys.exit(1 if fuzzer.faults() else 0)


if __name__ == "__main__":
    main()
