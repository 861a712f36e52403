"""A link that was taken back comes back, for the files as the index describes them now."""

from __future__ import annotations

from dataclasses import replace

import pytest

from esgvzarr.link.relink import _reads_as_before, link_anew
from esgvzarr.link.remove import WITHDRAWN
from esgvzarr.link.states import State, Verb
from esgvzarr.model import ReferenceFile
from esgvzarr.outcome import Linked, Outcome

from .shelf import ID, Shelf


def relinked(shelf: Shelf) -> Outcome:
    task = replace(shelf.task(), verb=Verb.RELINK)
    return link_anew(task, shelf.ledger, shelf.means)


def test_a_dataset_is_linked_again_without_a_warning_where_readers_see_the_same(
    served_shelf: Shelf,
) -> None:
    shelf = served_shelf
    shelf.link()
    shelf.unlink()
    outcome = relinked(shelf)
    assert isinstance(outcome, Linked), outcome
    assert outcome.warnings == ()
    assert shelf.shown() == [shelf.task().href]


@pytest.mark.parametrize("kept", [True, False])
def test_that_readers_see_other_references_than_before_is_told(
    served_shelf: Shelf, kept: bool
) -> None:
    """What was served before was another file; it is kept beside the ledger, or is gone."""
    shelf = served_shelf
    shelf.link()
    shelf.unlink()
    with shelf.ledger._file.connected() as connection:
        connection.execute("UPDATE step SET sha256 = ? WHERE sha256 <> ''", ("cd" * 32,))
        connection.commit()
    before = shelf.root / WITHDRAWN / shelf.place.name
    if kept:
        before.write_text("{}")
    else:
        before.unlink()
    outcome = relinked(shelf)
    assert isinstance(outcome, Linked), outcome
    (warning,) = outcome.warnings
    assert not warning.refuse
    assert str(warning).startswith(f"[store-replaced] {shelf.task().href}: ")


def test_only_what_was_served_at_the_same_place_counts(served_shelf: Shelf) -> None:
    shelf = served_shelf
    shelf.link()
    shelf.unlink()
    with shelf.ledger._file.connected() as connection:
        connection.execute("UPDATE decision SET href = ?", (f"{shelf.task().href}.older",))
        connection.execute("UPDATE step SET sha256 = ? WHERE sha256 <> ''", ("cd" * 32,))
        connection.commit()
    (shelf.root / WITHDRAWN / shelf.place.name).unlink()
    outcome = relinked(shelf)
    assert isinstance(outcome, Linked), outcome
    assert outcome.warnings == ()


def test_a_dataset_that_the_index_does_not_describe_any_more_is_tried_again_later(
    shelf: Shelf,
) -> None:
    shelf.link()
    shelf.unlink()
    shelf.item().unlink()
    outcome = relinked(shelf)
    assert (outcome.state, outcome.code) == (State.FAILED, "index-item-missing")
    assert outcome.retryable


def test_references_read_as_before_if_all_but_their_provenance_is_equal(shelf: Shelf) -> None:
    shelf.link()
    made = ReferenceFile(str(shelf.place), str(shelf.place), 0, "", written=True)
    away = shelf.root / WITHDRAWN / shelf.place.name
    assert not _reads_as_before(made, shelf.settings)
    away.parent.mkdir()
    away.write_bytes(shelf.place.read_bytes())
    assert _reads_as_before(made, shelf.settings)
    away.write_bytes(shelf.place.read_bytes().replace(b"tas/0.0.0", b"tas/0.0.1"))
    assert not _reads_as_before(made, shelf.settings)
    assert str(ID) in away.name
