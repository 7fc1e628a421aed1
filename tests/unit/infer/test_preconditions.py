"""learn: which atoms there are, which formula is chosen, and what is said about it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest

from tcstatic.infer.smt import Atom, Example, Learned, Unlearnable, default_cost, learn
from tcstatic.infer.smt.columns import columns
from tcstatic.infer.smt.literals import tabulate
from tcstatic.invariants.conditions import Compare, Condition, Field, evaluate, parse, to_text

Fields = Mapping[str, Any]


def examples(held: list[Fields], failed: list[Fields]) -> list[Example]:
    return [Example(one, True) for one in held] + [Example(one, False) for one in failed]


def general(found: Learned) -> str:
    return "always" if found.general is None else to_text(found.general)


def specific(found: Learned) -> str:
    return "always" if found.specific is None else to_text(found.specific)


def texts(held: list[Fields], failed: list[Fields]) -> list[str]:
    """All literals, in the order of their cost."""
    given = examples(held, failed)
    read = columns(
        [one for one in given if one.positive], [one for one in given if not one.positive]
    )
    return [literal.text for literal in tabulate(read).literals]


@pytest.mark.parametrize(
    ("held", "failed", "expected"),
    [
        ([{"a": True, "b": 1}], [{"a": False, "b": 1}], "a"),
        ([{"a": False}], [{"a": True}], "not a"),
        ([{"s": "x"}], [{"s": "y"}, {"s": "z"}], "s == 'x'"),
        ([{"s": "x"}, {"s": "y"}], [{"s": "z"}], "s != 'z'"),
        ([{"s": "x"}, {"s": "y"}], [{"s": "z"}, {"s": "w"}], "s in ('x', 'y')"),
        ([{"n": 5}, {"n": 7}, {"n": 9}], [{"n": 1}, {"n": 2}], "n > 2"),
        ([{"n": 1}, {"n": 2}], [{"n": 5}, {"n": 7}, {"n": 9}], "n <= 2"),
        ([{"n": 1}, {"n": 0}], [{"n": True}, {"n": False}], "n in (0, 1)"),
        ([{"a": 1}], [{}], "has(a)"),
        ([{}, {"b": 1}], [{"a": 1}, {"a": 2, "b": 1}], "not has(a)"),
        ([{"s": None}], [{"s": "x"}], "s == None"),
        ([{"same(dtype)": True}], [{"same(dtype)": False}], "same(dtype)"),
        ([{"a": True, "b": True}], [{"a": True, "b": False}, {"a": False, "b": True}], "a and b"),
        ([{"a": True, "b": False}, {"a": False, "b": True}], [{"a": False, "b": False}], "a or b"),
    ],
)
def test_the_simplest_formula(held: list[Fields], failed: list[Fields], expected: str) -> None:
    found = learn(examples(held, failed))
    assert general(found) == expected
    assert found.exact
    assert parse(expected) == found.general


def test_without_failures_it_always_holds_and_the_specific_end_says_where_that_was_seen() -> None:
    found = learn(examples([{"stage": "train", "a": True, "n": i} for i in range(9)], []))
    assert found.general is None
    assert specific(found) == "a and stage == 'train'"
    assert (found.covered, found.uncovered, found.rejected) == (9, 0, 0)


def test_the_specific_end_lists_few_values_and_keeps_thresholds_of_the_general_end() -> None:
    held = [{"stage": s, "n": n} for s in ("train", "eval") for n in range(10, 20)]
    found = learn(examples(held, [{"stage": "train", "n": n} for n in range(10)]))
    assert general(found) == "n > 9"
    assert specific(found) == "stage in ('eval', 'train') and n > 9"


def test_stage_and_flags_come_before_numbers_and_ties_go_to_the_first_text() -> None:
    held = [{"b": True, "a": True, "stage": "train", "n": 3, "m": 4}]
    failed = [{"b": False, "a": False, "stage": "eval", "n": 1, "m": 0}]
    assert general(learn(examples(held, failed))) == "a"
    costs = {"a": 5, "b": 5, "n": 1}

    def cost(atom: Atom) -> int:
        return costs.get(atom.left.name if isinstance(atom, Compare) else "", 3)

    assert general(learn(examples(held, failed), costs=cost)) == "n != 1"


def test_what_was_seen_in_one_of_several_runs_only_counts_twice() -> None:
    def run(name: str, fields: Fields, positive: bool) -> Example:
        return Example(fields, positive, 1, frozenset({name}))

    given = [
        run("one", {"s": "conv1", "n": 3, "m": 3}, True),
        run("two", {"s": "fc", "n": 3, "m": 3}, True),
        run("one", {"s": "conv2", "n": 2, "m": 2}, False),
        run("two", {"s": "conv2", "n": 2, "m": 2}, False),
        run("two", {"s": "other", "n": 2, "m": 2}, False),
    ]
    assert general(learn(given)) == "m > 2"
    assert general(learn([Example(one.fields, one.positive) for one in given])) == (
        "s in ('conv1', 'fc')"
    )


def test_columns_that_say_nothing_are_dropped() -> None:
    held = [{"a": True, "copy": "on", "fixed": 1, "id": f"{i:x}", "t": i * 0.1} for i in range(40)]
    failed = [{**one, "a": False, "copy": "off", "id": "-" + one["id"]} for one in held]
    failed = [{**one, "t": -1 - one["t"]} for one in failed]
    assert texts(held, failed) == ["a"]
    found = learn(examples(held, failed))
    assert "instead of a these examples allow copy == 'on'" in found.reason


def test_many_numbers_become_a_few_thresholds_and_the_best_place_is_found_all_the_same() -> None:
    truth = parse("step > 613 and lr <= 0.5 or flag and step <= 207")
    every = [
        {"step": step, "lr": lr / 10, "flag": flag, "other": step % 7}
        for step in range(1000)
        for lr in range(4, 7)
        for flag in (False, True)
    ]
    found = learn([Example(one, evaluate(truth, one) is True) for one in every])
    assert found.uncovered == 0
    assert general(found) == "(lr <= 0.5 and step > 613) or (flag and step <= 207)"


def test_accidental_successes_do_not_widen_the_precondition() -> None:
    every = [
        {"a": i % 2 == 0, "b": i % 3 == 0, "c": i % 5 == 0, "n": i % 11, "m": i % 13}
        for i in range(2000)
    ]
    given = [
        Example(one, (one["a"] and one["b"]) is True or i % 97 == 0) for i, one in enumerate(every)
    ]
    found = learn(given, accidental=0.02)
    assert general(found) == "a and b"
    assert found.uncovered > 0
    assert found.covered + found.uncovered == sum(one.positive for one in given)


def test_counts_are_those_of_the_observations() -> None:
    found = learn(
        [
            Example({"a": True}, True, count=5),
            Example({"a": False}, False, count=7),
            Example({"a": False, "b": 1}, True, count=2),
            Example({"a": False, "b": 1.0}, False, count=1),
        ]
    )
    assert general(found) == "a"
    assert (found.covered, found.uncovered, found.rejected) == (5, 2, 8)
    assert "1 positive examples cannot be told from a negative one" in found.reason


@pytest.mark.parametrize(
    "given",
    [
        [],
        [Example({"a": True}, False)],
        [Example({"a": True}, True), Example({"a": True}, False)],
        [Example({}, True), Example({}, False)],
        [Example({"x": math.nan}, True), Example({"x": math.nan}, False)],
    ],
)
def test_where_nothing_can_be_learnt_it_says_so(given: list[Example]) -> None:
    with pytest.raises(Unlearnable, match="no precondition can be learnt: "):
        learn(given)


def test_little_effort_still_gives_a_precondition() -> None:
    every = [{f"f{k}": i >> k & 1 == 1 for k in range(9)} for i in range(512)]
    truth = parse("f0 and f1 and f2 or f3 and not f4 and f5 or f6 and f7 and f8")
    given = [Example(one, evaluate(truth, one) is True) for one in every]
    found = learn(given, effort=1)
    assert not found.exact
    assert found.covered > 0
    judge: Condition | None = found.general
    assert judge is not None
    assert not any(evaluate(judge, one.fields) for one in given if not one.positive)
    assert learn(given).uncovered == 0


def test_most_terms_limits_the_disjunction() -> None:
    held = [{"a": True, "b": False}, {"a": False, "b": True}]
    found = learn(examples(held, [{"a": False, "b": False}]), most_terms=1)
    assert general(found) == "a"
    assert found.uncovered == 1


def test_fewer_literals_cost_less_than_any_kind() -> None:
    atoms: list[Atom] = [Field("a"), Compare(Field("n"), "<=", parse_constant("n <= 1"))]
    assert all(default_cost(one) < 2 * default_cost(Field("a")) for one in atoms)


def parse_constant(text: str) -> Any:
    condition = parse(text)
    assert isinstance(condition, Compare)
    return condition.right
