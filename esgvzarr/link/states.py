"""The states of a link, and the table of transitions between them. This file alone decides which
step may follow which; disk, index and ledger are elsewhere.

The rules of the order:

1. The ledger stores a step before the action that follows it begins. After a kill, the ledger shows
    the last step.
2. A dataset has one attempt at a time. An attempt begins with a decision (``announced``,
    ``decided``), or continues an earlier one (``resumed``).
3. A link is added in the order ``decided``, ``written``, ``done``: no link is sent before the
    reference file is in its place and proved.
4. A link is removed in the order ``decided``, ``unlinked``, ``done``: no reference file is removed
    before the index no longer shows its link.
5. ``done`` ends an attempt with a state. Each of several outputs is decided and written separately;
    each but the last ends as ``shown`` instead, after which work is left. Only ``shown``, and
    ``linked`` after ``written``, make a link live, and only ``unlinked`` ends that: an attempt that
    fails changes no live link. A dataset that was announced while its link is live may also end as
    ``linked``, which changes nothing.
6. Any attempt may end as refused, failed or pending at any step, and then begin again.

`TRANSITIONS` has each allowed pair of steps, with the states in which the second may leave the
dataset, and the action that begins after it. Any other transition is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from ..errors import StoreError
from ..outcome import DONE as DONE
from ..outcome import State as State
from ..outcome import Verb as Verb


class Step(StrEnum):
    """The last completed step. Ledgers hold these values."""

    ANNOUNCED = "announced"
    """esgcet is about to register the dataset."""
    DECIDED = "decided"
    """The decision for the dataset is stored."""
    RESUMED = "resumed"
    """An earlier decision is continued."""
    WRITTEN = "written"
    """The reference file is in its place, and was proved."""
    SHOWN = "shown"
    """The index shows the link of one of several outputs; the next output is decided afterwards."""
    UNLINKED = "unlinked"
    """The index does not show the link."""
    DONE = "done"
    """The attempt ended."""


class Change(StrEnum):
    """The change that an index is sent."""

    LINK = "link"
    UNLINK = "unlink"


class NextAction(StrEnum):
    """The action after a step, before the next step is stored."""

    REGISTER = "esgcet registers the dataset"
    MAKE = "the files are scanned, the references proved and put in their place"
    LINK = "the index is sent the link"
    UNLINK = "the index is sent the removal of the link"
    REMOVE = "the reference file is moved away or deleted"
    NOTHING = "nothing"


class Effect(StrEnum):
    """How a step changes the record of live links."""

    KEEP = "keep"
    SET = "set"
    CLEAR = "clear"


REMOVING = frozenset((Verb.UNPUBLISH, Verb.RELINK))
"""Verbs that remove a link."""
LINKING = frozenset((Verb.PUBLISH, Verb.LINK))
"""Verbs that add a link."""
MAKING = frozenset((Verb.GENERATE, Verb.COMBINE))
"""Verbs that only write references; the ledger stores only their end."""


def change_of(verb: Verb) -> Change:
    """The change that a verb sends to the index."""
    return Change.UNLINK if verb in REMOVING else Change.LINK


@dataclass(frozen=True, slots=True)
class Transition:
    """One row of the table of transitions."""

    verbs: frozenset[Verb]
    before: Step | None
    """The last step of the dataset in the ledger; None for a dataset that the ledger does not
    know.
    """
    step: Step
    states: frozenset[State]
    """The states in which the dataset may be after the step."""
    action: NextAction
    """The action that begins after this step."""
    effect: Effect = Effect.KEEP

    def leads(self, before: Step | None, after: Stage) -> bool:
        """Whether this row leads from a step to a stage."""
        steps = (self.before, self.step)
        allowed = after.verb in self.verbs and after.state in self.states
        return allowed and steps == (before, after.step)


_OPEN = frozenset((State.OPEN,))
_MADE = frozenset((State.WRITTEN, State.LINKED, State.REFUSED, State.FAILED))
"""``linked`` means here: shown in a static catalogue."""
_SETBACKS = frozenset((State.REFUSED, State.FAILED, State.PENDING, State.ABSENT, State.SKIPPED))


def _rows() -> Iterator[Transition]:
    # An attempt may begin wherever an earlier one ended or was interrupted.
    for before in (None, *Step):
        publish = frozenset((Verb.PUBLISH,))
        yield Transition(publish, before, Step.ANNOUNCED, _OPEN, NextAction.REGISTER)
        yield Transition(LINKING, before, Step.DECIDED, _OPEN, NextAction.MAKE)
        yield Transition(REMOVING, before, Step.DECIDED, _OPEN, NextAction.UNLINK)
        if before is not None:
            yield Transition(LINKING, before, Step.RESUMED, _OPEN, NextAction.MAKE)
            yield Transition(REMOVING, before, Step.RESUMED, _OPEN, NextAction.UNLINK)
        yield Transition(MAKING, before, Step.DONE, _MADE, NextAction.NOTHING)
    for before in (Step.DECIDED, Step.RESUMED):
        yield Transition(LINKING, before, Step.WRITTEN, _OPEN, NextAction.LINK)
    yield Transition(LINKING, Step.WRITTEN, Step.SHOWN, _OPEN, NextAction.NOTHING, Effect.SET)
    for before in (Step.DECIDED, Step.RESUMED):
        yield Transition(REMOVING, before, Step.UNLINKED, _OPEN, NextAction.REMOVE, Effect.CLEAR)
    for before in (Step.ANNOUNCED, Step.DECIDED, Step.RESUMED, Step.WRITTEN):
        yield Transition(LINKING, before, Step.DONE, _SETBACKS, NextAction.NOTHING)
    linked = frozenset((State.LINKED,))
    yield Transition(LINKING, Step.WRITTEN, Step.DONE, linked, NextAction.NOTHING, Effect.SET)
    publish = frozenset((Verb.PUBLISH,))  # The link was live already, and is still shown.
    yield Transition(publish, Step.ANNOUNCED, Step.DONE, linked, NextAction.NOTHING)
    for before in (Step.DECIDED, Step.RESUMED, Step.UNLINKED):
        yield Transition(REMOVING, before, Step.DONE, _SETBACKS, NextAction.NOTHING)
    for verb, states in (
        (Verb.UNPUBLISH, frozenset((State.WITHDRAWN, State.DELETED))),
        (Verb.RELINK, frozenset((State.QUEUED,))),
    ):
        yield Transition(frozenset((verb,)), Step.UNLINKED, Step.DONE, states, NextAction.NOTHING)


TRANSITIONS = tuple(_rows())
BEGINNINGS = frozenset((Step.ANNOUNCED, Step.DECIDED, Step.RESUMED))
"""Steps with which an attempt begins, whatever the step before was."""


@dataclass(frozen=True, slots=True)
class Stage:
    """The progress of an attempt."""

    verb: Verb
    step: Step
    state: State

    def __str__(self) -> str:
        return f"{self.verb} {self.step} ({self.state})"


def find_transition(before: Stage | None, after: Stage, subject: str) -> Transition:
    """Return the row of the table that leads from one stage to the next.

    Args:
        before: the stage of the dataset; None if the ledger does not know it.
        after: the stage that will be stored.
        subject: the dataset.

    Raises:
        StoreError: the table has no such row.
    """
    goes_on = after.step not in BEGINNINGS and after.verb not in MAKING
    last = before.step if before else None
    if not goes_on or (before is not None and before.verb is after.verb):
        for row in TRANSITIONS:
            steps = (row.before, row.step)
            if (
                steps == (last, after.step)
                and after.verb in row.verbs
                and after.state in row.states
            ):
                return row
    raise StoreError(
        subject,
        f"{after} may not follow {before or 'nothing'}",
        expected="a transition of docs/internals/ledger.md",
        todo="Nothing was stored. Please report this as a bug.",
        code="store-ledger-order",
    )


def may_be_sent_after(step: Step, change: Change) -> bool:
    """Whether a process that was killed after this step may have sent the change.

    A resumed attempt may send it at once, because the reference file may be in its place already.
    """
    if change is Change.LINK:
        return step in (Step.WRITTEN, Step.RESUMED)
    return step in (Step.DECIDED, Step.RESUMED)
