"""What was learnt elsewhere, in a program that cannot meet it: told alike live and replayed, and
without the solver where nothing needs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.golden.commands import record, tcstatic

SCRIPT = """\
import torch
model = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(4):
    optimizer.zero_grad()
    model(torch.ones(4, 2)).sum().backward()
    optimizer.step()
"""
RECORD = """\
- code: {code}
  name: learnt-order-{number}
  relation: order
  that: {{existence: {wanted}, between: [optimizer.step, optimizer.step], same: optimizer}}
  when: {when}
  severity: warning
  message: 'm'
  why: w
  cure: c
  feeds: [run]
  status: learnt
"""
CHEAP = {
    "INF001": ("loss.backward", "grad_enabled"),
    "INF002": ("loss.backward", "loss_scaled and grad_enabled"),
    "INF003": ("loss.backward", "'autocast == \"bfloat16\" or rank > 0'"),
    "INF004": ("scheduler.step", "grad_enabled"),
}
COMPARED = {"INF005": ("loss.backward", "'not loss_scaled and loss < best and best < loss'")}
REASONS = {
    "INF002": "no loss scaler is made, so that its precondition never holds (loss_scaled)",
    "INF003": "one process trains: no process group is made, and nothing is autocast, so that its "
    "precondition never holds (rank, autocast)",
    "INF004": "no learning-rate scheduler is made",
    "INF005": "no loss scaler is made, so that its precondition never holds (loss_scaled)",
}
PLAN = """\
import sys
from pathlib import Path
from tcstatic.model import RunOptions
from tcstatic.pipeline import Request, make_plan
plan = make_plan(Request(sys.argv[1], sys.argv[2], invariants=(sys.argv[3],)), RunOptions())
print(" ".join(code for code, _ in plan.out_of_scope if code.startswith("INF")))
print("z3" in sys.modules)
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "train.py"
    path.write_text(SCRIPT, encoding="utf-8")
    return path


def invariants(folder: Path, records: dict[str, tuple[str, str]]) -> Path:
    path = folder / "learnt.yaml"
    texts = (
        RECORD.format(code=c, number=c[3:], wanted=w, when=when) for c, (w, when) in records.items()
    )
    path.write_text("".join(texts), encoding="utf-8")
    return path


def test_live_and_replayed_tell_the_same_reasons(tmp_path: Path, script: Path) -> None:
    path = invariants(tmp_path, {**CHEAP, **COMPARED})
    report, trace = tmp_path / "run.json", tmp_path / "trace"
    done = tcstatic("run", "--quiet", "--report", report, "--invariants", path, script)
    assert done.returncode == 0, done.stderr
    live = json.loads(report.read_text(encoding="utf-8"))["invariants"]["out_of_scope"]
    assert {code: why for code, why in live.items() if code.startswith("INF")} == REASONS
    # recorded without them: what the source tells is in the manifest
    record(script, trace)
    script.unlink()
    done = tcstatic("check", trace, "--invariants", path, "--output-format", "json")
    assert done.returncode == 0, done.stderr
    replayed = json.loads(done.stdout)["invariants"]
    # A run that is recorded leaves out nothing that is proved.
    proved = {code for code, why in live.items() if why.startswith("proved from the source")}
    assert replayed["out_of_scope"] == {c: why for c, why in live.items() if c not in proved}
    assert proved <= set(replayed["checked"])
    assert "INF001" in replayed["checked"]


def test_a_code_of_another_file_means_nothing(tmp_path: Path, script: Path) -> None:
    one = invariants(tmp_path, {"INF001": CHEAP["INF002"]})
    trace = tmp_path / "trace"
    record(script, trace, "--invariants", one)
    other = invariants(tmp_path, {"INF001": CHEAP["INF001"]})
    done = tcstatic("check", trace, "--invariants", other, "--output-format", "json")
    assert "INF001" in json.loads(done.stdout)["invariants"]["checked"]


@pytest.mark.parametrize("records, solved", [(CHEAP, False), ({**CHEAP, **COMPARED}, True)])
def test_the_solver_is_loaded_where_it_is_needed(
    tmp_path: Path,
    script: Path,
    monkeypatch: pytest.MonkeyPatch,
    records: dict[str, tuple[str, str]],
    solved: bool,
) -> None:
    monkeypatch.setenv("TCSTATIC_CACHE", str(tmp_path / "cache"))
    command = [sys.executable, "-c", PLAN, str(script), str(tmp_path)]
    done = subprocess.run(
        [*command, str(invariants(tmp_path, records))], capture_output=True, text=True, check=True
    )
    outside = [code for code in records if code in REASONS]
    assert done.stdout.split() == [*outside, str(solved)]


LAYERED = """\
import torch
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.head = torch.nn.Linear(2, 1)
    def forward(self, x):
        return self.head(x)
net = Net()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for step in range(4):
    optimizer.zero_grad()
    net(torch.ones(4, 2)).sum().backward()
    optimizer.step()
"""
LAYER = """\
- code: INF001
  name: learnt-result-1
  relation: result
  that: {of: call torch.nn.Linear, value: result_dtype, is: float32}
  severity: warning
  message: 'm'
  why: w
  cure: c
  feeds: [run]
  status: learnt
"""


def test_a_layer_alone_is_in_scope_by_whatever_name_it_is_called(tmp_path: Path) -> None:
    script, invariant = tmp_path / "train.py", tmp_path / "learnt.yaml"
    script.write_text(LAYERED, encoding="utf-8")
    invariant.write_text(LAYER, encoding="utf-8")
    report, trace = tmp_path / "run.json", tmp_path / "trace"
    done = tcstatic("run", "--quiet", "--report", report, "--invariants", invariant, script)
    assert done.returncode == 0, done.stderr
    live = json.loads(report.read_text(encoding="utf-8"))["invariants"]["checked"]
    record(script, trace)
    done = tcstatic("check", trace, "--invariants", invariant, "--output-format", "json")
    replayed = json.loads(done.stdout)["invariants"]["checked"]
    assert live["INF001"] == replayed["INF001"] == 4
