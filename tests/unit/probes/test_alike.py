"""Layers whose units begin with the same values, and what parts them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from tcstatic.model import Location
from tests.unit.probes.watching import Watched


def filled(*layers: Any) -> Any:
    for layer in layers:
        for name, parameter in layer.named_parameters():
            nn.init.constant_(parameter, 0.0 if "bias" in name else 0.1)
    return nn.Sequential(*layers)


def told(watched: Watched, model: Any, steps: int = 6) -> list[tuple[Any, Any]]:
    """The layers that are told, and how many units each has, once a model was trained."""
    torch.manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(steps):
        x = torch.randn(16, 6)
        out = model(x)
        loss = nn.functional.mse_loss(out, x.flatten(1)[:, :1].expand_as(out))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    watched.watch.close()
    assert watched.disabled() == ()
    events = [one.values for one in watched.of("call") if "stays_alike" in one.values]
    return [(one["type"], one["units"]) for one in events]


def dense() -> Any:
    return filled(nn.Linear(6, 17), nn.ReLU(), nn.Linear(17, 1))


def convolved() -> Any:
    layers = nn.Conv1d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 1)
    return nn.Sequential(nn.Unflatten(1, (1, 6)), filled(*layers))


def transposed() -> Any:
    layers = nn.ConvTranspose1d(1, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(32, 1)
    return nn.Sequential(nn.Unflatten(1, (1, 6)), filled(*layers))


def zero() -> Any:
    model = dense()
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    return model


@pytest.mark.parametrize(
    ("make", "name", "units"),
    [
        (dense, "Linear.weight", 17),
        (convolved, "Conv1d.weight", 4),
        (transposed, "ConvTranspose1d.weight", 4),
        (zero, "Linear.weight", 17),
    ],
)
def test_units_that_stay_alike_are_told(
    watched: Watched, make: Callable[[], Any], name: str, units: int
) -> None:
    assert told(watched, make()) == [(name, units)]


def random_bias() -> Any:
    model = dense()
    nn.init.normal_(model[0].bias)
    return model


def random_head() -> Any:
    model = dense()
    nn.init.normal_(model[2].weight)
    return model


def dropped() -> Any:
    return nn.Sequential(nn.Linear(6, 6), filled(nn.Linear(6, 8), nn.Dropout(), nn.Linear(8, 1)))


def frozen() -> Any:
    model = dense()
    model[0].weight.requires_grad_(False)
    return model


def one_unit() -> Any:
    return filled(nn.Linear(6, 1), nn.ReLU(), nn.Linear(1, 1))


def last_layer() -> Any:
    return filled(nn.Linear(6, 5))


class Fading(nn.Module):
    """Two branches that end with zeros, times a factor that is zero all the time."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(6, 6), nn.Linear(6, 6)
        self.ends = filled(nn.Linear(6, 6), nn.Linear(6, 6))
        self.head = nn.Linear(6, 1)
        for parameter in self.ends.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Any) -> Any:
        x = x + 0.0 * self.ends[0](torch.relu(self.one(x)))
        return self.head(x + 0.0 * self.ends[1](torch.relu(self.two(x))))


@pytest.mark.parametrize(
    "make", [random_bias, random_head, dropped, frozen, one_unit, last_layer, Fading]
)
def test_what_parts_or_has_no_units_is_not(watched: Watched, make: Callable[[], Any]) -> None:
    assert told(watched, make()) == []


def test_a_few_steps_are_too_few(watched: Watched) -> None:
    assert told(watched, dense(), steps=4) == []


def test_the_last_write_before_training_counts(watched: Watched) -> None:
    layer = nn.Linear(3, 3)
    initials = watched.parts.structure.initials
    first, second, third = (Location("train.py", line) for line in (1, 2, 3))
    initials.wrote(layer.weight, first)
    initials.wrote(layer.weight.data[1:], second)
    assert initials.of(layer.weight) == second
    initials.loaded(layer, third)
    assert initials.of(layer.weight) == third
    initials.begins([layer.weight])
    assert not initials.wrote(layer.weight, first)
    assert not initials.wrote(torch.ones(3), first)
    assert initials.of(layer.weight) == third
