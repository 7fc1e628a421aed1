"""The rows that ranks read: a data set of a library's own, whose parts may go wrong."""

import disturb
import torch
from torch.utils.data import Dataset

BATCH = 16


class Rows(Dataset):
    """Rows that differ; those of a part lie `world` apart. `who` reads them, if not the rank of
    that number."""

    def __init__(self, rank, world, count=12, who=None):
        own = torch.Generator().manual_seed(disturb.SEED + 7)
        self.rank, self.world = rank, world
        self.who = rank if who is None else who
        self.x = torch.randn(count * BATCH * world, 8, generator=own)
        self.y = self.x[:, :1].sin()

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        at = disturb.row(index, BATCH, self.rank, self.world, self.who)
        return self.x[at], self.y[at]
