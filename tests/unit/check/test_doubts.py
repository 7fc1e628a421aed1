"""A doubtful failure waits for the end of the run, and is dropped if the relation ever held."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tcstatic.check import Driver
from tcstatic.model import Event, Invariant, Location

HERE = Location("train.py", 30, function="main")
_numbers = itertools.count(1)


def rule(doubt: str = "own") -> Invariant:
    params = {"of": "flag", "at": "optimizer.step", "at_least": 1}
    words = {"message": "it fails", "why": "because", "cure": "mend it"}
    return Invariant("T1", "a-rule", "count", params, "error", doubt=doubt, **words)


def step(flag: int, optimizer: int = 1, *, own: bool = True) -> Event:
    values = {"flag": flag, "own": own}
    number = next(_numbers)
    where = Location("train.py", 30 + optimizer, function="main")
    return Event("optimizer.step", number, where, {"optimizer": (optimizer,)}, values, step=number)


def gap(*trained: int) -> Event:
    subjects: dict[str, Any] = {"optimizer": trained} if trained else {}
    return Event("gap", next(_numbers), None, subjects)


@pytest.mark.parametrize(
    ("events", "counts"),
    [
        ((step(0), step(0), step(0)), [3]),
        ((step(0), step(0), step(1)), []),
        ((step(1), step(0), step(0)), []),
        ((step(0), step(1), step(0)), []),
        ((step(0), step(1, 2), step(0)), [2]),
        ((step(0), gap(), step(0)), [2]),
        ((step(0), gap(1)), []),
        ((step(0), gap(2)), [1]),
        ((step(0, 1), step(0, 2), gap(2)), [1]),
    ],
)
def test_only_what_nothing_disproves_is_told_at_the_end(
    events: tuple[Event, ...], counts: list[int]
) -> None:
    driver = Driver([rule()])
    for event in events:
        driver.feed(event)
        assert driver.settle() == ()
    assert [finding.count for finding in driver.settle(final=True)] == counts
    assert driver.settle(final=True) == ()


def test_what_is_beyond_doubt_is_told_at_once() -> None:
    driver = Driver([rule()])
    driver.feed(step(0, own=False))
    (finding,) = driver.settle()
    driver.feed(step(1))
    driver.feed(step(0))
    assert driver.settle(final=True) == ()
    assert driver.findings() == (finding,)


def test_a_condition_that_is_not_known_leaves_no_doubt() -> None:
    driver = Driver([rule(doubt="unheard_of")])
    driver.feed(step(0))
    assert len(driver.settle()) == 1
