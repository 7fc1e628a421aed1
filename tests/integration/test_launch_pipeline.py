"""Pipelines of torch: a schedule runs forwards and backwards, of one stage or of several."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import pytest

from tests.golden.running import TCSTATIC, runs

pytestmark = [pytest.mark.slow, pytest.mark.distributed]

TRAIN: Final = """
import sys
import torch, torch.distributed as dist
from torch import nn
from torch.distributed.pipelining import (
    PipelineStage, Schedule1F1B, ScheduleGPipe, ScheduleInterleaved1F1B,
)
dist.init_process_group("gloo")
rank, kind, how = dist.get_rank(), *sys.argv[1:]
several = kind == "interleaved"
numbers = [rank, rank + 2] if several else [rank]
last = 3 if several else 1
class Part(nn.Module):
    def __init__(self, number):
        super().__init__()
        self.register_buffer("scale", torch.linspace(0.5, 1.5, 8))
        self.body, self.norm, self.drop = nn.Linear(8, 8), nn.LayerNorm(8), nn.Dropout(0.1)
        self.out = nn.Linear(8, 1 if number == last else 8)
    def forward(self, x):
        return self.out(self.drop(torch.relu(self.norm(self.body(x * self.scale)))))
torch.manual_seed(0 if how == "alike" else rank)
parts = nn.ModuleList(Part(number) for number in numbers)
stages = [PipelineStage(p, n, last + 1, "cpu") for p, n in zip(parts, numbers)]
loss = nn.functional.mse_loss
if several:
    schedule = ScheduleInterleaved1F1B(stages, 4, loss_fn=loss)
else:
    schedule = (ScheduleGPipe if kind == "gpipe" else Schedule1F1B)(stages[0], 4, loss_fn=loss)
optimizer = torch.optim.AdamW(parts.parameters(), lr=0.01)
own = torch.Generator().manual_seed(3)
torch.manual_seed(10 + rank)
for step in range(9):
    x = torch.randn(16, 8, generator=own)
    optimizer.zero_grad()
    if how == "eval" and step == 3:
        parts.eval()
    if how == "buffer" and step == 4 and rank == 1:
        parts[0].scale.untyped_storage()[3] ^= 1
    if rank == 0:
        schedule.step(x)
    else:
        losses = []
        schedule.step(target=x[:, :1].sin(), losses=losses)
        print(f"{step}: {sum(losses).item():.4f}")
    if how == "gradient" and step == 5 and rank == 0:
        parts[-1].body.weight.grad.untyped_storage()[3] ^= 1
    optimizer.step()
dist.destroy_process_group()
"""


@pytest.mark.parametrize(
    ("kind", "how", "codes", "says"),
    [
        ("gpipe", "well", [], ""),
        ("1f1b", "alike", [], ""),
        ("interleaved", "well", [], ""),
        ("1f1b", "buffer", ["TCS508"], "on rank 1 buffer scale changed"),
        ("gpipe", "gradient", ["TCS508"], "on rank 0 the gradient of body.weight changed"),
        ("gpipe", "eval", ["TCS301"], "Part"),
    ],
)
def test_stages_are_followed(
    tmp_path: Path, kind: str, how: str, codes: list[str], says: str
) -> None:
    (tmp_path / "train.py").write_text(TRAIN, encoding="utf-8")
    options = ["--on-violation", "warn", "--overhead-budget", "100%", "--report", "out.json"]
    words = ("--quiet", "train.py", kind, how)
    ran = runs().fork(*TCSTATIC, "run", *options, *words, cwd=tmp_path, ranks=2)
    plain = runs().fork("train.py", kind, how, cwd=tmp_path, ranks=2)
    assert ran.status == plain.status == (0, 0), ran.stderr
    report = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert report["probes"]["disabled"] == []
    assert sorted({found["code"] for found in report["findings"]}) == codes
    assert all(says in found["message"] for found in report["findings"])
    assert ran.stdout == plain.stdout
