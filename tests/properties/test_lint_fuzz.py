"""Lint neither crashes nor hangs, whatever it is given (more: tests.benchmarks.fuzzing)."""

from __future__ import annotations

from pathlib import Path

import hypothesmith
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.properties.damage import damage
from tests.properties.linting import lint_text
from tests.properties.programs import PROGRAMS
from tests.properties.training_programs import training_program

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::SyntaxWarning")

FIXTURES = sorted((Path(__file__).parents[2] / "fixtures").rglob("*.py"))
IMPORT = b"import torch\n"
SEEDS = st.integers(0, 2**32)


def check(source: bytes) -> None:
    outcome = lint_text(source)
    assert not outcome.bad, outcome


@given(SEEDS)
@settings(max_examples=150)
def test_programs_of_what_training_is_made_of(seed: int) -> None:
    check(training_program(seed).encode())


@given(st.sampled_from(FIXTURES), SEEDS)
@settings(max_examples=100)
def test_damaged_files(path: Path, seed: int) -> None:
    check(damage(path.read_bytes(), seed))


@given(PROGRAMS)
@settings(max_examples=50)
def test_programs_in_unusual_spelling(text: str) -> None:
    check(IMPORT + text.encode())


@given(hypothesmith.from_grammar())
@settings(max_examples=30, suppress_health_check=list(HealthCheck))
def test_programs_from_the_grammar(text: str) -> None:
    check(IMPORT + text.encode("utf-8", "replace"))


@given(hypothesmith.from_node())
@settings(max_examples=20, suppress_health_check=list(HealthCheck))
def test_programs_from_libcst_nodes(text: str) -> None:
    check(IMPORT + text.encode("utf-8", "replace"))


def test_a_deep_or_wide_file_is_an_answer_as_well() -> None:
    check(IMPORT + b"x = " + b"-" * 100_000 + b"1\n")
    check(IMPORT + b"x = [" + b"model.step(), " * 20_000 + b"]\n")
    check(IMPORT + b"".join(b"def f%d():\n f%d(); f%d()\n" % (i, i + 1, i + 1) for i in range(60)))
