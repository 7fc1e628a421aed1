"""Programs of accelerate: under its launcher, and written against its `Accelerator`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HEALTHY = """
import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
torch.manual_seed(0)
x = torch.randn(128, 8)
y = (x[:, 0] > x[:, 1]).long()
def build():
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 2))
training = DataLoader(TensorDataset(x[:96], y[:96]), batch_size=8, shuffle=True)
testing = DataLoader(TensorDataset(x[96:], y[96:]), batch_size=8)
model = build()
optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, total_iters=10)
# prepare
prepared = accelerator.prepare(model, optimizer, training, testing, scheduler)
model, optimizer, training, testing, scheduler = prepared
for epoch in range(2):
    model.train()
    for inputs, labels in training:
        with accelerator.accumulate(model):
            loss = nn.functional.cross_entropy(model(inputs), labels)
            accelerator.backward(loss)
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
    model.eval()
    right = 0
    for inputs, labels in testing:
        with torch.no_grad():
            predicted = model(inputs).argmax(dim=-1)
        predicted, labels = accelerator.gather_for_metrics((predicted, labels))
        right += (predicted == labels).sum().item()
    accelerator.print(f"epoch {epoch}: {right} of 32")
accelerator.end_training()
"""
# What is changed, to what, and then: the code, and the text of the line to mend.
CHANGES = {
    "another model": ("# prepare", "model = build()  # again", "TCS201", "model = build()  # "),
    "not cleared": ("            optimizer.zero_grad()\n", "", "TCS112", "optimizer.step()"),
    "not in eval mode": ("    model.eval()\n", "", "TCS302", "predicted = model(inputs)"),
}
BYPASSED = ("\nmodel, optimizer, training,", "\n_, optimizer, training,")


class Project:
    """A folder with a script, and two ways to run it."""

    def __init__(self, folder: Path, repo: Path) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(repo),
            "TCSTATIC_CACHE": str(folder / "cache"),
            "TCSTATIC_REPORT": str(folder / "out.json"),
            "HF_HOME": str(folder / "home"),
            "OMP_NUM_THREADS": "1",
        }

    def write(self, text: str) -> None:
        (self.folder / "program").mkdir()
        (self.folder / "program" / "train.py").write_text(text, encoding="utf-8")

    def line(self, text: str) -> int:
        lines = (self.folder / "program" / "train.py").read_text(encoding="utf-8").splitlines()
        return next(number for number, line in enumerate(lines, 1) if text in line)

    def python(self, *words: str) -> Any:
        ran = subprocess.run(
            [sys.executable, *words],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=self.environment,
            timeout=300,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        return ran

    def run(self) -> list[tuple[str, int]]:
        self.python("-m", "tcstatic", "run", "--report", "out.json", "program/train.py")
        return self.found()[0]

    def launch(self, *options: str) -> Any:
        """Launch an instrumented copy; the machine may have no accelerator at all."""
        self.python("-m", "tcstatic", "rewrite", "program/train.py", "-o", "copy")
        how = ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
        launcher = ["-m", "accelerate.commands.launch", *options, *how]
        return self.python(*launcher, "copy/train.py")

    def found(self) -> tuple[list[tuple[str, int]], list[int]]:
        report = json.loads((self.folder / "out.json").read_text(encoding="utf-8"))
        assert (report["incomplete"], report["probes"]["disabled"]) == ([], [])
        assert report["probes"]["events"] > 0
        return [(f["code"], f["line"]) for f in report["findings"]], report["ranks"]


@pytest.fixture
def project(tmp_path: Path, repo: Path) -> Project:
    return Project(tmp_path, repo)


def test_a_healthy_program_is_silent(project: Project) -> None:
    project.write(HEALTHY)
    assert project.run() == []


@pytest.mark.parametrize("name", CHANGES)
def test_a_fault_is_found(project: Project, name: str) -> None:
    old, new, code, line = CHANGES[name]
    project.write(HEALTHY.replace(old, new))
    assert project.run() == [(code, project.line(line))]


@pytest.mark.distributed
@pytest.mark.parametrize("processes", [1, 2])
def test_its_launcher_gives_one_report(project: Project, repo: Path, processes: int) -> None:
    story = repo / "fixtures" / "stories" / "flat_loss" / "bad.py"
    project.write(story.read_text(encoding="utf-8"))
    options = ("--cpu",) if processes == 1 else ("--multi_gpu", "--num_processes", "2")
    ran = project.launch(*options)
    assert project.found() == ([("TCS201", project.line("expect: TCS201"))], [0, 1][:processes])
    assert ran.stderr.count("tcstatic: error TCS201") == 1
    assert ran.stderr.count("tcstatic: invariants:") == 1


@pytest.mark.distributed
@pytest.mark.parametrize("bypassed", [False, True])
def test_ranks_that_accumulate(project: Project, bypassed: bool) -> None:
    project.write(HEALTHY.replace(*BYPASSED) if bypassed else HEALTHY)
    project.launch("--multi_gpu", "--num_processes", "2")
    bad = [("TCS206", project.line("model(inputs), labels"))] if bypassed else []
    assert project.found() == (bad, [0, 1])
