"""Ranks that hold parts of a model: what is whole for a while is not read once it is gone."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tests.golden.running import TCSTATIC, runs

pytestmark = [pytest.mark.slow, pytest.mark.distributed]

TRAIN: Final = """
import sys
import torch, torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
from torch.distributed.fsdp import fully_shard
dist.init_process_group("gloo")
rank, how = dist.get_rank(), sys.argv[1]
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))
if how == "fsdp2":
    fully_shard(model[2])
    fully_shard(model)
else:
    given = dict(use_orig_params=how == "original", device_id=torch.device("cpu"))
    model[2] = FSDP(model[2], **given)
    model = FSDP(model, **given)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
torch.manual_seed(rank)
for step in range(8):
    x, y = torch.randn(8, 16), torch.randint(0, 4, (8,))
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    print(f"{loss.item():.9f}")
del model, optimizer, loss
dist.destroy_process_group()
"""


@pytest.mark.parametrize("how", ["fsdp2", "flat", "original"])
def test_every_step_is_what_it_is_without_us(how: str, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(TRAIN, encoding="utf-8")
    bare = runs().fork("train.py", how, cwd=tmp_path, ranks=2)
    options = ("run", "--overhead-budget", "100%", "--quiet", "train.py", how)
    watched = runs().fork(*TCSTATIC, *options, cwd=tmp_path, ranks=2)
    assert bare.status == watched.status == (0, 0), watched.stderr
    assert bare.stdout[0].count("\n") == 8
    assert watched.stdout == bare.stdout
