"""NetCDF files as netCDF-C and xarray open them for the judge: nothing decoded, nothing masked."""

from __future__ import annotations

import inspect
import resource
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from ..netcdf_c import NETCDF_C

if TYPE_CHECKING:
    import xarray

_MOST_OPEN = 32
"""Files of this machine that stay open between two looks."""


class OpenFiles:
    """Files of this machine that stay open from one look of the judge to the next: netCDF-C and
    xarray take 10 ms to open one. The thread that opened them has to close them.
    """

    def __init__(self) -> None:
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        unlimited = limit == resource.RLIM_INFINITY
        self._most = _MOST_OPEN if unlimited else min(_MOST_OPEN, limit // 8)
        self._kept: dict[str, tuple[xarray.Dataset, ExitStack]] = {}

    @contextmanager
    def opened(self, path: str, *, keep: bool) -> Iterator[xarray.Dataset]:
        """One file, which is closed afterwards, unless it is to be kept for the next look, nothing
        was raised, and not too many are kept already.
        """
        kept = self._kept.pop(path, None)
        if kept is None:
            stack = ExitStack()
            kept = stack.enter_context(_opened(_dataset(path))), stack
        truth, closing = kept
        with closing:
            yield truth
            if keep and len(self._kept) < self._most:
                self._kept[path] = truth, closing.pop_all()

    def close(self) -> None:
        """Close what was kept and not looked at again."""
        while self._kept:
            _, (_, closing) = self._kept.popitem()
            closing.close()


@contextmanager
def opened_image(subject: str, buffer: memoryview) -> Iterator[xarray.Dataset]:
    """A file in memory.

    Args:
        subject: the file's URL.
        buffer: its bytes.
    """
    name = subject.rsplit("/", 1)[-1] or "file"
    with _opened(_dataset(name, memory=buffer)) as truth:
        yield truth


def _dataset(path: str, **options: Any) -> Any:
    """A file, open in netCDF-C.

    One whose variables cannot be listed is closed here, in the thread that opened it. netCDF4 would
    leave it open until the garbage collector closed it, in any thread, while another thread is in
    netCDF-C, which bears only one. With weak references from variables to their file, what was
    closed is let go of at once, too.
    """
    import netCDF4

    with NETCDF_C:
        file = netCDF4.Dataset.__new__(netCDF4.Dataset)
        try:
            netCDF4.Dataset.__init__(file, path, keepweakref=True, **options)
        except BaseException:
            if file.isopen():
                file.close()
            raise
        return file


@cache
def _no_indexes() -> dict[str, Any]:
    """The option of xarray to make no pandas indexes, of which the proof has no use, and which take
    part of the time of opening a file; nothing for versions without it.
    """
    import xarray

    known = inspect.signature(xarray.open_dataset).parameters
    return {"create_default_indexes": False} if "create_default_indexes" in known else {}


@contextmanager
def _opened(file: Any) -> Iterator[xarray.Dataset]:
    """One file as it is: nothing decoded, nothing masked."""
    import xarray

    from .judged_arrays import JudgedStore

    try:
        with NETCDF_C:
            file.set_auto_maskandscale(False)
            file.set_auto_chartostring(False)
            store = JudgedStore(file, lock=NETCDF_C)  # type: ignore[no-untyped-call, unused-ignore]
            options = _no_indexes()
            dataset = xarray.open_dataset(store, decode_cf=False, cache=False, **options)
        yield dataset
    finally:
        with NETCDF_C:
            if file.isopen():
                file.close()
