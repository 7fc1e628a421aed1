"""Comments beside the line that a finding names: `run` and `check` hear them as `lint` does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.golden.running import TCSTATIC, runs

# Nothing clears the gradients: TCS112 at the step, or at its call's first line.
SCRIPT = """\
{above}
import torch

torch.manual_seed(0)
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for step in range(6):
    loss = model(torch.ones(8, 4)).pow(2).mean(){elsewhere}
    loss.backward()
{alone}
    optimizer.step({inside}
    ){beside}
"""
PLACES = ("above", "elsewhere", "alone", "inside", "beside")
ALLOW = "  # tcstatic: allow"
NO_FINDING = "tcstatic: no finding; 1 silenced by comments"


def written(folder: Path, **comments: str) -> Path:
    """The script with some comments."""
    script = folder / "train.py"
    script.write_text(SCRIPT.format(**{**dict.fromkeys(PLACES, ""), **comments}))
    return script


def codes(found: Any) -> list[str]:
    return [one["code"] for one in found]


@pytest.mark.parametrize(
    ("place", "comment", "silenced"),
    [
        ("beside", f"{ALLOW} gradients-not-cleared", True),
        ("beside", f"{ALLOW} TCS112, on purpose", True),
        ("beside", "  # noqa: TCS112", True),
        ("inside", f"{ALLOW} TCS112", True),
        ("alone", f"  {ALLOW} TCS112", True),
        ("above", "# tcstatic: allow TCS112", True),
        ("elsewhere", f"{ALLOW} TCS112", False),
        ("beside", f"{ALLOW} TCS113", False),
        ("beside", "  # TCS112 is meant", False),
    ],
)
def test_what_a_comment_allows_is_counted_and_not_told(
    tmp_path: Path, place: str, comment: str, silenced: bool
) -> None:
    script = written(tmp_path, **{place: comment})
    options = ("--on-violation", "fail", "--report", "report.json")
    ended = runs().fork(*TCSTATIC, "run", *options, script.name, cwd=tmp_path)
    report = json.loads((tmp_path / "report.json").read_text())
    assert codes(report["findings"]) == ([] if silenced else ["TCS112"])
    assert codes(report.get("silenced", [])) == (["TCS112"] if silenced else [])
    assert report["invariants"]["violated"] == ["TCS112"]
    assert ended.status == (0 if silenced else 1,)
    assert (NO_FINDING in ended.stderr[0]) == silenced
    assert ("gradients-not-cleared" in ended.stderr[0]) != silenced


def test_a_recording_is_judged_by_the_comments_that_the_run_had(tmp_path: Path) -> None:
    script = written(tmp_path, beside=f"{ALLOW} TCS112")
    recorded = runs().fork(*TCSTATIC, "run", "--trace", "trace", script.name, cwd=tmp_path)
    written(tmp_path)
    judged = runs().fork(*TCSTATIC, "check", "trace", cwd=tmp_path)
    assert NO_FINDING in recorded.stderr[0]
    assert judged.status == (0,)
    assert NO_FINDING in judged.stdout[0]


def test_a_copy_keeps_what_its_comments_allow(tmp_path: Path) -> None:
    script = written(tmp_path, beside=f"{ALLOW} TCS112")
    assert runs().fork(*TCSTATIC, "rewrite", script.name, "-o", "copy", cwd=tmp_path).status == (0,)
    ended = runs().fork(script.name, cwd=tmp_path / "copy")
    assert NO_FINDING in ended.stderr[0]


@pytest.mark.distributed
def test_ranks_silence_one_finding_together(tmp_path: Path) -> None:
    script = written(tmp_path, beside=f"{ALLOW} TCS112")
    report = runs().report(script.name, cwd=tmp_path, ranks=2)
    assert codes(report["findings"]) == []
    assert codes(report["silenced"]) == ["TCS112"]
    assert report["ranks"] == [0, 1]
