"""Two ranks that do not end alike. Usage: ends.py STYLE WHAT RANK STEP, as `ends` draws them."""

import contextlib
import os
import signal
import sys
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.algorithms.join import Join
from torch.nn.parallel import DistributedDataParallel as DDP

style, what, who, when = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
dist.init_process_group("gloo", timeout=timedelta(seconds=30))
rank = dist.get_rank()
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
rare = nn.Linear(8, 3)
parts = nn.ModuleList([model, rare])


class Sum(nn.Module):
    def __init__(self):
        super().__init__()
        self.parts = parts

    def forward(self, x, often):
        out = self.parts[0](x)
        return out if often else out + self.parts[1](x)


whole = Sum()
if style != "by_hand":
    whole = DDP(whole, find_unused_parameters=True)
optimizer = torch.optim.SGD(whole.parameters(), lr=0.05, momentum=0.9)
torch.manual_seed(1 + rank)
mine = rank == who
steps = 10 + (3 if what == "more" and mine else 0)


def turn(step):
    held = style == "no_sync" and step % 2 == 0 and step < steps - 1
    with whole.no_sync() if held else contextlib.nullcontext():
        x, y = torch.randn(16, 8), torch.randint(0, 3, (16,))
        often = style != "no_sync" and step % 3 > 0
        loss = nn.functional.cross_entropy(whole(x, often), y)
        loss.backward()
    if style == "by_hand":
        for one in whole.parameters():
            if one.grad is None:
                one.grad = torch.zeros_like(one)
            dist.all_reduce(one.grad)
            one.grad /= dist.get_world_size()
    if held or (what == "skip" and mine and step == when) or (what == "skip_all" and step == when):
        return
    optimizer.step()
    optimizer.zero_grad()


with Join([whole]) if what == "more" and style != "by_hand" else contextlib.nullcontext():
    for step in range(steps):
        if mine and step == when:
            if what == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            elif what == "term":
                os.kill(os.getpid(), signal.SIGTERM)
            elif what == "raise":
                raise RuntimeError(f"rank {rank} gives up")
            elif what == "leave":
                sys.exit(0)
            elif what == "vanish":
                os._exit(3)
            elif what == "break":
                break
            elif what == "evaluate":
                with torch.no_grad():
                    parts[0](torch.randn(64, 8))
        turn(step)
print(f"rank {rank} is done", flush=True)
if what == "late" and mine:
    for _ in range(200):
        parts[0](torch.randn(512, 8))
dist.destroy_process_group()
