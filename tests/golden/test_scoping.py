"""What the source decides is not probed: half of the probes go, and no finding with them.

All programs: ``python -m tests.benchmarks.scoping``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tcstatic.model import ProbePlan, RunOptions
from tcstatic.pipeline import Request, load_invariants
from tcstatic.rewrite import compile_plan

MODEL = """
import torch
from torch import nn
from torch.nn import functional as F
{imports}
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, x):
        return self.layer(x)

def text(value):
    return str(value)

told = text
{setup}
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(3):
    optimizer.zero_grad()
    loss = model(torch.ones(4, 2)).sum()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    told(loss)
"""


def plan_of(folder: Path, setup: str, imports: str) -> ProbePlan:
    script = folder / "train.py"
    script.write_text(MODEL.format(setup=setup, imports=imports))
    plan = compile_plan(script, folder, load_invariants(Request("", "")), RunOptions())
    assert plan.skipped == ()
    return plan


def planned(
    folder: Path, setup: str = "model = Net()", imports: str = ""
) -> tuple[set[tuple[str, str, int]], dict[str, str]]:
    """The probes of a program as (probe, kind, line), and what is out of its scope."""
    plan = plan_of(folder, setup, imports)
    sites = {(site.probe, site.kind, site.location.line) for site in plan.sites}
    return sites, {code: verdict.reason for code, verdict in plan.out_of_scope}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TCSTATIC_CACHE", str(tmp_path / "cache"))


def test_half_of_the_probes_go_and_no_finding(repo: Path) -> None:
    words = [sys.executable, "-m", "tests.benchmarks.scoping", "--sample"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(
        words, cwd=repo, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert " 0 programs differ" in ran.stdout


def test_what_is_known_is_not_probed(tmp_path: Path) -> None:
    sites, outside = planned(tmp_path)
    assert sites == {
        ("after", "model.new", 18),
        ("after", "optimizer.new", 19),
        ("loop", "loop.step", 20),
        # not zero_grad(): what it is for is proved
        ("on", "model.forward", 22),
        ("after", "model.forward", 22),
        ("after", "call", 22),  # what the loss was made by
        ("on", "loss.backward", 23),
        ("after", "loss.backward", 23),
        ("on", "grad.clip", 24),
        ("after", "grad.clip", 24),
    }
    assert outside["TCS501"] == "one process trains: no process group is made"
    assert outside["TCS114"] == "no loss scaler is made"
    assert outside["TCS112"].startswith("proved from the source: ")


@pytest.mark.parametrize(
    "imports", ["", "import torch.distributed as dist", "import accelerate", "exec('')"]
)
@pytest.mark.parametrize(
    ("setup", "asked"),
    [
        ("model = Net()", False),
        ("model = Net()\nbatches = iter([])", False),
        ("model = Net()\nbatch = next(iter([0]))", True),
        ("model = Net()\nbatch = next(  # the first\n    (iter)([0]))", True),
    ],
)
def test_what_a_model_is_given_is_asked_where_a_first_batch_is_fetched(
    tmp_path: Path, setup: str, imports: str, asked: bool
) -> None:
    sites = plan_of(tmp_path, setup, imports).sites
    assert any(site.attribute == "given" for site in sites) == asked


@pytest.mark.parametrize(
    ("imports", "codes"),
    [
        ("import accelerate", {"TCS114", "TCS205", "TCS501"}),
        ("import torch.distributed as dist", {"TCS501"}),
        ("from torch.amp import GradScaler", {"TCS114"}),
        ("import importlib", {"TCS114", "TCS205", "TCS501"}),
        ("exec('')", {"TCS114", "TCS205", "TCS501"}),
    ],
)
def test_what_may_bring_more_keeps_its_rules(tmp_path: Path, imports: str, codes: set[str]) -> None:
    _, outside = planned(tmp_path, imports=imports)
    assert not codes & outside.keys()


@pytest.mark.parametrize(
    "setup",
    [
        "import pickle\nmodel = pickle.load(open('m', 'rb'))\ntold = model",
        "told = model = torch.load('whole.pt')",
        "model = Net()\ntold = torch.compile(model)",
        "model = Net()\nfor _ in range(2):\n    told = model",
        "model = Net()\nif len(input()) > 1: told = model",
        "model = Net()\nsetattr(model, input(), 2)",
        "import registry\nmodel = Net()\ntold = registry.get('told')",
    ],
)
def test_a_call_that_is_not_known_keeps_its_probes(tmp_path: Path, setup: str) -> None:
    sites, _ = planned(tmp_path, setup)
    last = max(line for _, _, line in sites)
    assert ("on", "model.forward", last) in sites
