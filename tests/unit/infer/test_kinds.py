"""Each healthy fixture is of one kind, so that a fold can leave its likes out."""

from __future__ import annotations

import pytest

from tests.benchmarks.kinds import KINDS, kinds_of
from tests.benchmarks.learning import BOUNDS, folds, scripts


def test_each_fixture_has_a_kind() -> None:
    kinds = kinds_of(scripts())
    assert len(kinds) >= 70 and set(kinds.values()) == set(KINDS)


def test_a_fixture_without_a_kind_is_an_error() -> None:
    with pytest.raises(ValueError, match="healthy/new_one"):
        kinds_of([*scripts(), "healthy/new_one"])
    with pytest.raises(ValueError, match="scripts/vae"):
        kinds_of(name for name in scripts() if name != "scripts/vae")


@pytest.mark.parametrize("inputs", BOUNDS)
def test_nothing_is_learnt_from_the_kind_that_is_checked(inputs: int) -> None:
    kinds = kinds_of(scripts())
    found = folds(kinds, inputs, 2)
    assert [kind for kind, _ in found] == [kind for kind in KINDS for _ in range(2)]
    for kind, chosen in found:
        assert len(set(chosen)) == inputs
        assert kind not in {kinds[name] for name in chosen}
