"""Tensor parallel by hand, twice: pairs of ranks hold halves, the halves are averaged by DDP."""

import disturb
import starting
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel as DDP


class Enter(torch.autograd.Function):
    """The same for all shards; their gradients are added."""

    @staticmethod
    def forward(ctx, x, group):
        ctx.group = group
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        gradient = gradient.contiguous().clone()
        dist.all_reduce(gradient, group=ctx.group)
        return gradient, None


class Leave(torch.autograd.Function):
    """The shards' parts are added; each gets the gradient of the sum."""

    @staticmethod
    def forward(ctx, x, group):
        whole = x.clone()
        dist.all_reduce(whole, group=group)
        return whole

    @staticmethod
    def backward(ctx, gradient):
        return gradient, None


class Block(nn.Module):
    def __init__(self, width, shard, shards, group):
        super().__init__()
        self.group = group
        self.norm = nn.LayerNorm(width)
        own = torch.Generator().manual_seed(100 + shard)
        self.up = nn.Parameter(torch.randn(4 * width // shards, width, generator=own) * 0.1)
        self.down = nn.Parameter(torch.randn(width, 4 * width // shards, generator=own) * 0.1)

    def forward(self, x):
        hidden = nn.functional.gelu(Enter.apply(self.norm(x), self.group) @ self.up.T)
        return x + Leave.apply(hidden @ self.down.T, self.group)


def train(rank, world):
    shards = 2
    shard, copy = rank % shards, rank // shards
    copies = world // shards
    together = [dist.new_group([c * shards + s for s in range(shards)]) for c in range(copies)]
    alike = [dist.new_group([c * shards + s for c in range(copies)]) for s in range(shards)]
    disturb.seed(0)
    blocks = (Block(8, shard, shards, together[copy]) for _ in range(2))
    inner = nn.Sequential(nn.Linear(8, 8), *blocks, nn.Linear(8, 1)).to(starting.DEVICE)
    model = DDP(inner, process_group=alike[shard])
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for step in range(12):
        disturb.at("begin", step, rank, inner, optimizer)
        own = torch.Generator().manual_seed(disturb.SEED + 1000 * copy + step)
        x = torch.randn(16, 8, generator=own).to(starting.DEVICE)
        loss = nn.functional.mse_loss(model(x), x[:, :1].sin())
        optimizer.zero_grad()
        loss.backward()
        disturb.at("backward", step, rank, inner, optimizer)
        optimizer.step()
        disturb.at("step", step, rank, inner, optimizer)


if __name__ == "__main__":
    starting.start(train)
