"""Relations over the members of an event: effect, result with `each`, equal."""

from __future__ import annotations

from typing import Any

import pytest

from tcstatic.errors import ConditionError
from tcstatic.invariants.relations import RELATIONS, check_params
from tcstatic.model import Context, Event, Member, Needs, Observation, Scalar

CHANGES = {"call": "optimizer.step", "changes": "param.data"}
SOME = {**CHANGES, "quantifier": "some"}
LEAVES = {"call": "optimizer.step", "leaves": "param.data"}
FINITE = {"of": "optimizer.step", "value": "finite", "is": True, "each": True}


def step(*members: dict[str, Scalar], kind: str = "optimizer.step", **values: Any) -> Event:
    """An event with these members, numbered from 1 and named p1, p2, ..."""
    found = tuple(Member(n, f"p{n}", fields) for n, fields in enumerate(members, 1))
    return Event(kind, 1, None, {"optimizer": (9,)}, values, Context({"rank": 0}), found, step=7)


def judged(relation: str, params: dict[str, Any], *stream: Event) -> list[Observation]:
    check_params(relation, params)
    monitor = RELATIONS[relation].monitor(params)
    return [observation for event in stream for observation in monitor.feed(event)]


def seen(observations: list[Observation]) -> list[tuple[bool, tuple[Any, ...], int]]:
    return [(o.holds, o.key, o.times) for o in observations]


YES: dict[str, Scalar] = {"changed": True}
NO: dict[str, Scalar] = {"changed": False}
OPEN: dict[str, Scalar] = {"changed": None}


@pytest.mark.parametrize(
    ("params", "members", "expected"),
    [
        (CHANGES, [YES, YES], [(True, (), 2)]),
        (CHANGES, [YES, NO, NO], [(False, (2,), 1), (False, (3,), 1), (True, (), 1)]),
        (CHANGES, [OPEN, YES], [(True, (), 1)]),
        (CHANGES, [OPEN], []),
        (CHANGES, [], []),
        (LEAVES, [YES, NO], [(False, (1,), 1), (True, (), 1)]),
        (LEAVES, [OPEN], []),
        (SOME, [NO, YES], [(True, (9,), 1)]),
        (SOME, [NO, NO], [(False, (9,), 1)]),
        (SOME, [NO, OPEN], []),
        (SOME, [YES, OPEN], [(True, (9,), 1)]),
        (SOME, [], []),
    ],
)
def test_effect(
    params: dict[str, Any],
    members: list[dict[str, Scalar]],
    expected: list[tuple[bool, tuple[Any, ...], int]],
) -> None:
    assert seen(judged("effect", params, step(*members))) == expected


def test_effect_is_judged_at_its_call_only() -> None:
    assert judged("effect", CHANGES, step(NO, kind="optimizer.zero_grad")) == []


@pytest.mark.parametrize(
    ("over", "keys"),
    [
        ("trainable and gradient_nonzero", [(1,)]),
        ("not trainable", [(3,)]),
        ("unheard_of", []),  # unknown is not selected
        ("", [(1,), (2,), (3,)]),
    ],
)
def test_over_selects_members_for_which_it_is_known_to_hold(
    over: str, keys: list[tuple[int]]
) -> None:
    members: list[dict[str, Scalar]] = [
        {**NO, "trainable": True, "gradient_nonzero": True},
        {**NO, "trainable": True, "gradient_nonzero": False},
        {**NO, "trainable": False, "gradient_nonzero": True},
    ]
    found = judged("effect", {**CHANGES, "over": over}, step(*members))
    assert [o.key for o in found] == keys


def test_two_conditions_over_one_event_do_not_mix() -> None:
    event = step({**NO, "trainable": True}, {**NO, "trainable": False})
    one = RELATIONS["effect"].monitor({**CHANGES, "over": "trainable"})
    two = RELATIONS["effect"].monitor({**CHANGES, "over": "not trainable"})
    for _ in range(2):
        assert [o.key for o in one.feed(event)] == [(1,)]
        assert [o.key for o in two.feed(event)] == [(2,)]


