"""DDP by ranks that take different ways: one gathers a part that is not sent yet, now and then."""

import contextlib

import disturb
import starting
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel as DDP


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("scale", torch.linspace(0.5, 1.5, 8), persistent=False)
        self.up = nn.Linear(8, 16)
        self.drop = nn.Dropout(0.1)
        self.down = nn.Linear(16, 1)

    def forward(self, x):
        return self.down(self.drop(torch.relu(self.up(x * self.scale))))


def turn(model, optimizer, rank, step):
    parts = torch.randn(3 if rank == step % 3 else 1, 16, 8, device=starting.DEVICE)
    optimizer.zero_grad()
    for number, x in enumerate(parts):
        last = number == len(parts) - 1
        with contextlib.nullcontext() if last else model.no_sync():
            loss = nn.functional.mse_loss(model(x), x[:, :1].sin()) / len(parts)
            loss.backward()
    return loss.detach().clone()


def train(rank, world):
    disturb.seed(0)
    inner = Net().to(starting.DEVICE)
    model = DDP(inner, broadcast_buffers=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    disturb.seed(1 + rank)
    for step in range(12):
        disturb.at("begin", step, rank, inner, optimizer)
        total = turn(model, optimizer, rank, step)
        disturb.at("backward", step, rank, inner, optimizer)
        if rank == 0 and step % 2:
            nn.utils.get_total_norm([one.grad for one in inner.parameters()])
        optimizer.step()
        disturb.at("step", step, rank, inner, optimizer)
        dist.all_reduce(total, op=disturb.operation(step, rank))
    if rank == 0:
        print(f"last {total.item() / world:.3f}")


if __name__ == "__main__":
    starting.start(train)
