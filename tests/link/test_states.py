"""The table of transitions: what may follow what, and that nothing else may."""

from __future__ import annotations

from functools import cache
from itertools import product

import pytest

from esgvzarr.errors import StoreError
from esgvzarr.link.states import (
    BEGINNINGS,
    DONE,
    LINKING,
    MAKING,
    REMOVING,
    TRANSITIONS,
    Change,
    Effect,
    NextAction,
    Stage,
    State,
    Step,
    Verb,
    find_transition,
    may_be_sent_after,
)

STAGES = [Stage(verb, step, state) for verb, step, state in product(Verb, Step, State)]


@cache
def reached() -> set[Stage]:
    """All stages to which the table leads from nothing."""
    known: set[Stage] = set()
    new: set[Stage | None] = {None}
    while new:
        found = set()
        for before, after in product(new, STAGES):
            try:
                find_transition(before, after, "a dataset")
            except StoreError:
                continue
            found.add(after)
        new = {stage for stage in found if stage not in known}
        known |= found
    return known


def test_every_row_is_reached_and_none_is_there_twice() -> None:
    rows = set()
    stages = reached()
    for row in TRANSITIONS:
        for verb, state in product(row.verbs, row.states):
            key = (verb, row.before, row.step, state)
            assert key not in rows, key
            rows.add(key)
            assert Stage(verb, row.step, state) in stages


def test_a_link_is_live_only_after_its_file_was_written() -> None:
    for row in TRANSITIONS:
        if row.effect is Effect.SET:
            assert row.before is Step.WRITTEN
            assert (row.step, set(row.states)) in (
                (Step.DONE, {State.LINKED}),
                (Step.SHOWN, {State.OPEN}),
            )
        if row.effect is Effect.CLEAR:
            assert row.step is Step.UNLINKED
            assert row.verbs == REMOVING


def test_a_file_is_removed_only_after_its_link() -> None:
    assert {row.step for row in TRANSITIONS if row.action is NextAction.REMOVE} == {Step.UNLINKED}


def test_an_attempt_that_fails_changes_nothing_of_what_is_live() -> None:
    for row in TRANSITIONS:
        if row.states & {State.FAILED, State.REFUSED, State.PENDING, State.ABSENT, State.SKIPPED}:
            assert row.effect is Effect.KEEP


def test_from_every_stage_the_work_can_go_on() -> None:
    """Whatever was killed: both kinds of work may begin, and what is not done may be resumed."""
    for stage in reached():
        for verb in (Verb.LINK, Verb.UNPUBLISH):
            find_transition(stage, Stage(verb, Step.DECIDED, State.OPEN), "a dataset")
        if stage.verb in LINKING | REMOVING and stage.state not in DONE:
            find_transition(stage, Stage(stage.verb, Step.RESUMED, State.OPEN), "a dataset")


def test_what_is_open_is_never_the_end() -> None:
    assert all(
        (stage.state is State.OPEN) == (stage.step is not Step.DONE)
        for stage in reached()
        if stage.verb not in MAKING
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, Stage(Verb.LINK, Step.WRITTEN, State.OPEN)),
        (
            Stage(Verb.LINK, Step.DECIDED, State.OPEN),
            Stage(Verb.LINK, Step.DONE, State.LINKED),
        ),
        (
            Stage(Verb.UNPUBLISH, Step.DECIDED, State.OPEN),
            Stage(Verb.UNPUBLISH, Step.DONE, State.DELETED),
        ),
        (
            Stage(Verb.LINK, Step.WRITTEN, State.OPEN),
            Stage(Verb.UNPUBLISH, Step.DONE, State.FAILED),
        ),
        (
            Stage(Verb.LINK, Step.DONE, State.FAILED),
            Stage(Verb.LINK, Step.DONE, State.LINKED),
        ),
    ],
    ids=[
        "written undecided",
        "linked unwritten",
        "deleted while linked",
        "other verb",
        "undecided",
    ],
)
def test_out_of_order_is_refused(before: Stage | None, after: Stage) -> None:
    with pytest.raises(StoreError, match="may not follow") as caught:
        find_transition(before, after, "a dataset")
    assert caught.value.code == "store-ledger-order"


def test_a_killed_process_may_have_sent_what_its_last_step_allows() -> None:
    """The action that the table names after a step, and a resumed attempt at once."""
    actions = {Change.LINK: NextAction.LINK, Change.UNLINK: NextAction.UNLINK}
    for change, verbs in ((Change.LINK, LINKING), (Change.UNLINK, REMOVING)):
        allowed = {
            row.step for row in TRANSITIONS if row.verbs & verbs and row.action is actions[change]
        }
        told = {step for step in Step if may_be_sent_after(step, change)}
        assert told == allowed | {Step.RESUMED}
        assert told - {Step.WRITTEN} <= BEGINNINGS
