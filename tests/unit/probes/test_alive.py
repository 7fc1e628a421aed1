"""What a program has let go of is let go: nobody else holds its models, and nothing piles up."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tcstatic.runtime.probes import entry
from tcstatic.runtime.probes.handing import Handing
from tcstatic.runtime.probes.locate import Locator
from tests.unit.probes.watching import FORWARD, Watched, batch, train


class Parted(nn.Module):
    """A body that is not trained, a head that is, and a layer that nobody calls."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head, self.unused = nn.Linear(3, 8), nn.Linear(8, 2), nn.Linear(8, 2)

    def forward(self, x: Any) -> Any:
        return self.head(self.body(x).detach())


def fold(kind: Any, steps: int) -> list[weakref.ref[Any]]:
    """Train a model of its own; return what is to be let go with it."""
    model = kind()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    train(model, optimizer, steps)
    return [weakref.ref(one) for one in (model, optimizer, *model.parameters())]


def alive(found: list[weakref.ref[Any]]) -> int:
    gc.collect()
    return sum(one() is not None for one in found)


@pytest.mark.parametrize("kind", [Parted, lambda: nn.Linear(3, 2)], ids=["starved", "plain"])
@pytest.mark.parametrize("budget", [1.0, 0.01])
@pytest.mark.parametrize("steps", [2, 5, 24])
def test_models_of_former_trainings_are_gone(budget: float, kind: Any, steps: int) -> None:
    seen = Watched(budget)
    folds = [fold(kind, steps) for _ in range(6)]
    assert [alive(found) for found in folds[:-1]] == [0] * 5
    seen.watch.flush()  # the last step may wait for the next one
    assert alive(folds[-1]) == 0
    seen.watch.close()
    assert seen.disabled() == ()


def test_what_was_read_of_the_first_steps_is_kept_no_longer_than_it_is_asked_for() -> None:
    seen = Watched()
    model = Parted()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    train(model, optimizer, 40)
    snapshots = [one for one in gc.get_objects() if type(one).__name__ == "Snapshot"]
    assert len(snapshots) <= 1
    seen.watch.close()


def test_a_graph_that_is_used_again_and_again_is_noted_once() -> None:
    seen = Watched()
    model = nn.Linear(3, 2)
    train(model, torch.optim.SGD(model.parameters(), lr=0.1), 1)
    loss = entry.after(FORWARD, entry.on(FORWARD, model)(batch())).sum()
    for _ in range(20):
        torch.autograd.grad(loss, model.weight, retain_graph=True)
    assert len(seen.parts.forwards._now_reached) == 1
    seen.watch.close()


def modes() -> int:
    """How many modes lie on torch's stack."""
    return int(torch._C._len_torch_function_stack())


@pytest.mark.parametrize("kept", [True, False])
def test_a_round_that_never_comes_is_not_looked_at_for_ever(kept: bool) -> None:
    seen = Watched()
    model = Parted()
    warm = torch.optim.SGD(model.parameters(), lr=1e-3)
    train(model, warm, 1)
    assert modes() == 1  # some parameters have no gradient: the next round is looked at
    if not kept:
        del warm
    other = nn.Linear(3, 2)
    train(other, torch.optim.SGD(other.parameters(), lr=1e-3), 40 if kept else 2)
    assert modes() == 0
    seen.watch.close()


def test_a_round_of_one_that_steps_less_often_is_looked_at() -> None:
    seen = Watched()
    model, other = Parted(), nn.Linear(3, 2)
    seldom = torch.optim.SGD(model.parameters(), lr=1e-3)
    often = torch.optim.SGD(other.parameters(), lr=1e-3)
    for _ in range(6):
        train(model, seldom, 1)
        train(other, often, 5)
    case = seen.parts.updates.cuts._cases[seen.watch._stream.registry.known(seldom)]
    assert case.tries > 0
    seen.watch.close()


class Stopping(torch.autograd.Function):
    """Hands nothing back for its second input."""

    @staticmethod
    def forward(ctx: Any, x: Any, scale: Any) -> Any:
        return x * 1.0

    @staticmethod
    def backward(ctx: Any, *given: Any) -> Any:
        return given[0], None


def test_what_a_function_keeps_back_is_noted_once() -> None:
    scale, layer = nn.Parameter(torch.ones(1)), nn.Linear(3, 2)
    handing = Handing(Locator(str(Path(__file__).parent)))
    loss = Stopping.apply(layer(batch()), scale).sum()
    handing.watch(loss.grad_fn, lambda node: 1)
    for _ in range(20):
        loss.backward(retain_graph=True)
    assert len(handing.withheld) == 1
    handing.over, handing.withheld = True, {}
    loss.backward()
    assert not handing.withheld
