"""Train a GPT-2 124M-sized model in bf16: on one GPU, or by ranks. Usage: gpt2.py STEPS [HOW].

HOW, under torchrun: ddp, or fsdp2 (every block and the whole are sharded).
"""

import os
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

steps = int(sys.argv[1])
how = sys.argv[2] if len(sys.argv) > 2 else ""
rank = int(os.environ["RANK"]) if how else 0
if how:
    torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    torch.distributed.init_process_group("nccl")
torch.manual_seed(0)


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        b, t, w = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(b, t, w))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class GPT(nn.Module):
    def __init__(self, vocabulary=50304, width=768, layers=12, heads=12, context=1024):
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, ids):
        x = self.tokens(ids) + self.positions(torch.arange(ids.shape[1], device=ids.device))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def wrapped(model):
    if how == "ddp":
        return nn.parallel.DistributedDataParallel(model)
    if how == "fsdp2":
        from torch.distributed.fsdp import fully_shard

        for block in model.blocks:
            fully_shard(block)
        fully_shard(model)
    return model


model = wrapped(GPT().cuda())
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, weight_decay=0.1)
torch.manual_seed(rank)
ids = torch.randint(0, 50257, (16, 1025), device="cuda")
warmup = steps // 5
for step in range(steps):
    if step == warmup:
        torch.cuda.synchronize()
        start = time.perf_counter()
    optimizer.zero_grad()
    with torch.autocast("cuda", dtype=torch.bfloat16):
        logits = model(ids[:, :-1])
        loss = F.cross_entropy(logits.view(-1, logits.shape[-1]), ids[:, 1:].reshape(-1))
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
torch.cuda.synchronize()
if rank == 0:
    print(f"STEP {(time.perf_counter() - start) / (steps - warmup):.9f}")
    print(f"PEAK {torch.cuda.max_memory_allocated() / 2**20:.1f}")
if how:
    torch.distributed.destroy_process_group()
