"""The rows that ranks read: a data set of a library's own, whose parts may go wrong."""

import disturb
import torch
from torch.utils.data import Dataset

BATCH = 16


class Rows(Dataset):
    """Rows that differ; those of a rank lie `world` apart."""

    def __init__(self, rank, world, count=12):
        own = torch.Generator().manual_seed(disturb.SEED + 7)
        self.rank, self.world = rank, world
        self.x = torch.randn(count * BATCH * world, 8, generator=own)
        self.y = self.x[:, :1].sin()

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        at = disturb.row(index, BATCH, self.rank, self.world)
        return self.x[at], self.y[at]
