"""Gradients are averaged by hand, over two microbatches of different sizes on each rank."""

import disturb
import starting
import torch
import torch.distributed as dist
from torch import nn


class Trainer:
    def __init__(self, rank, world):
        disturb.seed(0)
        self.rank, self.world = rank, world
        self.model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))
        self.model.to(starting.DEVICE)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.01)

    def average(self, number):
        for parameter in self.model.parameters():
            dist.all_reduce(parameter.grad, op=disturb.operation(number, self.rank))
            parameter.grad /= self.world

    def step(self, number):
        disturb.at("begin", number, self.rank, self.model, self.optimizer)
        self.optimizer.zero_grad()
        for size in (8, 8 + 4 * self.rank):
            x = torch.randn(size, 8, device=starting.DEVICE)
            loss = nn.functional.mse_loss(self.model(x), x[:, :1].sin()) / 2
            loss.backward()
        self.average(number)
        disturb.at("backward", number, self.rank, self.model, self.optimizer)
        self.optimizer.step()
        disturb.at("step", number, self.rank, self.model, self.optimizer)


def train(rank, world):
    trainer = Trainer(rank, world)
    disturb.seed(1 + rank)
    for number in range(12):
        trainer.step(number)
        if rank == 0 and number % 5 == 0:
            print(f"step {number}")


if __name__ == "__main__":
    starting.start(train)
