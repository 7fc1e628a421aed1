"""Whether a condition can hold where some fields have few values: mostly told without z3."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcstatic.infer.smt import satisfiable
from tcstatic.invariants.conditions import parse, possible

ATOMS = (
    "a",
    "b",
    "has(a)",
    "not has(b)",
    "a == 1",
    "a > 1",
    "a < b",
    "b in ('x', 'y')",
    "c == 'x'",
    "c",
    "d != None",
    "d <= 3",
    "d > 5",
)
CONDITIONS = st.recursive(
    st.sampled_from(ATOMS),
    lambda inner: st.one_of(
        inner.map("not ({})".format),
        st.tuples(inner, st.sampled_from(("and", "or")), inner).map(
            "({0[0]}) {0[1]} ({0[2]})".format
        ),
    ),
    max_leaves=6,
)
SCALARS = st.sampled_from((False, 0, 1, 2.5, 6, "x", "z", None))
VALUES = st.dictionaries(
    st.sampled_from("abcd"), st.lists(SCALARS, max_size=2, unique_by=repr).map(tuple), max_size=3
)


@settings(max_examples=150)
@given(text=CONDITIONS, values=VALUES)
def test_what_is_told_is_what_the_solver_tells(
    text: str, values: dict[str, tuple[object, ...]]
) -> None:
    # in a set, False would be 0
    alike = any({repr(one) for one in few} >= {"False", "0"} for few in values.values())
    told = possible(parse(text), values)  # type: ignore[arg-type]
    if told is not None and not alike:
        facts = {name: frozenset(few) for name, few in values.items()}
        assert told == satisfiable(parse(text), facts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text, told",
    [
        ("loss_scaled and stage == 'train'", False),
        ("not loss_scaled and stage == 'train'", True),
        ("loss_scaled or stage == 'train'", True),
        ("has(autocast)", False),
        ("autocast == 'bfloat16' or loss_scaled", False),
        ("not has(autocast) and not loss_scaled", True),
        ("stage == 'train' and stage == 'evaluate'", False),
        ("grad_enabled and stage == 'train' and grad_enabled and stage in ('train', 'x')", True),
        ("loss > 1 and loss < 2 and not loss_scaled", True),
        ("loss > 1 and loss <= 1", False),
        ("loss > 1 and loss < 1.5 and not loss == 1.25", True),
        ("name > 'a' and name < 'b'", True),
        ("loss < best and loss > 1 and loss < 2", None),
        ("loss_scaled and loss < best and loss > 1", False),
        ("loss_scaled and stage == 'train' and stage == 'evaluate'", False),
        ("rank > 0", False),
    ],
)
def test_facts_decide(text: str, told: bool | None) -> None:
    facts = {"loss_scaled": (False,), "autocast": (), "rank": (0,)}
    assert possible(parse(text), facts) is told


def test_too_many_values_are_left_to_the_solver() -> None:
    names = [f"x{number}" for number in range(9)]
    text = " and ".join(f"(({name} > 1) or z)" for name in names)
    assert possible(parse(f"({text}) and not z"), dict.fromkeys(names, (0, 2, 1))) is True
    # nine pigeons in eight holes
    text = " and ".join(f"{a} != {b}" for a in names for b in names if a < b)
    assert possible(parse(text), dict.fromkeys(names, tuple(range(8)))) is None
    assert possible(parse(text), dict.fromkeys(names, tuple(range(9)))) is True


def test_no_solver_is_loaded_for_it() -> None:
    code = (
        "import sys\nfrom tcstatic.invariants.conditions import parse, possible\n"
        "assert possible(parse('a and b'), {'a': (False,)}) is False\n"
        "print('z3' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"
