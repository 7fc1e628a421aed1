"""Parameters that were one under two names, and no longer are."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from tcstatic.runtime.probes import entry
from tests.unit.probes.watching import COPY, Watched, train


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(3, 3), nn.Linear(3, 3)
        self.two.weight = self.one.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.two(self.one(x))
        return result


def tied() -> Any:
    torch.manual_seed(0)
    return entry.after(COPY, Tied())


def trained(watched: Watched, model: Any) -> list[tuple[str, str]]:
    """The rules and severities of what is told of a model that is trained now."""
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.01)
    train(model, optimizer, 2)
    told = [(one.code, one.severity) for one in watched.findings() if one.severity != "note"]
    assert watched.disabled() == ()
    return told


def loaded(model: Any) -> Any:
    state = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(state, assign=True)
    return model


def own(model: Any) -> Any:
    model.two.weight = nn.Parameter(model.one.weight.detach().clone())
    return model


def both(model: Any) -> Any:
    for layer in (model.one, model.two):
        layer.weight = nn.Parameter(layer.weight.detach().clone())
    return model


def other_head(model: Any) -> Any:
    model.two = nn.Linear(3, 5)
    return model


def same_storage(model: Any) -> Any:
    model.two.weight = nn.Parameter(model.one.weight.detach())
    return model


def deep(model: Any) -> Any:
    return entry.after(COPY, copy.deepcopy(model))


def frozen(model: Any) -> Any:
    own(model).one.weight.requires_grad_(False)
    return model


def emptied(model: Any) -> Any:
    model.one.weight = None
    model.one.weight = model.two.weight
    return model


@pytest.mark.parametrize("change", [loaded, both])
def test_what_nobody_meant_is_an_error(watched: Watched, change: Callable[[Any], Any]) -> None:
    assert trained(watched, change(tied())) == [("TCS213", "error")]


def test_what_may_be_meant_is_a_warning(watched: Watched) -> None:
    assert trained(watched, own(tied())) == [("TCS213", "warning")]


@pytest.mark.parametrize("change", [other_head, same_storage, deep, frozen, emptied])
def test_what_is_tied_or_meant_is_not_told(watched: Watched, change: Callable[[Any], Any]) -> None:
    assert trained(watched, change(tied())) == []


def test_a_copy_that_is_untied_is_told(watched: Watched) -> None:
    assert trained(watched, loaded(deep(tied()))) == [("TCS213", "error")]


def test_the_new_parameter_is_not_told_of_twice(watched: Watched) -> None:
    model = tied()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    train(model, optimizer, 2)
    loaded(model)
    train(model, optimizer, 2)
    assert "TCS213" not in watched.codes()
