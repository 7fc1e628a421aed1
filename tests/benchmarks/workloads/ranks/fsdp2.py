"""Each parameter in parts, by ``fully_shard``; each rank reads its part of the data."""

import disturb
import feed
import starting
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.utils.data import DataLoader, DistributedSampler


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("scale", torch.linspace(0.5, 1.5, 8))
        self.up = nn.Linear(8, 16)
        self.norm = nn.LayerNorm(16)
        self.drop = nn.Dropout(0.1)
        self.down = nn.Linear(16, 1)

    def forward(self, x):
        return self.down(self.drop(self.norm(torch.relu(self.up(x * self.scale)))))


def train(rank, world):
    disturb.seed(0)
    model = Net().to(starting.DEVICE)
    fully_shard(model.up)
    fully_shard(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    data = feed.Rows(rank, world)
    sampler = DistributedSampler(data, world, rank, shuffle=False)
    disturb.seed(1 + rank)
    seen = 0.0
    for step, (x, y) in enumerate(DataLoader(data, batch_size=feed.BATCH, sampler=sampler)):
        disturb.at("begin", step, rank, model, optimizer)
        x, y = x.to(starting.DEVICE), y.to(starting.DEVICE)
        loss = nn.functional.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        disturb.at("backward", step, rank, model, optimizer)
        optimizer.step()
        disturb.at("step", step, rank, model, optimizer)
        total = loss.detach().clone()
        dist.all_reduce(total, op=disturb.operation(step, rank))
        seen += total.item() / world
    if rank == 0:
        print(f"mean {seen / 12:.3f}")


if __name__ == "__main__":
    starting.start(train)
