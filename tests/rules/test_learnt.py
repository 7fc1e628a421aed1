"""Rules that were learnt from healthy scripts and chosen by hand: the scripts still teach them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tcstatic.invariants.relations import check_params, needs_of
from tcstatic.invariants.rules import default_rules_folder, load_rules
from tcstatic.model import Invariant
from tests.golden.running import FIXTURES, TCSTATIC, runs

SCRIPTS: Final = {"digits_cnn": ("--epochs", "1"), "gcn": ("--epochs", "10")}
RULES: Final = load_rules([default_rules_folder()], schema=check_params)
LEARNT: Final = [pytest.param(rule, id=rule.code) for rule in RULES if rule.status == "learnt"]


@pytest.fixture(scope="module")
def inferred(tmp_path_factory: pytest.TempPathFactory) -> tuple[Invariant, ...]:
    """What a user learns from some of the scripts."""
    folder = tmp_path_factory.mktemp("learnt")
    for name, options in SCRIPTS.items():
        script = FIXTURES / "scripts" / name / "train.py"
        words = ("run", "--quiet", "--trace", name, str(script), *options)
        ended = runs().fork(*TCSTATIC, *words, cwd=folder)
        assert ended.status == (0,), ended.stderr
    ended = runs().fork(*TCSTATIC, "infer", *SCRIPTS, "-o", "learnt.yaml", cwd=folder)
    assert ended.status == (0,), ended.stderr
    return load_rules([folder / "learnt.yaml"], schema=check_params)


def implies(found: Invariant, rule: Invariant) -> bool:
    """Whether what was found says no less than a rule: without a precondition, and of each member
    where the rule is about some of those that it selects."""
    ours = {key: value for key, value in rule.params.items() if key != "over"}
    theirs = dict(found.params)
    if ours.get("quantifier") == "some" and theirs.get("quantifier") == "each":
        theirs["quantifier"] = "some"
    return (found.relation, theirs, found.when) == (rule.relation, ours, "")


def test_there_are_some() -> None:
    assert len(LEARNT) >= 3


@pytest.mark.parametrize("rule", LEARNT)
def test_it_is_learnt_today(rule: Invariant, inferred: tuple[Invariant, ...]) -> None:
    assert any(implies(found, rule) for found in inferred)


@pytest.mark.parametrize("rule", LEARNT)
def test_it_says_what_it_rests_on(rule: Invariant) -> None:
    assert rule.support is not None and rule.support.held >= 7
    scripts = {run.partition(":")[0] for run in rule.support.runs}
    assert scripts == {path.parent.name for path in FIXTURES.glob("scripts/*/train.py")}


@pytest.mark.parametrize("rule", LEARNT)
def test_it_asks_for_no_probe_at_calls(rule: Invariant) -> None:
    assert needs_of(rule).calls == frozenset() and rule.severity == "warning"


def test_one_that_was_not_learnt_is_told(inferred: tuple[Invariant, ...], tmp_path: Path) -> None:
    text = (default_rules_folder() / "TCS142.yaml").read_text(encoding="utf-8")
    path = tmp_path / "rule.yaml"
    path.write_text(text.replace("is: true", "is: false"), encoding="utf-8")
    (other,) = load_rules([path], schema=check_params)
    assert not any(implies(found, other) for found in inferred)
