"""Healthy programs stay silent, and are seen to: each shows a dozen invariants that held."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.golden.running import FIXTURES, expected, findings, runs

SCRIPTS = sorted(FIXTURES.glob("scripts/*/train.py"))
HEALTHY = sorted(FIXTURES.glob("healthy/*.py"))
# They start two local ranks by themselves; as ranks of a launcher, they import torch only once.
RANKED = "local_sgd expert_parallel tensor_parallel population_training ddp_gloo".split()


def name(script: Path) -> str:
    """What a fixture is called."""
    return script.parent.name if script.name == "train.py" else script.stem


def test_none_is_missing() -> None:
    assert len(SCRIPTS) >= 8
    assert len(HEALTHY) >= 40
    assert set(RANKED) <= {name(script) for script in SCRIPTS + HEALTHY}


@pytest.mark.parametrize("script", SCRIPTS + HEALTHY, ids=name)
def test_healthy_programs_stay_silent(script: Path, tmp_path: Path) -> None:
    assert expected(script.parent, script.name) == []
    ranks = 2 if name(script) in RANKED else 1
    report = runs().report(str(script), cwd=tmp_path, ranks=ranks)
    assert findings(report) == []
    assert report["ranks"] == list(range(ranks))
    invariants = report["invariants"]
    held = [code for code in invariants["held"] if invariants["checked"][code] > 0]
    assert len(held) >= 12, held
    assert invariants["violated"] == []


@pytest.mark.distributed
def test_ranks_that_a_script_starts_stay_silent(tmp_path: Path) -> None:
    report = runs().report(str(FIXTURES / "scripts/ddp_gloo/train.py"), cwd=tmp_path)
    assert (findings(report), report["ranks"]) == ([], [0, 1])
    assert len(report["invariants"]["held"]) >= 12
