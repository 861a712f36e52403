"""Open NetCDF files by netCDF-C and xarray for the proof, without decoding or masking."""

from __future__ import annotations

import inspect
import resource
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from ..formats.content import SparseContent
from ..netcdf_c import NETCDF_C
from .image import Image

if TYPE_CHECKING:
    import xarray

_MOST_OPEN = 32
"""The most local files, and the most images, that stay open between two reads."""
_LARGEST_KEPT = 2 * 2**20
"""The most fetched bytes of an image that stays open: it holds them in memory a second time."""


class OpenImage:
    """A file in memory. netCDF-C opens it when its dataset is first read.

    Args:
        content: the bytes of the file that were fetched.
        subject: the file's URL.
    """

    def __init__(self, content: SparseContent, subject: str) -> None:
        self.image = Image(content, subject)
        self.is_sound = False
        """Whether the last read succeeded, and touched only bytes that were fetched."""
        self._name = subject.rsplit("/", 1)[-1] or "file"
        self._opened: xarray.Dataset | None = None
        self._closing = ExitStack()

    @property
    def is_open(self) -> bool:
        """Whether netCDF-C could open it."""
        return self._opened is not None

    def dataset(self) -> xarray.Dataset:
        """Return its dataset."""
        if self._opened is None:
            file = _dataset(self._name, memory=self.image.buffer)
            self._opened = self._closing.enter_context(_opened(file))
        return self._opened

    def close(self) -> None:
        """Close the file, and release its memory."""
        try:
            self._closing.close()
        finally:
            self.image.close()


class OpenFiles:
    """Files that stay open between two reads: netCDF-C and xarray take 3 to 10 ms to open one. The
    thread that opened them must close them.
    """

    def __init__(self) -> None:
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        unlimited = limit == resource.RLIM_INFINITY
        self._most = _MOST_OPEN if unlimited else min(_MOST_OPEN, limit // 8)
        self._kept: dict[str, tuple[xarray.Dataset, ExitStack]] = {}
        self._images: dict[str, OpenImage] = {}

    @contextmanager
    def opened(self, path: str, *, keep: bool) -> Iterator[xarray.Dataset]:
        """Open one file. Afterwards it is closed, unless ``keep`` is set, no error occurred, and
        few enough files are open.
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

    @contextmanager
    def image_of(self, subject: str, content: SparseContent, *, keep: bool) -> Iterator[OpenImage]:
        """Give a file in memory: the image that was kept, with the bytes that were fetched since,
        or a new one. Afterwards it is closed, unless ``keep`` is set, it is sound and small, and
        few enough images are open.
        """
        image = self._images.pop(subject, None)
        if image is None:
            image = OpenImage(content, subject)
        else:
            image.image.add(content)
            image.is_sound = False
        try:
            yield image
        finally:
            small = content.held <= _LARGEST_KEPT and len(self._images) < _MOST_OPEN
            if keep and image.is_sound and small:
                self._images[subject] = image
            else:
                image.close()

    def close(self) -> None:
        """Close the files that were kept open."""
        while self._images:
            _, image = self._images.popitem()
            image.close()
        while self._kept:
            _, (_, closing) = self._kept.popitem()
            closing.close()


def _dataset(path: str, **options: Any) -> Any:
    """Open a file in netCDF-C.

    If its variables cannot be listed, the file is closed here, in the thread that opened it.
    netCDF4 would leave it open until the garbage collector closes it, in any thread, while another
    thread may be in netCDF-C, which supports one thread only. Variables get weak references to
    their file, so that a closed file is released at once.
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
    """Return the option of xarray to make no pandas indexes. The proof needs none, and they take
    part of the time of opening a file. Empty for xarray versions without the option.
    """
    import xarray

    known = inspect.signature(xarray.open_dataset).parameters
    return {"create_default_indexes": False} if "create_default_indexes" in known else {}


@contextmanager
def _opened(file: Any) -> Iterator[xarray.Dataset]:
    """Open one file without decoding or masking."""
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
