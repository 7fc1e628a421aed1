"""plan.json: what is written is what is read, and nothing else is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tcstatic.errors import PlanError
from tcstatic.model import (
    Blame,
    Example,
    Invariant,
    Location,
    PlannedFile,
    ProbePlan,
    RunOptions,
    Site,
    Skipped,
    Verdict,
)
from tcstatic.runtime.live.planfile import dump, load

INVARIANT = Invariant(
    code="TCS112",
    name="gradients-not-cleared",
    relation="order",
    params={"between": ("optimizer.step", "loss.backward"), "count": 1, "nested": [{"a": (1,)}]},
    severity="error",
    message="{optimizer} …",
    why="why",
    cure="cure",
    unless="accumulating",
    blame=(Blame("optimizer.zero_grad", "cleared_other"), Blame("loop.step")),
    explains=("TCS204",),
    references=("a page",),
)
PLAN = ProbePlan(
    root="/somewhere",
    script="train.py",
    sites=(
        Site(
            1, "after", "optimizer.new", Location("train.py", 3, 5, 3, 9, "main"), "torch.optim.SGD"
        ),
        Site(
            2,
            "target",
            "grad.write",
            Location("train.py", 4),
            attribute="grad",
            arguments={"x": "1"},
        ),
    ),
    invariants=(INVARIANT,),
    out_of_scope=(("TCS501", Verdict("OUT_OF_SCOPE", "one rank")),),
    files=(PlannedFile("train.py", "0" * 64, "abc.code"), PlannedFile("other.py", "1" * 64)),
    skipped=(Skipped("bad.py", "does not round-trip"),),
    options=RunOptions(("a.json",), "fail", 0.05, True),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "plan.json"
    path.write_text(dump(PLAN), encoding="utf-8")
    return path


def test_what_is_written_is_read(path: Path) -> None:
    assert load(path) == PLAN


def test_examples_stay_at_home(tmp_path: Path) -> None:
    from dataclasses import replace

    shown = replace(INVARIANT, examples=(Example("bad", "import torch"),))
    path = tmp_path / "plan.json"
    path.write_text(dump(replace(PLAN, invariants=(shown,))), encoding="utf-8")
    assert "import torch" not in path.read_text(encoding="utf-8")
    assert load(path) == PLAN


def test_the_text_is_the_same_each_time() -> None:
    assert dump(PLAN) == dump(PLAN)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda plan: plan.update(schema="tcstatic-plan/2"),
            "not a plan; expected tcstatic-plan/1",
        ),
        (lambda plan: plan.update(version="9.9"), "made by another version, got tcstatic 9.9"),
        (lambda plan: plan["plan"].update(script="other.py"), "changed after it was made"),
        (lambda plan: plan.pop("plan"), "changed after it was made"),
    ],
)
def test_another_plan_is_refused(path: Path, change, said: str) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(PlanError, match=r"^[^\n]*$") as refused:
        load(path)
    assert said in str(refused.value) and str(path) in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"), [(None, "No such file"), ("{", "not a plan"), ("[]", "not a plan")]
)
def test_what_is_no_plan_is_refused(tmp_path: Path, text: str | None, said: str) -> None:
    path = tmp_path / "plan.json"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(PlanError, match=said):
        load(path)
