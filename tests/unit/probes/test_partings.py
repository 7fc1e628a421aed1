"""What ranks noted of one update, held side by side."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from tcstatic.runtime.probes.partings import (
    ALONE,
    ORDER,
    RESULT,
    Difference,
    Parting,
    Round,
    Verdict,
    first_difference,
    gradients_parted,
    last_alone,
    never_equal,
    out_of_step,
    passed_by_some,
    rates_agreed,
    values_parted,
)

DIGESTS = st.sampled_from([-1.0, 0.0, 1.0, 2.0])


def noted(value: float, gradient: float | None = 5.0, **more: object) -> Round:
    gradients = None if gradient is None else {"w": gradient}
    return replace(Round(0, {"w": value}, gradients), **more)


def test_ranks_with_one_value_and_one_gradient_must_hold_one_value() -> None:
    before = {rank: noted(1.0) for rank in range(3)}
    now = {0: noted(2.0), 1: noted(2.0), 2: noted(3.0)}
    verdict = values_parted(before, now)
    assert verdict.names == ("w",)
    assert verdict.partings == (Parting("w", (0, 1, 2), (2,)),)


def test_shards_are_compared_with_their_copies_only() -> None:
    """Two copies of each of two shards: those of ranks 0 and 2, and of 1 and 3."""
    before = {0: noted(1.0), 1: noted(7.0), 2: noted(1.0), 3: noted(7.0)}
    now = {0: noted(2.0), 1: noted(8.0), 2: noted(2.0), 3: noted(8.0)}
    assert values_parted(before, now).partings == ()
    now[3] = noted(9.0)
    assert values_parted(before, now).partings == (Parting("w", (1, 3), (3,)),)


def test_nothing_is_expected_of_copies_with_other_gradients_or_none() -> None:
    before = {0: noted(1.0), 1: noted(1.0)}
    for gradients in ((5.0, 6.0), (0.0, 0.0), (-1.0, -1.0), (None, None)):
        now = {rank: noted(2.0 + rank, gradient) for rank, gradient in enumerate(gradients)}
        assert values_parted(before, now).names == ()
    assert values_parted(None, {0: noted(2.0), 1: noted(3.0)}).names == ()


def test_a_wrapper_speaks_for_its_group_only() -> None:
    now = {rank: noted(2.0 + rank % 2, group=(rank % 2, rank % 2 + 2)) for rank in range(4)}
    assert values_parted(None, now).partings == gradients_parted(now).partings == ()
    now[2] = noted(9.0, 6.0, group=(0, 2))
    assert values_parted(None, now).partings == (Parting("w", (0, 2), (2,)),)
    assert gradients_parted(now).partings == (Parting("w", (0, 2), (2,)),)


def test_copies_part_once() -> None:
    before = {0: noted(2.0, group=(0, 1)), 1: noted(3.0, group=(0, 1))}
    now = {0: noted(4.0, group=(0, 1)), 1: noted(5.0, group=(0, 1))}
    assert values_parted(before, now).partings == ()
    assert values_parted(None, now).partings != ()


def test_of_two_ranks_the_one_whose_rate_is_another_than_before_is_apart() -> None:
    before = {rank: noted(1.0, group=(0, 1), rates=(0.1,)) for rank in range(2)}
    for changed in range(2):
        now = {rank: noted(2.0, group=(0, 1), rates=(0.1,)) for rank in range(2)}
        now[changed] = noted(3.0, group=(0, 1), rates=(0.2,))
        (parting,) = values_parted(before, now).partings
        assert parting.apart == (changed,)


def test_of_two_ranks_the_one_that_did_more_is_apart() -> None:
    before = {0: noted(1.0), 1: noted(1.0)}
    for clipping in (0, 1):
        now = {
            rank: noted(2.0 + rank, sites=(4, 7) if rank == clipping else (4,)) for rank in (0, 1)
        }
        assert values_parted(before, now).partings == (Parting("w", (0, 1), (clipping,)),)


def test_parameters_that_few_ranks_have_are_compared_there() -> None:
    """Stages of a pipeline, the second of them twice."""
    stage = Round(0, {"head": 1.0}, {"head": 5.0})
    before = {0: noted(1.0), 1: stage, 2: stage}
    now = {0: noted(2.0), 1: stage, 2: replace(stage, values={"head": 3.0})}
    verdict = values_parted(before, now)
    assert verdict.names == ("head",)
    assert verdict.partings == (Parting("head", (1, 2), (2,)),)


def test_the_first_difference_between_two_ranks() -> None:
    def between(one: tuple[int, ...], other: tuple[int, ...]) -> Difference:
        return first_difference(noted(0.0, sites=one), noted(0.0, sites=other))

    assert between((1, 2), (1, 2)) == Difference()
    assert between((1, 2, 3), (1, 3)) == Difference(2, True, ALONE)
    assert between((1, 3), (1, 2, 3)) == Difference(2, False, ALONE)
    assert between((1, 2), (2, 1)) == Difference(1, True, ORDER)
    one, other = noted(0.0, results={9: 1.5}), noted(0.0, results={9: 2.5})
    assert first_difference(one, other) == Difference(9, None, RESULT)


def test_sites_that_some_ranks_pass_are_left_out_once_they_are_meant() -> None:
    now = {0: noted(1.0, sites=(1, 2, 2)), 1: noted(1.0, sites=(1, 2))}
    assert passed_by_some(now) == {2}
    kept = {rank: one.without({2}) for rank, one in now.items()}
    assert first_difference(kept[0], kept[1]) == Difference()


def test_a_round_survives_the_way_through_the_store() -> None:
    one = Round(3, {"w": 1.0}, {"w": -1.0}, (0, 1), (4, 4), {4: 0.1 + 0.2}, (0.1, None))
    assert Round.from_json(one.to_json()) == one


@given(st.lists(st.tuples(DIGESTS, DIGESTS, DIGESTS), min_size=2, max_size=5))
def test_ranks_that_should_agree_and_do_not_are_told_whatever_their_order(
    ranks: list[tuple[float, float, float]],
) -> None:
    """Against the definition, pair by pair."""
    before = {rank: noted(value) for rank, (value, _, _) in enumerate(ranks)}
    now = {rank: noted(after, gradient) for rank, (_, gradient, after) in enumerate(ranks)}
    pairs = [
        (one, other)
        for one, other in permutations(range(len(ranks)), 2)
        if ranks[one][:2] == ranks[other][:2] and ranks[one][1] not in (0.0, -1.0)
    ]
    parted = [pair for pair in pairs if ranks[pair[0]][2] != ranks[pair[1]][2]]
    verdict = values_parted(before, now)
    assert bool(verdict.names) == bool(pairs)
    assert bool(verdict.partings) == bool(parted)
    for parting in verdict.partings:
        stayed = [rank for rank in parting.ranks if rank not in parting.apart]
        assert stayed and len({ranks[rank][2] for rank in stayed}) == 1
        assert all((stayed[0], rank) in parted for rank in parting.apart)


def test_gradients_may_become_equal_by_what_the_program_writes() -> None:
    """Averaged by hand: they differ after the backward, and are one when the step uses them."""
    before = {0: noted(1.0), 1: noted(1.0)}
    now = {rank: noted(2.0, 5.0 + rank, used={"w": 9.0}) for rank in (0, 1)}
    assert values_parted(before, now) == Verdict(("w",), ())
    now[1] = noted(3.0, 6.0, used={"w": 9.0})
    assert values_parted(before, now).partings == (Parting("w", (0, 1), (1,)),)


def test_rates_that_were_alike_before_are_no_matter_of_how_ranks_were_built() -> None:
    rounds = {0: noted(1.0, rates=(0.1,)), 1: noted(1.0, rates=(0.1,)), 2: noted(1.0, rates=(0.2,))}
    assert rates_agreed(rounds, (0, 1))
    assert not rates_agreed(rounds, (0, 2))
    assert not rates_agreed(rounds, (0, 3)) and not rates_agreed({}, (0, 1))


def test_in_the_last_round_gradients_count_and_values_do_not() -> None:
    """One rank is over, and what it did with its weights since is its own affair."""
    before = {rank: noted(1.0, group=(0, 1)) for rank in (0, 1)}
    now = {0: noted(2.0, group=(0, 1)), 1: noted(0.0, group=(0, 1), values={})}
    assert values_parted(before, now) == Verdict((), ())
    assert gradients_parted(now) == Verdict(("w",), ())
    now[1] = replace(now[1], gradients={"w": 6.0})
    assert gradients_parted(now).partings == (Parting("w", (0, 1), (1,)),)


def test_who_has_made_more_backwards_for_as_many_updates_has_left_one_out() -> None:
    now = {rank: noted(1.0, group=(0, 1, 2), backwards=4) for rank in range(3)}
    assert out_of_step(now) is None
    assert out_of_step({**now, 1: replace(now[1], backwards=5)}) == (0, 1)
    assert out_of_step({rank: replace(now[0], group=(), backwards=rank) for rank in now}) is None


def test_copies_with_one_gradient_by_hand_that_never_were_the_same() -> None:
    def held(first: float, used: float) -> Round:
        gradients = {"w": used, "v": used}
        return Round(0, {"w": first, "v": first}, {"w": first, "v": first}, used=gradients)

    began = {0: held(1.0, 3.0), 1: held(2.0, 3.0)}
    assert never_equal(began, began) == Parting("w", (0, 1), (1,))
    assert never_equal(began, {**began, 1: held(2.0, 4.0)}) is None
    assert never_equal(began, {**began, 1: replace(began[1], group=(0, 1))}) is None
    assert never_equal({0: held(1.0, 3.0), 1: held(1.0, 3.0)}, began) is None


def test_copies_with_rates_of_their_own_and_one_gradient_by_chance_may_part() -> None:
    before = {rank: noted(1.0) for rank in range(2)}
    now = {rank: noted(2.0 + rank, rates=(0.1 * (rank + 1),)) for rank in range(2)}
    assert values_parted(before, now) == Verdict((), ())
    same = {rank: replace(one, rates=(0.1,)) for rank, one in now.items()}
    assert values_parted(before, same).partings == (Parting("w", (0, 1), (1,)),)


def test_the_last_site_that_one_rank_alone_has_passed() -> None:
    assert last_alone((1, 2, 3), (1, 2)) == (3, True)
    assert last_alone((1,), (1, 4, 5)) == (5, False)
    assert last_alone((1, 2), (1, 2)) is None


def test_what_nothing_brings_together_may_part() -> None:
    before = {rank: noted(1.0) for rank in range(3)}
    now = {rank: noted(2.0 + rank, used={"w": 5.0}, alone=rank < 2) for rank in range(3)}
    assert values_parted(before, now) == Verdict((), ())
    assert values_parted(before, {**now, 1: replace(now[1], alone=False)}).partings != ()


def test_gradients_that_a_wrapper_was_told_to_leave_are_asked_for_alone() -> None:
    now = {rank: noted(2.0 + rank, 5.0 + rank, group=(0, 1), local=True) for rank in range(2)}
    assert gradients_parted(now) == values_parted(None, now) == Verdict((), ())
    assert gradients_parted(now, local=True).partings == (Parting("w", (0, 1), (1,)),)
