"""Compiled steps of several ranks: the graphs are those that they are without us."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tests.golden.running import TCSTATIC, runs

pytestmark = [pytest.mark.slow, pytest.mark.distributed]

TRAIN: Final = """
import os, sys
import torch, torch.distributed as dist
from torch import nn
from torch._dynamo.utils import counters
from torch.nn.parallel import DistributedDataParallel as DDP
dist.init_process_group("gloo")
torch.manual_seed(0)
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 1)
    def forward(self, x):
        return self.c(torch.relu(self.b(torch.relu(self.a(x)))))
how = sys.argv[1]
net = Net()
if how == "ddp":
    model = torch.compile(DDP(net), backend="aot_eager")
elif how == "inside":
    model = DDP(torch.compile(net, backend="aot_eager"))
else:
    from torch.distributed.fsdp import fully_shard
    for part in (net.a, net.b, net.c): fully_shard(part)
    fully_shard(net)
    model = torch.compile(net, backend="aot_eager")
opt = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(6):
    opt.zero_grad()
    loss = nn.functional.mse_loss(model(torch.randn(4, 8)), torch.zeros(4, 1))
    loss.backward()
    opt.step()
if dist.get_rank() == 0:
    print("loss", f"{loss.item():.9f}")
    for key in ("stats", "frames", "graph_break", "recompiles", "aot_autograd"):
        print(key, dict(counters[key]))
dist.destroy_process_group()
"""


@pytest.mark.parametrize("how", ["ddp", "inside", "fsdp2"])
def test_graphs_breaks_and_recompiles_stay_as_they_are(how: str, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(TRAIN, encoding="utf-8")
    bare = runs().fork("train.py", how, cwd=tmp_path, ranks=2)
    options = ("run", "--overhead-budget", "100%", "--quiet", "train.py", how)
    watched = runs().fork(*TCSTATIC, *options, cwd=tmp_path, ranks=2)
    assert bare.status == watched.status == (0, 0)
    assert "unique_graphs" in bare.stdout[0]
    assert watched.stdout == bare.stdout
