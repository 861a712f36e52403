"""The call of xarray that opens references, for the link, the page and the command line alike."""

from __future__ import annotations

from dataclasses import dataclass

from ..model import Layout
from .registered import of_place
from .requirements import in_shell

_STOCK = "kerchunk"
_OURS = "esgvzarr"


@dataclass(frozen=True, slots=True)
class OpeningCall:
    """The call that opens references."""

    function: str
    """Function of xarray: ``open_dataset``, or ``open_datatree`` for groups."""
    engine: str

    @property
    def is_stock(self) -> bool:
        """Whether readers do not need esgvzarr."""
        return self.engine == _STOCK

    def line(self, place: str) -> str:
        """Return a line of Python that opens the references at a URL or path, with dask."""
        return f'xarray.{self.function}("{place}", engine="{self.engine}", chunks={{}})'


def opening_call(place: str, layout: Layout) -> OpeningCall:
    """Return the call that opens the references at a URL or path.

    Args:
        place: URL or path; its suffix identifies the output.
        layout: how the references show the dataset.
    """
    function = "open_datatree" if layout.is_tree else "open_dataset"
    is_stock = layout is Layout.WHOLE and is_stock_json(place)
    return OpeningCall(function, _STOCK if is_stock else _OURS)


def esgvzarr_for(place: str) -> str:
    """Return the arguments of pip with which esgvzarr can open the references at a URL or path, for
    a command line.
    """
    return in_shell(of_place(place).requirements)


def is_json(place: str) -> bool:
    """Whether the name is that of plain JSON, which browsers open."""
    return place.endswith(".json")


def is_stock_json(place: str) -> bool:
    """Whether the name is that of plain JSON of Zarr version 2, which kerchunk's own engine
    opens.
    """
    output = of_place(place)
    return output.is_stock and place.endswith(output.suffix)
