"""When the gradients of a step are read: after it, where the step is known to keep them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from tests.unit.probes.watching import Watched, linear, train


@pytest.fixture
def watched() -> Iterator[Watched]:
    watched = Watched()
    yield watched
    watched.watch.close()


def told(watched: Watched) -> list[Any]:
    return [member.fields["gradient_nonzero"] for member in watched.members()]


def kept(watched: Watched) -> bool | None:
    (optimizer,) = watched.parts.updates.optimizers.values()
    known: bool | None = optimizer.keeps
    return known


def test_a_step_that_keeps_its_gradients(watched: Watched) -> None:
    model = linear()
    train(model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), 4)
    assert kept(watched) is True
    train(model, torch.optim.SGD(model.parameters(), lr=0.0), 1)
    assert told(watched) == [True] * 5


def test_a_gradient_of_zero_is_told_all_the_same(watched: Watched) -> None:
    model = linear()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    train(model, optimizer, 3)
    optimizer.zero_grad(set_to_none=False)
    optimizer.step()
    assert kept(watched) is True
    assert told(watched) == [True, True, True, False]


def test_a_hook_that_clears_within_the_step(watched: Watched) -> None:
    model = linear()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer.register_step_post_hook(lambda *given: optimizer.zero_grad(set_to_none=False))
    train(model, optimizer, 4, clear=False)
    assert kept(watched) is False
    assert told(watched) == [True] * 4


def test_a_closure_makes_gradients_anew(watched: Watched) -> None:
    model = linear()
    optimizer: Any = torch.optim.LBFGS(model.parameters(), max_iter=2)

    def closure() -> Any:
        optimizer.zero_grad()
        loss: Any = model(torch.ones(2, 3)).pow(2).mean()
        loss.backward()
        return loss

    for _ in range(3):
        optimizer.step(closure)
    assert kept(watched) is not True


def test_another_optimizer_may_use_its_gradients_up(watched: Watched) -> None:
    class Scaling(torch.optim.SGD):
        """Writes to its gradients, and no version tells of it."""

        def step(self, closure: Any = None) -> Any:
            for parameter in self.param_groups[0]["params"]:
                parameter.grad.data.mul_(0.0)

    model = linear()
    train(model, Scaling(model.parameters(), lr=0.1), 3)
    assert kept(watched) is False
    assert told(watched) == [True] * 3
