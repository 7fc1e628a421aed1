"""Gradients that a program averages by hand: one update that went wrong, and what is meant."""

from __future__ import annotations

from collections.abc import Sequence

from tcstatic.runtime.probes.averaged import Averaged, Odd
from tcstatic.runtime.probes.partings import Round

NAMES = ("a", "b", "c")
Used = tuple[Sequence[float], Sequence[float]]  # of rank 0 and of rank 1, by name


def judged(*steps: Used, touched: dict[str, str] | None = None) -> list[Odd | None]:
    averaged, found = Averaged(), []
    before: dict[int, Round] = {}
    for turn, ranks in enumerate(steps):
        now = {
            rank: Round(
                turn,
                dict.fromkeys(NAMES, float(turn)),
                used=dict(zip(NAMES, used, strict=True)),
                touched=touched or {} if rank else {},
            )
            for rank, used in enumerate(ranks)
        }
        found.append(averaged.judge(turn, now, before))
        before = now
    return found


SAME: Used = ((1.0, 2.0, 3.0), (1.0, 2.0, 3.0))
B_APART: Used = ((1.0, 2.0, 3.0), (1.0, 9.0, 3.0))
ALL_APART: Used = ((1.0, 2.0, 3.0), (7.0, 8.0, 9.0))


def test_a_gradient_that_is_another_once_is_told_with_its_update() -> None:
    found = judged(SAME, SAME, B_APART, SAME)
    assert [one is not None for one in found] == [False, False, True, False]
    assert found[2] is not None
    assert (found[2].turn, found[2].parting.name, found[2].parting.ranks) == (2, "b", (0, 1))


def test_it_is_told_later_where_too_few_updates_came_before() -> None:
    found = judged(SAME, B_APART, SAME, SAME)
    assert [None if one is None else one.turn for one in found] == [None, None, 1, None]


def test_the_rank_that_was_written_to_is_apart() -> None:
    found = judged(SAME, SAME, B_APART, touched={"b": "gradient"})
    assert found[2] is not None and found[2].parting.apart == (1,)


def test_what_is_a_ranks_own_is_not_told() -> None:
    assert not any(judged(*[B_APART] * 6))  # a head of its own
    assert not any(judged(SAME, B_APART, B_APART, SAME, SAME))  # every so often
    assert not any(judged(SAME, SAME, ALL_APART, SAME, SAME))  # a step of each rank alone
    assert not any(judged(SAME, SAME, SAME))
