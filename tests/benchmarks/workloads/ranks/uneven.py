"""DDP by ranks of which one has less data than the other, and prints."""

import disturb
import feed
import starting
import torch
from torch import nn
from torch.distributed.algorithms.join import Join
from torch.nn.parallel import DistributedDataParallel as DDP
from torch.utils.data import DataLoader, Subset


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("scale", torch.linspace(0.5, 1.5, 8))
        self.up = nn.Linear(8, 16)
        self.norm = nn.BatchNorm1d(16)
        self.drop = nn.Dropout(0.1)
        self.down = nn.Linear(16, 1)

    def forward(self, x):
        return self.down(self.drop(torch.relu(self.norm(self.up(x * self.scale)))))


def train(rank, world):
    disturb.seed(0)
    inner = Net().to(starting.DEVICE)
    model = DDP(inner)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    disturb.seed(1 + rank)
    data = feed.Rows(rank, world)
    mine = range(rank, len(data) - rank * feed.BATCH * world, world)  # less on the later rank
    with Join([model]):
        for step, (x, y) in enumerate(DataLoader(Subset(data, mine), batch_size=feed.BATCH)):
            disturb.at("begin", step, rank, inner, optimizer)
            x, y = x.to(starting.DEVICE), y.to(starting.DEVICE)
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x), y)
            loss.backward()
            disturb.at("backward", step, rank, inner, optimizer)
            optimizer.step()
            disturb.at("step", step, rank, inner, optimizer)
            if rank and step % 3 == 2:
                print(f"step {step}: {loss.item():.3f}")


if __name__ == "__main__":
    starting.start(train)
