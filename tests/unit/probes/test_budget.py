"""The budget: the first steps in full, then windows at powers of two."""

from __future__ import annotations

import pytest

from tcstatic.runtime.probes import budget as budgets
from tcstatic.runtime.probes.budget import (
    FRESH_STEPS,
    FULL_STEPS,
    LONGEST_PERIOD,
    SHORTEST_PERIOD,
    Budget,
)


class Clock:
    """Stands in for the module `time`."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(budgets, "time", found)
    return found


def ran(clock: Clock, share: float, steps: int, *, bare: float, cost: float) -> tuple[Budget, list]:
    """Run steps that take `bare` seconds, and `cost` more in probes where they are watched."""
    budget, seen = Budget(share), []
    for step in range(steps):
        clock.now += bare
        if budget.watching:
            seen.append(step)
            clock.now += cost
            budget.spent += cost
        assert budget.step_done() is budget.watching
    return budget, seen


def test_the_first_steps_are_watched_in_full(clock: Clock) -> None:
    for share in (0.0, 1e-9, 0.01, 1.0):
        _, seen = ran(clock, share, FULL_STEPS, bare=1.0, cost=100.0)
        assert seen == list(range(FULL_STEPS))


def test_nothing_more_is_watched_with_no_budget(clock: Clock) -> None:
    budget, seen = ran(clock, 0.0, 10_000, bare=1.0, cost=1e-9)
    assert seen == list(range(FULL_STEPS))
    assert budget.sampled == FULL_STEPS / 10_000


@pytest.mark.parametrize("share", [0.0, 1e-9])
def test_what_is_granted_is_watched_where_there_is_a_budget(clock: Clock, share: float) -> None:
    budget, _ = ran(clock, share, 100, bare=1.0, cost=1.0)
    budget.grant()
    watched = [budget.step_done() for _ in range(2 * FRESH_STEPS)]
    assert watched == [share > 0.0] * FRESH_STEPS + [False] * FRESH_STEPS


def test_what_only_the_first_steps_cost_does_not_count(clock: Clock) -> None:
    budget, seen = Budget(0.01), []
    for step in range(1000):
        clock.now += 1.0
        if budget.watching:
            seen.append(step)
            cost = 1000.0 if step < 4 else 1e-6
            clock.now += cost
            budget.spent += cost
        budget.step_done()
    assert budget.period == SHORTEST_PERIOD
    assert len(seen) > 3 * FULL_STEPS


@pytest.mark.parametrize("share", [1.0, 2.0])
def test_everything_is_watched_with_all_the_budget(clock: Clock, share: float) -> None:
    budget, seen = ran(clock, share, 500, bare=1.0, cost=50.0)
    assert seen == list(range(500))
    assert budget.sampled == 1.0


def test_a_window_is_three_steps_in_a_row(clock: Clock) -> None:
    _, seen = ran(clock, 0.01, 100, bare=1.0, cost=1e-6)
    assert seen[FULL_STEPS:] == [32, 33, 34, 64, 65, 66, 96, 97, 98]


@pytest.mark.parametrize("cost", [1e-5, 0.05, 0.3, 2.0, 1e9])
def test_periods_are_powers_of_two(clock: Clock, cost: float) -> None:
    budget, _ = ran(clock, 0.01, FULL_STEPS + 1, bare=1.0, cost=cost)
    assert budget.period.bit_count() == 1
    assert SHORTEST_PERIOD <= budget.period <= LONGEST_PERIOD


@pytest.mark.parametrize("cost", [1e-3, 0.05, 0.3, 2.0])
@pytest.mark.parametrize("share", [0.01, 0.1])
def test_the_share_is_kept(clock: Clock, share: float, cost: float) -> None:
    steps = 1 << 14
    budget, seen = ran(clock, share, steps, bare=1.0, cost=cost)
    later = len(seen) - FULL_STEPS
    assert later >= 3
    assert later * cost <= share * steps * 1.01
    assert budget.sampled == len(seen) / steps


def test_ranks_with_other_measurements_meet_in_common_steps(clock: Clock) -> None:
    _, often = ran(clock, 0.01, 5000, bare=1.0, cost=0.05)
    _, seldom = ran(clock, 0.01, 5000, bare=1.0, cost=0.9)
    assert len(seldom) < len(often)
    assert set(seldom) <= set(often)


def test_before_the_first_step_all_is_sampled() -> None:
    assert Budget(0.01).sampled == 1.0
