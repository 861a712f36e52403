"""Which call of xarray opens references: the link, the page and the command line say the same."""

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
    """Of xarray: ``open_dataset``, or ``open_datatree`` for groups."""
    engine: str

    @property
    def is_stock(self) -> bool:
        """Whether readers need nothing of esgvzarr."""
        return self.engine == _STOCK

    def line(self, place: str) -> str:
        """A line of Python that opens the references at a URL or path, with dask."""
        return f'xarray.{self.function}("{place}", engine="{self.engine}", chunks={{}})'


def opening_call(place: str, layout: Layout) -> OpeningCall:
    """The call that opens the references at a URL or path.

    Args:
        place: its name's end says which output it is.
        layout: how the references show the dataset.
    """
    function = "open_datatree" if layout.is_tree else "open_dataset"
    is_stock = layout is Layout.WHOLE and is_stock_json(place)
    return OpeningCall(function, _STOCK if is_stock else _OURS)


def esgvzarr_for(place: str) -> str:
    """What pip installs so that esgvzarr opens the references at a URL or path, as arguments on a
    command line.
    """
    return in_shell(of_place(place).requirements)


def is_json(place: str) -> bool:
    """Whether a place is plain JSON, by its name: browsers open it."""
    return place.endswith(".json")


def is_stock_json(place: str) -> bool:
    """Whether a place is plain JSON of Zarr version 2, by its name: kerchunk's own engine opens
    it.
    """
    output = of_place(place)
    return output.is_stock and place.endswith(output.suffix)
