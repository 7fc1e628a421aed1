"""A round is followed operation by operation: what its losses are made of, and where that ends."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from tcstatic.runtime.probes.lineage import Lineage, mode_of
from tcstatic.runtime.probes.locate import Locator


class Doubled(torch.autograd.Function):
    """An operation whose parts torch does not show."""

    @staticmethod
    def forward(ctx: Any, value: Any) -> Any:
        return 2 * value

    @staticmethod
    def backward(ctx: Any, *given: Any) -> Any:
        return 2 * given[0]


def lineage_of(
    compute: Callable[[nn.Module, nn.Module], Any],
) -> tuple[Lineage, list[nn.Parameter], Any]:
    """Follow the computation of a loss with two layers; the first is asked about."""
    torch.manual_seed(0)
    first, second = nn.Linear(4, 4), nn.Linear(4, 2)
    asked = list(first.parameters())
    lineage = Lineage(asked, Locator(str(Path(__file__).parent)))
    mode = mode_of(lineage)
    with mode:
        loss = compute(first, second)
    assert mode.problem == ""
    lineage.loss(loss, None)
    return lineage, asked, loss


X = torch.linspace(-1.0, 1.0, 12).view(3, 4)

CUT: dict[str, Callable[[nn.Module, nn.Module], Any]] = {
    "detach()": lambda first, second: second(first(X).detach()).sum(),
    ".data": lambda first, second: second(first(X).data).sum(),
    "tolist()": lambda first, second: second(torch.tensor(first(X).tolist())).sum(),
    "gt()": lambda first, second: (second(X) * (first(X).sum() > math.pi)).sum(),
    "round()": lambda first, second: second(first(X).round()).sum(),
    "argmax()": lambda first, second: second(X)[first(X).argmax(dim=1) // 2].sum(),
}


@pytest.mark.parametrize("operation", CUT)
def test_a_cut_is_named(operation: str) -> None:
    lineage, asked, _ = lineage_of(CUT[operation])
    for place, _ in enumerate(asked):
        found = lineage.cut_of(place)
        assert found is not None
        assert found[0].operation == operation
        assert found[0].where.file == Path(__file__).name


WHOLE: dict[str, Callable[[nn.Module, nn.Module], Any]] = {
    "plainly": lambda first, second: second(first(X)).sum(),
    "through a function of the program's own": lambda first, second: second(
        Doubled.apply(first(X))
    ).sum(),
    "beside a cut": lambda first, second: (
        second(first(X).detach()).sum() + functional.mse_loss(first(X), X)
    ),
    "straight through": lambda first, second: second(
        first(X) + (first(X).round() - first(X)).detach()
    ).sum(),
}


@pytest.mark.parametrize("way", WHOLE)
def test_what_the_graph_reaches_is_not_cut_off(way: str) -> None:
    lineage, asked, loss = lineage_of(WHOLE[way])
    loss.backward()
    assert all(parameter.grad is not None for parameter in asked)
    assert [lineage.cut_of(place) for place, _ in enumerate(asked)] == [None, None]


def test_what_no_loss_is_made_with_is_not_cut_off() -> None:
    shown = []

    def compute(first: nn.Module, second: nn.Module) -> Any:
        shown.append(first(X).detach().sum().item())
        return second(X).sum()

    lineage, asked, _ = lineage_of(compute)
    assert [lineage.cut_of(place) for place, _ in enumerate(asked)] == [None, None]
    assert lineage.cuts and shown


def encoded(layer: nn.Module) -> Any:
    return layer(X)


def test_a_region_without_gradients_is_named_where_it_is_written() -> None:
    def compute(first: nn.Module, second: nn.Module) -> Any:
        with torch.no_grad():
            hidden = encoded(first)
        return second(hidden).sum()

    lineage, _, _ = lineage_of(compute)
    found = lineage.cut_of(0)
    assert found is not None and found[0].operation == "no_grad()"
    line = compute.__code__.co_firstlineno + 2
    assert found[0].where.line == line


@torch.no_grad()
def decorated(layer: nn.Module) -> Any:
    return layer(X)


def test_a_decorator_is_named() -> None:
    lineage, _, _ = lineage_of(lambda first, second: second(decorated(first)).sum())
    found = lineage.cut_of(0)
    assert found is not None
    inner: Any = decorated
    assert found[0].where.line == inner.__wrapped__.__code__.co_firstlineno


def test_nothing_of_a_computation_changes() -> None:
    def compute(first: nn.Module, second: nn.Module) -> Any:
        hidden = functional.dropout(first(X), 0.5)
        mixed = torch.where(hidden > 0, hidden, hidden.detach())
        mixed[0] = hidden[1]
        return functional.cross_entropy(second(mixed), torch.tensor([0, 1, 1]))

    _, asked, watched = lineage_of(compute)
    watched.backward()
    torch.manual_seed(0)
    first, second = nn.Linear(4, 4), nn.Linear(4, 2)
    plain = compute(first, second)
    plain.backward()
    assert torch.equal(watched, plain)
    for mine, theirs in zip(asked, first.parameters(), strict=True):
        assert mine.grad is not None and theirs.grad is not None
        assert torch.equal(mine.grad, theirs.grad)


class Halved(torch.autograd.Function):
    """Hands back a gradient of the second value only."""

    @staticmethod
    def forward(ctx: Any, one: Any, other: Any) -> Any:
        return one + other / 2

    @staticmethod
    def backward(ctx: Any, *given: Any) -> Any:
        return None, given[0] / 2


class Silent(torch.autograd.Function):
    """Hands back zeros."""

    @staticmethod
    def forward(ctx: Any, value: Any) -> Any:
        return 1 * value

    @staticmethod
    def backward(ctx: Any, *given: Any) -> Any:
        return torch.zeros_like(given[0])


WITHHELD: dict[str, Callable[[nn.Module, nn.Module], Any]] = {
    "Halved": lambda first, second: Halved.apply(second(first(X)), second(X)).sum(),
    "Silent": lambda first, second: second(Silent.apply(first(X))).sum(),
}


@pytest.mark.parametrize("function", WITHHELD)
def test_a_function_that_hands_nothing_back_is_named(function: str) -> None:
    lineage, asked, loss = lineage_of(WITHHELD[function])
    loss.backward()
    for place in range(len(asked)):
        cut = lineage.withheld_from(place)
        assert cut is not None and cut.function == function
        assert cut.where.line == globals()[function].backward.__code__.co_firstlineno + 2


@pytest.mark.parametrize("way", ["handed back", "no gradient came"])
def test_a_function_that_hands_back_what_it_got_is_not(way: str) -> None:
    def compute(first: nn.Module, second: nn.Module) -> Any:
        made = Doubled.apply(first(X))
        return second(made.detach() if way == "no gradient came" else made).sum()

    lineage, asked, loss = lineage_of(compute)
    loss.backward()
    assert [lineage.withheld_from(place) for place in range(len(asked))] == [None, None]
