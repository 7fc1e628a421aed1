"""Layers in parts, written by hand: the user says of the ranks which copies must agree."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import pytest

from tests.golden.running import TCSTATIC, runs

pytestmark = [pytest.mark.slow, pytest.mark.distributed]

# Two halves of two layers, on ranks 0 and 1, and again on ranks 2 and 3; one norm, on all of them.
TRAIN: Final = """
import sys
import torch, torch.distributed as dist
from torch import nn
dist.init_process_group("gloo")
rank, how = dist.get_rank(), sys.argv[1]
shard, copy = rank % 2, rank // 2
layers = [dist.new_group([0, 1]), dist.new_group([2, 3])][copy]
copies = [dist.new_group([0, 2]), dist.new_group([1, 3])][shard]
class Enter(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x): return x.view_as(x)
    @staticmethod
    def backward(ctx, gradient):
        whole = gradient.contiguous().clone()
        if how != "norms": dist.all_reduce(whole, group=layers)
        return whole
class Leave(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        whole = x.clone()
        dist.all_reduce(whole, group=layers)
        return whole
    @staticmethod
    def backward(ctx, gradient): return gradient
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.norm = nn.LayerNorm(8)
        torch.manual_seed(1 + shard)
        self.up, self.down = nn.Linear(8, 6), nn.Linear(6, 1, bias=False)
    def forward(self, x):
        return Leave.apply(self.down(torch.relu(self.up(Enter.apply(self.norm(x))))))
model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
own = torch.Generator().manual_seed(7 + copy)
for step in range(8):
    x = torch.randn(16, 8, generator=own)
    loss = nn.functional.mse_loss(model(x), x[:, :1])
    optimizer.zero_grad()
    loss.backward()
    for name, one in model.named_parameters():
        if how != "biases" or name != "up.bias":
            dist.all_reduce(one.grad, group=copies)
            one.grad /= 2
    optimizer.step()
dist.destroy_process_group()
"""


@pytest.mark.parametrize(
    ("how", "mesh", "names"),
    [
        ("well", "", ()),
        ("well", "data=2,tensor=2", ()),
        ("norms", "", ()),
        ("norms", "data=2,tensor=2", ("norm.weight", "ranks 0, 1")),
        ("biases", "", ()),
        ("biases", "data=2,tensor=2", ("up.bias", "ranks 0, 2")),
    ],
)
def test_copies_that_the_user_has_named_must_agree(
    how: str, mesh: str, names: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "train.py").write_text(TRAIN, encoding="utf-8")
    options = [*(("--mesh", mesh) if mesh else ()), "--report", "out.json", "--quiet"]
    ran = runs().fork(*TCSTATIC, "run", *options, "train.py", how, cwd=tmp_path, ranks=4)
    assert ran.status == (0,) * 4, ran.stderr
    report = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert report["probes"]["disabled"] == []
    assert [found["code"] for found in report["findings"]] == ["TCS501"] * bool(names)
    for found in report["findings"]:
        assert found["step"] == 0
        assert all(name in found["message"] for name in names)
        assert "as --mesh has it" in found["message"]
