"""Starts the ranks of a workload: ``WORLD`` of them, on as many GPUs where there are, else gloo,
on the CPU or, where ``SHARED`` is set, on the GPUs that there are."""

import os

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

WORLD = int(os.environ.get("WORLD", "2"))
CARDS = torch.cuda.device_count()
ALONE = CARDS >= WORLD
CUDA = ALONE or (CARDS > 0 and "SHARED" in os.environ)
DEVICE = "cuda" if CUDA else "cpu"


def run(rank, train, place):
    if CUDA:
        torch.cuda.set_device(rank % CARDS)
    dist.init_process_group("nccl" if ALONE else "gloo", place, rank=rank, world_size=WORLD)
    train(rank, WORLD)
    dist.barrier()
    dist.destroy_process_group()


def start(train):
    """Run ``train(rank, world)`` on all ranks; they meet in a file of their own."""
    mp.spawn(run, args=(train, f"file://{os.environ['MEETING']}"), nprocs=WORLD)
