"""Which ranks draw by one seed, and are given one batch."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from tcstatic.runtime.probes.sources import (
    LEAST_BEFORE,
    MOST_AFTER,
    Drawing,
    Follower,
    Odd,
    Source,
    Sources,
)

OWN, ALL = "abcd", "aaaa"  # the keys of four ranks
PAIRS = "aabb"


def followed(*keys: str, stays: bool, layered: bool = False) -> list[Odd]:
    follower = Follower(stays=stays)
    found = [
        follower.judge(turn, dict(enumerate(one)), layered=layered) for turn, one in enumerate(keys)
    ]
    return [odd for odd in (*found, follower.settle()) if odd is not None]


def test_a_source_survives_its_way_as_text() -> None:
    for source in (Source("1f", True, "0a"), Source("0", False, ""), Source("a", False, "b-c", 12)):
        assert Source.from_text(source.to_text()) == source


@pytest.mark.parametrize(
    ("usual", "odd", "rank", "other", "joined"),
    [
        (OWN, "abcb", 3, 1, True),
        (OWN, "dbcd", 0, 3, True),
        (OWN, "abad", 2, 0, True),
        (PAIRS, "aabc", 3, 2, False),
        (PAIRS, "aaba", 3, 0, True),
        (ALL, "xaaa", 0, 1, False),
        ("aa", "ab", 1, 0, False),
    ],
)
def test_the_rank_that_moves_is_named(
    usual: str, odd: str, rank: int, other: int, joined: bool
) -> None:
    before = [usual] * (LEAST_BEFORE + 1)
    expected = [Odd(len(before), rank, other, joined)]
    assert followed(*before, odd, odd, odd, odd, stays=True, layered=True) == expected
    once = [*before, odd, *[usual] * MOST_AFTER]
    assert followed(*once, stays=False, layered=True) == expected


@pytest.mark.parametrize(
    "keys",
    [
        [OWN] * 8,
        [OWN, "abcc"] * 8,
        [OWN] * 5 + [ALL] * 5,
        [OWN] * 5 + ["aabb"] * 5,
        [OWN] * 5 + ["badc"] * 5,
        [OWN] * 5 + ["abcc", OWN, "abdd", OWN, OWN],
    ],
)
@pytest.mark.parametrize("stays", [True, False])
def test_what_a_program_does_itself_is_not_told(keys: Sequence[str], stays: bool) -> None:
    assert followed(*keys, stays=stays, layered=True) == []


def test_batches_have_to_be_known_before_one_is_odd() -> None:
    assert followed(*["abcc"] * 2, *[OWN] * 5, stays=False, layered=True) == []


def test_to_leave_others_harms_layers_alone() -> None:
    keys = [ALL] * 5 + ["aaab"] * 5
    assert followed(*keys, stays=True) == []
    assert followed(*keys, stays=True, layered=True) == [Odd(5, 3, 0, False)]


def test_a_rank_tells_its_seed_whether_it_drew_and_its_last_batch() -> None:
    drawing = Drawing()
    torch.manual_seed(31)
    assert Source.from_text(drawing.told()) == Source("1f", False, "")
    drawing.given("5a", 9)
    torch.rand(1)
    assert Source.from_text(drawing.told()) == Source("1f", True, "5a", 9)
    assert Source.from_text(drawing.told()) == Source("1f", False, "")


def told(*words: str, loop: int = 1) -> dict[int, str]:
    return {rank: Source("7", False, word, loop).to_text() for rank, word in enumerate(words)}


def odd_batches(*updates: dict[int, str]) -> list[Odd]:
    sources = Sources(layered=False)
    found = [sources.judge(turn, one)[1] for turn, one in enumerate(updates)]
    return [odd for odd in (*found, sources.settle()[1]) if odd is not None]


def test_a_batch_is_held_beside_those_of_its_own_loop() -> None:
    usual = [told(f"a{turn}", f"b{turn}") for turn in range(40)]
    once, other = told("x", "x"), told("x", "x", loop=2)
    assert odd_batches(*usual[:9], once, *usual[9:]) == [Odd(9, 1, 0, True)]
    assert odd_batches(*usual[:9], other, *usual[9:]) == []
    assert odd_batches(*usual[:9], other) == []


def test_batches_that_come_to_all_ranks_by_chance_are_no_matter() -> None:
    usual = [told(f"a{turn}", f"b{turn}") for turn in range(40)]
    usual[30] = told("b3", "c")
    assert odd_batches(*usual[:9], told("x", "x"), *usual[9:]) != []  # known by then
    usual[20], usual[30] = usual[30], usual[20]
    assert odd_batches(*usual[:9], told("x", "x"), *usual[9:]) == []
