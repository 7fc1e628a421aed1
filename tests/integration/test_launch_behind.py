"""Ranks that nothing brings together: one may be done before the other has begun."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tests.golden.running import TCSTATIC, runs

pytestmark = [pytest.mark.slow, pytest.mark.distributed]

# Rank 1 trains only once rank 0 has come to its last line.
TRAIN: Final = """
import os
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel as DDP

dist.init_process_group("gloo")
model = DDP(nn.Linear(4, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
torch.manual_seed(1 + dist.get_rank())
while dist.get_rank() and not os.path.exists("over"):
    pass
if dist.get_rank() and os.path.exists("leave"):
    os._exit(0)
for step in range(4):
    optimizer.zero_grad()
    with model.no_sync():
        nn.functional.mse_loss(model(torch.randn(6, 4)), torch.randn(6, 2)).backward()
    optimizer.step()
open("over", "w").close()
"""
LINE: Final = 1 + [line.endswith(".backward()") for line in TRAIN.splitlines()].index(True)


def test_the_last_rounds_of_a_rank_that_is_behind_are_compared(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(TRAIN, encoding="utf-8")
    report = runs().report("train.py", cwd=tmp_path, ranks=2)
    assert [(f["code"], f["line"]) for f in report["findings"]] == [("TCS502", LINE)]


def test_a_rank_that_has_left_is_not_waited_for_for_long(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(TRAIN, encoding="utf-8")
    (tmp_path / "leave").touch()
    ended = runs().fork(*TCSTATIC, "run", "train.py", cwd=tmp_path, ranks=2)
    assert ended.status == (0, 0)
