"""A pipeline of two stages by ``torch.distributed.pipelining``: each rank trains its own layers."""

import disturb
import starting
import torch
from torch import nn
from torch.distributed.pipelining import PipelineStage, ScheduleGPipe


class Part(nn.Module):
    def __init__(self, first):
        super().__init__()
        self.register_buffer("scale", torch.linspace(0.5, 1.5, 8))
        self.body = nn.Linear(8, 8)
        self.norm = nn.LayerNorm(8)
        self.drop = nn.Dropout(0.1)
        self.last = nn.Linear(8, 8 if first else 1)

    def forward(self, x):
        return self.last(self.drop(torch.relu(self.norm(self.body(x * self.scale)))))


def train(rank, world):
    disturb.seed(10 + rank)
    part = Part(rank == 0).to(starting.DEVICE)
    stage = PipelineStage(part, rank, world, torch.device(starting.DEVICE))
    schedule = ScheduleGPipe(stage, n_microbatches=2, loss_fn=nn.functional.mse_loss)
    optimizer = torch.optim.AdamW(part.parameters(), lr=0.01)
    disturb.seed(1 + rank)
    own = torch.Generator().manual_seed(disturb.SEED + 3)
    for step in range(12):
        disturb.at("begin", step, rank, part, optimizer)
        x = torch.randn(16, 8, generator=own).to(starting.DEVICE)
        optimizer.zero_grad()
        if rank == 0:
            schedule.step(x)
        else:
            losses = []
            schedule.step(target=x[:, :1].sin(), losses=losses)
        disturb.at("backward", step, rank, part, optimizer)
        optimizer.step()
        disturb.at("step", step, rank, part, optimizer)
    if rank == 1:
        print(f"last {sum(losses).item() / 2:.3f}")


if __name__ == "__main__":
    starting.start(train)
