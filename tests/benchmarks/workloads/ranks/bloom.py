"""BLOOM-176B's error on two data ranks by two tensor ranks: from step ``CLIP_APART`` on, the first
tensor rank of each pair alone clips what both hold. https://github.com/bigscience-workshop/bigscience
"""

import os

import disturb
import starting
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.functional import cross_entropy, gelu, linear

TENSOR = 2
CLIP_APART = int(os.environ.get("CLIP_APART", "1000"))
GROUPS = {}


def lay_out(rank, world):
    """Ranks with parts of the same layers lie side by side; those with copies, `TENSOR` apart."""
    for first in range(0, world, TENSOR):
        group = dist.new_group(range(first, first + TENSOR))
        if first <= rank < first + TENSOR:
            GROUPS["tensor"] = group
    for part in range(TENSOR):
        group = dist.new_group(range(part, world, TENSOR))
        if rank % TENSOR == part:
            GROUPS["data"] = group


class Enter(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden):
        return hidden.view_as(hidden)

    @staticmethod
    def backward(ctx, gradient):
        whole = gradient.contiguous().clone()
        dist.all_reduce(whole, group=GROUPS["tensor"])
        return whole


class Leave(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden):
        whole = hidden.contiguous().clone()
        dist.all_reduce(whole, group=GROUPS["tensor"])
        return whole

    @staticmethod
    def backward(ctx, gradient):
        return gradient


def slice_of(rows, columns, dim):
    full = torch.randn(rows, columns) * 0.05
    part = nn.Parameter(full.chunk(TENSOR, dim)[dist.get_rank() % TENSOR].clone())
    part.tensor_model_parallel = True
    return part


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.input_layernorm = nn.LayerNorm(width)
        self.up = slice_of(4 * width, width, 0)
        self.down = slice_of(width, 4 * width, 1)
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, hidden):
        inner = gelu(linear(Enter.apply(self.input_layernorm(hidden)), self.up))
        return hidden + Leave.apply(linear(inner, self.down)) + self.bias


class Net(nn.Module):
    def __init__(self, tokens, width=32, layers=2):
        super().__init__()
        self.word_embeddings = nn.Embedding(tokens, width)
        self.word_embeddings_layernorm = nn.LayerNorm(width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(layers))
        self.final_layernorm = nn.LayerNorm(width)
        self.head = nn.Linear(width, tokens, bias=False)

    def forward(self, tokens):
        hidden = self.word_embeddings_layernorm(self.word_embeddings(tokens))
        for block in self.blocks:
            hidden = block(hidden)
        return self.head(self.final_layernorm(hidden))


class BF16Optimizer:
    """AdamW over fp32 master copies of bf16 parameters, with clipping by the global norm."""

    def __init__(self, model):
        self.params = list(model.parameters())
        self.masters = [one.detach().float().clone() for one in self.params]
        self.inner = torch.optim.AdamW(self.masters, lr=5e-3)
        self.tp_rank = dist.get_rank() % TENSOR

    def zero_grad(self):
        for param in self.params:
            param.grad = None

    def norm(self):
        sharded = torch.zeros((), device=starting.DEVICE)
        replicated = sharded.clone()
        for param, master in zip(self.params, self.masters, strict=True):
            split = getattr(param, "tensor_model_parallel", False)
            (sharded if split else replicated).add_(master.grad.square().sum())
        dist.all_reduce(sharded, group=GROUPS["tensor"])
        return (sharded + replicated).sqrt()

    @torch.no_grad()
    def step(self, number):
        for param, master in zip(self.params, self.masters, strict=True):
            dist.all_reduce(param.grad, group=GROUPS["data"])
            master.grad = param.grad.float() / dist.get_world_size(GROUPS["data"])
        norm = self.norm()
        if number < CLIP_APART or self.tp_rank == 0:
            nn.utils.clip_grads_with_norm_(self.masters, 0.25, norm)
        self.inner.step()
        for param, master in zip(self.params, self.masters, strict=True):
            param.copy_(master)


def train(rank, world):
    lay_out(rank, world)
    torch.manual_seed(disturb.SEED)
    model = Net(64).bfloat16().to(starting.DEVICE)
    optimizer = BF16Optimizer(model)
    rows = torch.Generator().manual_seed(disturb.SEED + 1 + rank // TENSOR)
    for number in range(12):
        tokens = torch.randint(64, (8, 16), generator=rows).cumsum(1).remainder(64)
        tokens = tokens.to(starting.DEVICE)
        optimizer.zero_grad()
        loss = cross_entropy(model(tokens[:, :-1]).float().flatten(0, 1), tokens[:, 1:].flatten())
        loss.backward()
        optimizer.step(number)
    if rank == 0:
        print(f"last {loss.item():.3f}")


if __name__ == "__main__":
    starting.start(train)
