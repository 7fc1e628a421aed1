"""Tensor parallel by ``parallelize_module``: halves of two layers, copies of all else."""

import disturb
import starting
import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    RowwiseParallel,
    parallelize_module,
)


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
    mesh = init_device_mesh(starting.DEVICE, (world,), mesh_dim_names=("tp",))
    model = Net().to(starting.DEVICE)
    plan = {"up": ColwiseParallel(), "down": RowwiseParallel()}
    parallelize_module(model, mesh, plan)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, foreach=False)
    disturb.seed(5)
    for step in range(12):
        disturb.at("begin", step, rank, model, optimizer)
        x = torch.randn(16, 8, device=starting.DEVICE)
        loss = nn.functional.mse_loss(model(x), x[:, :1].sin())
        optimizer.zero_grad()
        loss.backward()
        disturb.at("backward", step, rank, model, optimizer)
        optimizer.step()
        disturb.at("step", step, rank, model, optimizer)
    if rank == 0:
        print(f"last {loss.item():.3f}")


if __name__ == "__main__":
    starting.start(train)
