"""Facts of a program put invariants out of scope, each with its reason."""

from __future__ import annotations

import pytest

from tcstatic.check.scope import outside_of
from tcstatic.model import Fact, Invariant

SCALER = Fact("no loss scaler is made", ("scaler.step",), "loss_scaled", (False,))
ALONE = Fact("one process trains", ("rank",), "rank", (0,))
AUTOCAST = Fact("nothing is autocast", (), "autocast", ())
SCHEDULER = Fact("no learning-rate scheduler is made", ("scheduler.step",))
FACTS = (SCALER, ALONE, AUTOCAST, SCHEDULER)


def invariant(when: str = "", *, unless: str = "", seen: str = "", **params: object) -> Invariant:
    return Invariant(
        "INF001", "n", "order", params, "warning", "m", "w", "c", when, unless=unless, seen=seen
    )


@pytest.mark.parametrize(
    "one, reason",
    [
        (invariant(), ""),
        (invariant("stage == 'train'"), ""),
        (invariant("not loss_scaled"), ""),
        (
            invariant("loss_scaled and stage == 'train'"),
            "no loss scaler is made, so that its precondition never holds (loss_scaled)",
        ),
        (
            invariant("stage == 'train'", seen="loss_scaled"),
            "no loss scaler is made, so that its precondition never holds (loss_scaled)",
        ),
        (
            invariant(unless="not loss_scaled"),
            "no loss scaler is made, so that its precondition never holds (loss_scaled)",
        ),
        (
            invariant("rank == 1 or loss_scaled"),
            "no loss scaler is made, and one process trains, so that its precondition never holds "
            "(loss_scaled, rank)",
        ),
        (
            invariant("autocast == 'bfloat16' and rank == 0"),
            "nothing is autocast, so that its precondition never holds (autocast)",
        ),
        (
            invariant(between=("scheduler.step", "optimizer.step"), existence="loss.backward"),
            "no learning-rate scheduler is made",
        ),
    ],
)
def test_reasons(one: Invariant, reason: str) -> None:
    assert outside_of([one], FACTS) == ({"INF001": reason} if reason else {})


def test_nothing_is_out_of_scope_where_nothing_is_known() -> None:
    assert outside_of([invariant("rank == 1")], ()) == {}


def test_what_is_not_told_cheaply_goes_to_who_can_tell() -> None:
    asked = []

    def may_hold(condition: object, values: object) -> bool:
        asked.append((condition, values))
        return False

    one = invariant("not loss_scaled and loss < best and best < loss")
    assert outside_of([one], FACTS) == {}
    assert outside_of([one], FACTS, may_hold) != {}
    assert asked[0][1] == {"loss_scaled": (False,)}
