"""In a full watch, the events of a usual step wait for the next one, and never for two."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from tcstatic.runtime.probes import entry
from tcstatic.runtime.probes.budget import FULL_STEPS
from tests.unit.probes.watching import BACKWARD, CLEAR, FORWARD, NEW, Watched, batch, linear


def late(watched: Watched, optimizer: Any, model: Any) -> int:
    """Take a step; return how many steps have not been judged by then."""
    entry.after(CLEAR, entry.on(CLEAR, optimizer).zero_grad())
    loss = entry.after(FORWARD, entry.on(FORWARD, model)(batch())).pow(2).mean()
    entry.after(BACKWARD, entry.on(BACKWARD, loss).backward())
    optimizer.step()
    return watched.watch.steps - sum(event.kind == "optimizer.step" for event in watched.events)


@pytest.fixture
def program() -> Iterator[tuple[Watched, Any, Any]]:
    """A program that is watched in full, after its first steps: none of them has to wait."""
    watched = Watched()
    model = linear()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    entry.after(NEW, optimizer)
    assert not any(late(watched, optimizer, model) for _ in range(FULL_STEPS - 1))
    while late(watched, optimizer, model):
        pass
    yield watched, optimizer, model
    watched.watch.close()


def test_two_usual_steps_are_judged_at_once(program: tuple[Watched, Any, Any]) -> None:
    assert [late(*program) for _ in range(4)] in ([1, 0, 1, 0], [0, 1, 0, 1])


def frozen_rate(optimizer: Any, model: Any) -> None:
    optimizer.param_groups[0]["lr"] = 0.0


def not_a_number(optimizer: Any, model: Any) -> None:
    model.weight.data.fill_(float("nan"))


def no_longer_wanted(optimizer: Any, model: Any) -> None:
    model.bias.requires_grad_(False)


@pytest.mark.parametrize("change", [frozen_rate, not_a_number, no_longer_wanted])
def test_another_step_is_judged_at_once(
    program: tuple[Watched, Any, Any], change: Callable[[Any, Any], None]
) -> None:
    change(*program[1:])
    assert late(*program) == 0


def test_what_waits_is_told_at_the_end(program: tuple[Watched, Any, Any]) -> None:
    watched = program[0]
    while not late(*program):
        pass
    watched.watch.flush()
    assert len(watched.of("optimizer.step")) == watched.watch.steps
