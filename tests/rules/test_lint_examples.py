"""Every example of every rule under lint: a bad one has its `# expect:` line, a good one none.

An example of a rule that only a run can decide must not alarm lint either, unless it is bad.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from tcstatic.invariants.relations import check_params
from tcstatic.invariants.rules import default_rules_folder, load_rules
from tcstatic.lint.analysis import Analyser
from tcstatic.model import Example, Finding, Invariant

EXPECT: Final = re.compile(r"# expect: ([A-Z]+\d+)(?: step=\d+)?$")
RULES: Final = load_rules([default_rules_folder()], schema=check_params)
LINTED: Final = tuple(rule for rule in RULES if "lint" in rule.feeds)
DECIDED: Final = [
    pytest.param(rule, example, id=f"{rule.code}-{number}-{example.kind}")
    for rule in LINTED
    for number, example in enumerate(rule.examples)
]
SILENT: Final = [
    pytest.param(example, id=f"{rule.code}-{number}")
    for rule in RULES
    if rule not in LINTED
    for number, example in enumerate(rule.examples)
    if example.kind == "good"
]


# Bad examples of rules that a run decides as well, which the source does not show: it takes the
# values of this very run.
BEYOND_SOURCE: Final = frozenset(
    {
        ("TCS112", "an update by hand, of gradients that are bounded and never cleared"),
        ("TCS138", "a rate that is read as a whole number"),
        ("TCS201", "a larger model takes the place of the one that the optimizer was built for"),
        ("TCS201", "each fold gets a new model, and keeps the first one's optimizer"),
        ("TCS219", "a function that is called for each step"),
        ("TCS402", "a function after the last layer hands no gradient back"),
        ("TCS415", "through numpy and back"),
        ("TCS415", "a gate that compares has no slope"),
        ("TCS415", "a parametrization is computed from the numbers of the weight"),
        ("TCS415", "a checkpoint of the first layers, whose input needs no gradient"),
        ("TCS416", "a sequence of scores, put together from one for each place"),
        ("TCS415", "checkpoints of blocks with a way around them, after frozen embeddings"),
        ("TCS430", "a cross entropy with one column of scores"),
        ("TCS430", "the dimension is right, the number of classes is not"),
        ("TCS701", "moved to the processor that it is on"),
        (
            "TCS701",
            "the weights of training are put aside while those of the average are evaluated",
        ),
    }
)
# What the source tells more precisely than a run does.
FINER: Final = {"TCS116": "TCS113", "TCS305": "TCS415"}


def linted(text: str, folder: Path) -> tuple[Finding, ...]:
    """What the shipped rules find in a script that stands alone."""
    script = folder / "train.py"
    script.write_text(text)
    return Analyser(folder, LINTED).analyse(script).findings


def expected(text: str) -> list[tuple[str, int]]:
    """The (code, line) that the comments of a script announce."""
    return [
        (match[1], number)
        for number, line in enumerate(text.splitlines(), 1)
        if (match := EXPECT.search(line))
    ]


def alarming(findings: tuple[Finding, ...]) -> list[tuple[str, int | None, str]]:
    """Those that a person would call an alarm."""
    return [(one.code, one.where.line, one.message) for one in findings if one.severity != "note"]


@pytest.mark.parametrize(("rule", "example"), DECIDED)
def test_an_example_is_decided_from_its_source(
    rule: Invariant, example: Example, tmp_path: Path
) -> None:
    found = linted(example.text, tmp_path)
    wanted = expected(example.text)
    if (rule.code, example.title) in BEYOND_SOURCE:
        assert found == ()
        return
    told = [(one.code, one.where.line) for one in found]
    coarse = [(FINER.get(code, code), line) for code, line in told]
    assert told == wanted or coarse == wanted, alarming(found)
    weaker = {"warning"} if rule.severity == "error" else set()
    assert {one.severity for one in found} <= {rule.severity, rule.sometimes, *weaker}


@pytest.mark.parametrize("example", SILENT)
def test_a_correct_script_gives_no_alarm(example: Example, tmp_path: Path) -> None:
    assert alarming(linted(example.text, tmp_path)) == []


@pytest.mark.parametrize("rule", [pytest.param(rule, id=rule.code) for rule in LINTED])
def test_a_rule_that_lint_decides_has_examples_of_both_kinds(rule: Invariant) -> None:
    bad = [example for example in rule.examples if example.kind == "bad"]
    good = [example for example in rule.examples if example.kind == "good"]
    assert len(bad) >= 1 and len(good) >= 2
    for example in bad:
        assert [code for code, _ in expected(example.text)] == [rule.code]
    assert not any(expected(example.text) for example in good)
