"""Choose the data node whose dataset is read next."""

from __future__ import annotations

import time
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field

from ..errors import Fault, traits_of
from ..outcome import Outcome
from .queue import EarlierOutcome, Plan, Planned

REST_AFTER = 3
"""After this many consecutive datasets without an answer, a data node is not asked for some
time.
"""


REST_S = 600.0
_BUFFER = 100


@dataclass
class NodeSchedule:
    """The order of datasets: fair between data nodes, limited for each, and without nodes that do
    not answer.
    """

    plan: Plan
    per_node: int
    _reading: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    _silent: Counter[str] = field(default_factory=Counter)
    _rests_until: dict[str, float] = field(default_factory=dict)
    _waiting: dict[str, deque[tuple[int, Planned]]] = field(default_factory=dict)
    _last: dict[str, int] = field(default_factory=dict)
    """Number of the last dataset that was read from the plan: a dataset that stays open gets its
    next turn in the next run.
    """
    _order: deque[str] = field(default_factory=deque)
    _emptied: set[str] = field(default_factory=set)
    """Nodes of which the plan had no further dataset, since more were listed."""
    _is_more_listed: bool = True
    """Whether the plan may have nodes that are not in the order yet."""

    def take(self) -> Planned | None:
        """Return the next dataset; None if there is none now."""
        return self._next() or (self._next() if self._look_again() else None)

    def listed(self) -> None:
        """Record that the plan may have further datasets and nodes."""
        self._is_more_listed = True
        self._emptied.clear()

    def read(self, planned: Planned) -> None:
        """Record that a dataset was read, so that the next one of its node may be."""
        self._reading[planned.data_node].discard(planned.dataset_id)

    def judge(self, data_node: str, outcome: Outcome | EarlierOutcome) -> None:
        """Pause a node that does not answer; resume it when it does."""
        fault = traits_of(outcome.code).fault
        if fault is Fault.DATA_NODE and outcome.retryable:
            self._silent[data_node] += 1
            if self._silent[data_node] >= REST_AFTER:
                self._rests_until[data_node] = time.monotonic() + REST_S
        elif fault not in (Fault.MACHINE, Fault.OURS):
            self._silent[data_node] = 0
            self._rests_until.pop(data_node, None)

    @property
    def resting(self) -> tuple[str, ...]:
        """Return the nodes that do not answer."""
        return tuple(sorted(self._rests_until))

    def _next(self) -> Planned | None:
        for _ in range(len(self._order)):
            node = self._order[0]
            self._order.rotate(-1)
            if (
                len(self._reading[node]) >= self.per_node
                or node in self._emptied
                or self._rests_until.get(node, 0.0) > time.monotonic()
            ):
                continue
            if not self._waiting.get(node):
                self._waiting[node] = deque(
                    self.plan.open_datasets(node, self._last.get(node, 0), _BUFFER)
                )
            if self._waiting[node]:
                self._last[node], planned = self._waiting[node].popleft()
                self._reading[node].add(planned.dataset_id)
                return planned
            self._emptied.add(node)
        return None

    def _look_again(self) -> bool:
        if not self._is_more_listed:
            return False
        self._is_more_listed = False
        new = [node for node in self.plan.open_nodes() if node not in self._order]
        self._order.extend(new)
        return bool(new)
