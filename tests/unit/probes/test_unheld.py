"""Parameters that no optimizer holds, though all shows that they were to be trained."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tcstatic.model import Location
from tests.unit.probes.watching import BACKWARD, CLEAR, FORWARD, NEW, Watched, batch, entry, linear


class Scaled(torch.nn.Module):
    """A loss with a parameter, perhaps around a network."""

    def __init__(self, inner: torch.nn.Module | None = None) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(2))
        self.inner = torch.nn.Identity() if inner is None else inner

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        return (self.inner(given) * self.scale).pow(2).mean()


def train(model: Any, criterion: Any, optimizer: Any, steps: int) -> None:
    entry.after(NEW, optimizer)
    for _ in range(steps):
        entry.after(CLEAR, entry.on(CLEAR, optimizer).zero_grad())
        given = entry.after(FORWARD, entry.on(FORWARD, model)(batch()))
        loss = entry.after(FORWARD, entry.on(FORWARD, criterion)(given))
        entry.after(BACKWARD, entry.on(BACKWARD, loss).backward())
        optimizer.step()


def found(watched: Watched) -> list[str]:
    watched.watch.close()
    return [one.code for one in watched.findings() if one.code in ("TCS223", "TCS224")]


def sgd(*modules: Any) -> Any:
    return torch.optim.SGD([p for one in modules for p in one.parameters()], lr=0.1)


def test_parameters_of_a_loss_are_told_of_once_nobody_has_them(watched: Watched) -> None:
    model, criterion = linear(), Scaled()
    train(model, criterion, sgd(model), 12)
    assert found(watched) == ["TCS224"]


def test_a_few_steps_are_no_proof(watched: Watched) -> None:
    model, criterion = linear(), Scaled()
    train(model, criterion, sgd(model), 4)
    assert found(watched) == []


def test_another_optimizer_may_come_late(watched: Watched) -> None:
    model, criterion = linear(), Scaled()
    optimizer = sgd(model)
    train(model, criterion, optimizer, 12)
    train(model, criterion, sgd(criterion), 1)
    assert found(watched) == []


@pytest.mark.parametrize("layers", [1, 3])
def test_a_network_that_gives_a_loss_is_not_told_of(watched: Watched, layers: int) -> None:
    inner = torch.nn.Sequential(*[torch.nn.Linear(2, 2) for _ in range(layers)])
    model, criterion = linear(), Scaled(inner)
    train(model, criterion, sgd(model), 12)
    assert found(watched) == []


def test_a_model_that_gives_its_loss_is_trained_in_part(watched: Watched) -> None:
    class Whole(Scaled):
        def forward(self, given: torch.Tensor) -> torch.Tensor:
            return super().forward(self.inner(given))

    model = linear()
    whole = Whole(torch.nn.Linear(2, 2))
    train(model, whole, sgd(whole.inner), 12)
    assert found(watched) == []


def test_what_was_loaded_may_be_meant_to_stay(watched: Watched) -> None:
    model, criterion = linear(), Scaled()
    watched.parts.structure.initials.loaded(criterion, Location("train.py", 9))
    train(model, criterion, sgd(model), 12)
    assert found(watched) == []
