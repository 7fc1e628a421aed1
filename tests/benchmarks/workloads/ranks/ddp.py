"""Data parallel by the wrapper; the first rank also averages weights, evaluates and prints."""

import copy

import disturb
import starting
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel as DDP


def train(rank, world):
    disturb.seed(0)
    norm = nn.Sequential(nn.BatchNorm1d(16), nn.ReLU())
    inner = nn.Sequential(nn.Linear(8, 16), nn.Dropout(0.1), norm, nn.Linear(16, 1))
    model = DDP(inner.to(starting.DEVICE))
    averaged = copy.deepcopy(inner).requires_grad_(False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 12)
    disturb.seed(1 + rank)
    for step in range(12):
        disturb.at("begin", step, rank, inner, optimizer)
        x = torch.randn(16, 8, device=starting.DEVICE)
        loss = nn.functional.mse_loss(model(x), x[:, :1].sin())
        optimizer.zero_grad()
        loss.backward()
        disturb.at("backward", step, rank, inner, optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        disturb.at("step", step, rank, inner, optimizer)
        if rank == 0:
            with torch.no_grad():
                for mine, theirs in zip(averaged.parameters(), inner.parameters(), strict=True):
                    mine.lerp_(theirs, 0.1)
                for mine, theirs in zip(averaged.buffers(), inner.buffers(), strict=True):
                    mine.copy_(theirs)
            if step % 4 == 3:
                averaged.eval()
                print(f"step {step}: {averaged(x).mean().item():.3f}")


if __name__ == "__main__":
    starting.start(train)
