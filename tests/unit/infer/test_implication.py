"""implies, equivalent, satisfiable: decided by Z3, in the three values of conditions."""

from __future__ import annotations

from typing import Any

import pytest

from tcstatic.infer.smt import (
    Domain,
    Example,
    Undecided,
    deciding,
    equivalent,
    implies,
    satisfiable,
)
from tcstatic.invariants.conditions import parse


@pytest.mark.parametrize(
    ("first", "second", "answer"),
    [
        ("a", "a", True),
        ("a and b", "b", True),
        ("b", "a and b", False),
        ("a and b", "b or c", True),
        ("a or b", "a or b or c", True),
        ("a", "has(a)", True),
        ("has(a)", "a or not a", True),
        ("b", "a or not a", False),
        ("n > 3", "n > 2", True),
        ("n > 2", "n > 3", False),
        ("n > 3", "n != 3", True),
        ("n > 3", "n", True),
        ("n > -3", "n", False),
        ("n > 0", "n", True),
        ("n == 1", "n == True", False),
        ("n == 1", "n == 1.0", True),
        ("n == 1", "n in (0, 1)", True),
        ("n in (0, 1)", "n >= 0 and n <= 1", True),
        ("not n <= 3", "n > 3", False),
        ("n > 1e999", "m", True),
        ("n <= 1e999", "n > 5 or n <= 5", True),
        ("s == 'a'", "s != 'b'", True),
        ("s < 'b'", "s < 'c'", True),
        ("s < ''", "a", True),
        ("s == ''", "not s", True),
        ("s == None", "not s", True),
        ("a < b and b < c", "a < c", True),
        ("a == b and b > 3", "a >= 3", True),
        ("a == b", "not a != b", True),
        ("same(dtype) and a", "same(dtype)", True),
    ],
)
def test_implication(first: str, second: str, answer: bool) -> None:
    assert implies(parse(first), parse(second)) is answer


def test_none_is_always_true() -> None:
    assert implies(parse("a"), None)
    assert implies(None, None)
    assert not implies(None, parse("a"))
    assert implies(None, parse("has(a) or not has(a)"))
    assert satisfiable(None, {"a": True})


DOMAINS: list[Any] = [
    {"s": frozenset(("x", "y"))},
    [Example({"s": "x"}, True), Example({"s": "y"}, False)],
]


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_domain_says_which_values_there_are(domain: Domain) -> None:
    assert equivalent(parse("s == 'x'"), parse("s != 'y'"), domain)
    assert not equivalent(parse("s == 'x'"), parse("s != 'y'"))


def test_examples_say_whether_a_field_may_be_missing() -> None:
    every = [Example({"a": True, "b": 1}, True), Example({"a": False}, True)]
    assert implies(parse("not a"), parse("has(a)"), every)
    assert implies(None, parse("has(a)"), every)
    assert not implies(None, parse("has(b)"), every)
    assert implies(parse("has(b)"), parse("b == 1"), every)


def test_numbers_and_bools_of_examples_are_told_apart() -> None:
    every = [Example({"a": True}, True), Example({"a": 1}, True)]
    assert implies(parse("a != True"), parse("a == 1"), every)
    assert not implies(parse("has(a)"), parse("a == 1"), every)


@pytest.mark.parametrize(
    ("condition", "facts", "answer"),
    [
        ("autocast and stage == 'train'", {"autocast": False}, False),
        ("autocast or stage == 'train'", {"autocast": False}, True),
        ("world_size > 1", {"world_size": 1}, False),
        ("world_size > 1", {"world_size": frozenset((1, 2))}, True),
        ("scheduler == 'StepLR'", {"scheduler": frozenset()}, False),
        ("not has(scheduler)", {"scheduler": frozenset()}, True),
        ("distinct(rank)", {"distinct(rank)": False}, False),
        ("a and not a", {}, False),
        ("a", {"b": 1}, True),
        ("n == True", {"n": 1}, False),
    ],
)
def test_facts_of_the_target_decide(condition: str, facts: Domain, answer: bool) -> None:
    assert satisfiable(parse(condition), facts) is answer


def test_unknown_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deciding, "WORK", 1)
    pigeons = " and ".join(
        [f"(p{i} > 0 and p{i} < 9)" for i in range(9)]
        + [f"p{i} != p{j}" for i in range(9) for j in range(i)]
    )
    with pytest.raises(Undecided, match="gave up"):
        satisfiable(parse(pigeons), {})
