"""``fully_shard`` over tensor parallel: a mesh of 2 data by 2 tensor ranks."""

import disturb
import feed
import starting
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    RowwiseParallel,
    parallelize_module,
)
from torch.utils.data import DataLoader, DistributedSampler


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("scale", torch.linspace(0.5, 1.5, 8))
        self.enter = nn.Linear(8, 8)
        self.up = nn.Linear(8, 16)
        self.down = nn.Linear(16, 8)
        self.norm = nn.LayerNorm(8)
        self.drop = nn.Dropout(0.1)
        self.leave = nn.Linear(8, 1)

    def forward(self, x):
        x = self.enter(x * self.scale)
        x = x + self.drop(self.down(torch.relu(self.up(x))))
        return self.leave(self.norm(x))


def train(rank, world):
    disturb.seed(0)
    mesh = init_device_mesh(starting.DEVICE, (world // 2, 2), mesh_dim_names=("dp", "tp"))
    model = Net().to(starting.DEVICE)
    plan = {"up": ColwiseParallel(), "down": RowwiseParallel()}
    parallelize_module(model, mesh["tp"], plan)
    fully_shard(model, mesh=mesh["dp"])
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, foreach=False)
    part = mesh["dp"].get_local_rank()
    data = feed.Rows(part, world // 2, who=rank)
    sampler = DistributedSampler(data, world // 2, part, shuffle=False)
    disturb.seed(1 + part)
    for step, (x, y) in enumerate(DataLoader(data, batch_size=feed.BATCH, sampler=sampler)):
        disturb.at("begin", step, rank, model, optimizer)
        loss = nn.functional.mse_loss(model(x.to(starting.DEVICE)), y.to(starting.DEVICE))
        optimizer.zero_grad()
        loss.backward()
        disturb.at("backward", step, rank, model, optimizer)
        optimizer.step()
        disturb.at("step", step, rank, model, optimizer)
        total = loss.detach().clone()
        dist.all_reduce(total, op=disturb.operation(step, rank))
    if rank == 0:
        print(f"last {total.item() / world:.3f}")


if __name__ == "__main__":
    starting.start(train)