def test_a_failing_member_brings_its_fields() -> None:
    (found,) = judged("effect", CHANGES, step({**NO, "since": 5}, type="SGD"))
    assert found.facts == {"type": "SGD", **NO, "since": 5, "parameter": "p1"}
    assert found.context.fields == {"rank": 0, "type": "SGD", **NO, "since": 5}


def test_some_began_with_the_first_of_its_members() -> None:
    (found,) = judged("effect", SOME, step({**NO, "since": 5}, {**NO, "since": 3}))
    assert (found.facts["since"], found.facts["unchanged_for"]) == (3, 4)
    assert found.context.fields["unchanged_for"] == 4
    (found,) = judged("effect", SOME, step(NO))
    assert (found.facts["since"], found.facts["unchanged_for"]) == (7, 0)


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ([True, True], [(True, (), 2)]),
        ([True, False], [(False, (2,), 1), (True, (), 1)]),
        ([None], []),
    ],
)
def test_result_of_each(
    members: list[bool | None], expected: list[tuple[bool, tuple[Any, ...], int]]
) -> None:
    event = step(*({"finite": value} for value in members))
    assert seen(judged("result", FINITE, event)) == expected


def test_result_of_each_over_some() -> None:
    event = step({"finite": False, "has_gradient": False}, {"finite": False, "has_gradient": True})
    assert [o.key for o in judged("result", {**FINITE, "over": "has_gradient"}, event)] == [(2,)]


@pytest.mark.parametrize(
    ("kind", "quantity", "expected"),
    [
        ("state", "param.data", [(False, (2,), 1), (True, (), 1)]),
        ("state", "param.grad", []),
        ("optimizer.step", "param.data", []),
    ],
)
def test_equal(kind: str, quantity: str, expected: list[tuple[bool, tuple[Any, ...], int]]) -> None:
    event = step({"equal": True}, {"equal": False}, kind=kind, quantity=quantity)
    assert seen(judged("equal", {"state": "param.data", "over": "rank"}, event)) == expected


@pytest.mark.parametrize(
    ("relation", "params", "words"),
    [
        ("effect", {"changes": "param.data"}, "missing key 'call'"),
        ("effect", {"call": "optimizer.step"}, "exactly one of changes, leaves"),
        ("effect", {**CHANGES, "leaves": "param.data"}, "exactly one of changes, leaves"),
        ("effect", {**CHANGES, "changes": "param.grad"}, "'param.grad' is no state"),
        ("effect", {**CHANGES, "call": "step"}, "call: 'step' is not an event kind"),
        ("effect", {**CHANGES, "quantifier": "all"}, "quantifier: expected some or each"),
        ("effect", {**CHANGES, "over": "a and"}, "is no expression"),
        ("result", {"of": "optimizer.step", "value": "finite"}, "exactly one of is"),
        ("result", {**FINITE, "of": "step"}, "of: 'step' is not an event kind"),
        ("result", {**FINITE, "over": "1 <"}, "is no expression"),
        ("equal", {"state": "param.data"}, "missing key 'over'"),
        ("equal", {"state": "buffers", "over": "rank"}, "state: expected one of param.data"),
        ("equal", {"state": "param.data", "over": "time"}, "over: expected rank"),
    ],
)
def test_wrong_parameters_are_named(relation: str, params: dict[str, Any], words: str) -> None:
    with pytest.raises((ValueError, ConditionError), match=words):
        check_params(relation, params)


def test_needs() -> None:
    step_only = frozenset({"optimizer.step"})
    assert RELATIONS["effect"].needs(CHANGES) == Needs(step_only, frozenset({"param.data"}))
    assert RELATIONS["result"].needs(FINITE) == Needs(step_only)
    assert RELATIONS["equal"].needs({"state": "param.grad", "over": "rank"}) == Needs(
        frozenset({"state"}), frozenset({"param.grad over rank"})
    )
