"""Modules whose mode matters: by their kind, their rate, or what their forward hands it to."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tcstatic.runtime.probes.sensitivity import is_sensitive


class Functional(nn.Module):
    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.dropout, self.heads = dropout, 4

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.dropout(x.view(self.heads, -1), self.dropout, self.training)


class Literal(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.dropout(x, p=0.3, training=self.training)


class OwnNorm(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.batch_norm(x, torch.zeros(4), torch.ones(4), training=self.training)


class DropPath(nn.Module):
    def __init__(self, drop_prob: float) -> None:
        super().__init__()
        self.drop_prob = drop_prob

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.drop_prob == 0.0 or not self.training:
            return x
        return x * torch.bernoulli(torch.full((len(x), 1), 1 - self.drop_prob))


class OtherWays(nn.Module):
    """What it answers differs, what it computes does not."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout, self.head = nn.Dropout(0.0), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> Any:
        scores = self.head(self.dropout(x))
        return scores if self.training else scores.argmax(1)


class Always(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.dropout(x, 0.1, training=True)


@pytest.mark.parametrize(
    "module",
    [
        nn.Dropout(0.1),
        nn.BatchNorm1d(4),
        nn.LSTM(4, 4, num_layers=2, dropout=0.1),
        nn.MultiheadAttention(4, 2, dropout=0.1),
        Functional(0.5),
        Literal(),
        OwnNorm(),
        DropPath(0.2),
    ],
    ids=lambda module: type(module).__name__,
)
def test_the_mode_of_a_module_matters(module: nn.Module) -> None:
    assert is_sensitive(module)


@pytest.mark.parametrize(
    "module",
    [
        nn.Dropout(0.0),
        nn.BatchNorm1d(4, track_running_stats=False),
        nn.LayerNorm(4),
        nn.Linear(4, 4),
        nn.LSTM(4, 4, num_layers=2),
        nn.MultiheadAttention(4, 2),
        nn.TransformerEncoderLayer(4, 2, dropout=0.0),
        Functional(0.0),
        DropPath(0.0),
        OtherWays(),
        Always(),
    ],
    ids=lambda module: type(module).__name__,
)
def test_the_mode_of_a_module_does_not_matter(module: nn.Module) -> None:
    assert not is_sensitive(module)
