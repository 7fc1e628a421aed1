"""Conditions: what parses, what it means, and that text and tree are one."""

from __future__ import annotations

import itertools
import keyword
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcstatic.errors import ConditionError
from tcstatic.invariants.conditions import (
    And,
    Compare,
    Condition,
    Constant,
    Field,
    Has,
    Not,
    Or,
    compile_condition,
    evaluate,
    fields_of,
    parse,
    to_text,
)

names = st.from_regex(r"[a-z_][a-z0-9_]{0,8}(\.[a-z][a-z0-9_]{0,4})?", fullmatch=True).filter(
    lambda name: not any(map(keyword.iskeyword, name.split(".")))
)
fields = st.one_of(
    names, st.builds("{}({})".format, st.sampled_from(["same", "distinct"]), names)
).map(Field)
constants = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=8)
).map(Constant)
compares = st.one_of(
    st.builds(
        Compare,
        fields,
        st.sampled_from(["==", "!=", "<", "<=", ">", ">="]),
        st.one_of(constants, fields),
    ),
    st.builds(Compare, fields, st.just("in"), st.lists(constants, max_size=3).map(tuple)),
)
conditions: st.SearchStrategy[Condition] = st.recursive(
    st.one_of(fields, compares, names.map(Has)),
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.lists(inner, min_size=2, max_size=3).map(lambda items: And(tuple(items))),
        st.lists(inner, min_size=2, max_size=3).map(lambda items: Or(tuple(items))),
    ),
    max_leaves=12,
)


@given(conditions)
def test_text_and_tree_are_one(condition: Condition) -> None:
    assert parse(to_text(condition)) == condition


@given(conditions, st.dictionaries(names, st.one_of(st.booleans(), st.integers(), st.text())))
def test_a_field_that_is_not_asked_about_changes_nothing(
    condition: Condition, values: dict[str, Any]
) -> None:
    asked = {name: value for name, value in values.items() if name in fields_of(condition)}
    assert evaluate(condition, values) is evaluate(condition, asked)


@given(
    st.recursive(
        st.sampled_from("abc").map(Field),
        lambda inner: st.one_of(
            st.builds(Not, inner),
            st.lists(inner, min_size=2, max_size=2).map(lambda items: And(tuple(items))),
            st.lists(inner, min_size=2, max_size=2).map(lambda items: Or(tuple(items))),
        ),
        max_leaves=6,
    ),
    st.dictionaries(st.sampled_from("abc"), st.booleans()),
)
def test_what_is_decided_with_fields_missing_stays_so_when_they_are_known(
    condition: Condition, values: dict[str, Any]
) -> None:
    truth = evaluate(condition, values)
    missing = sorted(fields_of(condition) - set(values))
    if truth is not None:
        for filling in itertools.product((False, True), repeat=len(missing)):
            known = {**values, **dict(zip(missing, filling, strict=True))}
            assert evaluate(condition, known) is truth


@pytest.mark.parametrize(
    ("text", "values", "truth"),
    [
        ("training", {"training": True}, True),
        ("has(training)", {"training": None}, True),
        ("has(training)", {}, False),
        ("not has(same(param.dtype))", {}, True),
        ("same(param.dtype)", {"same(param.dtype)": True}, True),
        ("distinct(rank) == False", {"distinct(rank)": False}, True),
        ("training", {"training": None}, False),
        ("training", {}, None),
        ("not training", {}, None),
        ("a and b", {"a": False}, False),
        ("a and b", {"a": True}, None),
        ("a or b", {"a": True}, True),
        ("a or b", {"a": False}, None),
        ("n == 1", {"n": True}, False),
        ("n == True", {"n": 1}, False),
        ("n == 1", {"n": 1.0}, True),
        ("n != 1", {"n": True}, True),
        ("n in (1, 'x')", {"n": True}, False),
        ("n in (1, 'x')", {"n": "x"}, True),
        ("n in ()", {"n": "x"}, False),
        ("n not in (1,)", {"n": 2}, True),
        ("n not in (1,)", {}, None),
        ("stage == None", {"stage": None}, True),
        ("stage == None", {}, None),
        ("lr > 0", {"lr": "high"}, None),
        ("lr > 0", {"lr": None}, None),
        ("lr > 0", {"lr": True}, None),
        ("0 < lr <= 1", {"lr": 0.5}, True),
        ("0 < lr <= 1", {"lr": 2}, False),
        ("dtype < 'f'", {"dtype": "bf16"}, True),
        ("lr != -1e-3", {"lr": 0.1}, True),
        ("step == steps", {"step": 3, "steps": 3}, True),
        ("step == steps", {"step": 3}, None),
        ("param.frozen and\n not grad", {"param.frozen": True, "grad": False}, True),
    ],
)
def test_truth(text: str, values: dict[str, Any], truth: bool | None) -> None:
    assert evaluate(parse(text), values) is truth
    assert compile_condition(parse(text))(values) is truth


def test_constants_of_different_types_are_different_conditions() -> None:
    texts = ["a == 1", "a == True", "a == 1.0", "a == '1'"]
    assert len({parse(text) for text in texts}) == len(texts)


def test_fields_of() -> None:
    text = "a and (b.c == 1 or not d < e) and f in (1, 2)"
    assert fields_of(parse(text)) == {"a", "b.c", "d", "e", "f"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["empty"]),
        ("   ", ["empty"]),
        ("a ==", ["'a =='", "no expression"]),
        ("a) or (b", ["no expression"]),
        ("__import__('os')", ["is not allowed", '"__import__(', "expected a field"]),
        ("a[0]", ["is not allowed"]),
        ("has(1)", ["is no field"]),
        ("has(a, b)", ["is not allowed"]),
        ("same(same(a))", ["is not allowed"]),
        ("same(a=b)", ["is not allowed"]),
        ("a.b().c", ["is not allowed"]),
        ("a, b", ["is not allowed"]),
        ("1", ["is not allowed"]),
        ("1 == 2", ["without a field"]),
        ("a == b''", ["is no constant"]),
        ("a == -True", ["is no constant"]),
        ("a is None", ["uses 'is'", "'=='"]),
        ("a in b", ["tuple of constants"]),
        ("a in (b, 1)", ["is no constant"]),
        ("1 in (1, 2)", ["is no field"]),
        ("a + 1 == 2", ["without a field"]),
        ("lambda: 1", ["is not allowed"]),
        ("a\0b", ["no expression"]),
        ("not " * 2000 + "a", ["too deeply"]),
        ("(" * 500 + "a" + ")" * 500, ["no expression"]),
        ("a or " * 3000 + "a", ["too long"]),
    ],
)
def test_refused_in_one_line(text: str, words: list[str]) -> None:
    with pytest.raises(ConditionError) as caught:
        parse(text)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 400
    for word in words:
        assert word in message


def test_unknown_field_is_refused_where_the_fields_are_known() -> None:
    with pytest.raises(ConditionError, match=r"unknown field 'stag'.*did you mean 'stage'\?"):
        parse("stag == 'training'", known=("stage", "step"))
