"""Hooks that are there still when the next one is registered, and those that are not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from tcstatic.model import Location, Site
from tests.unit.probes.watching import Watched, train

SITE = Site(99, "after", "call", Location("train.py", 9), arguments={"hooks": "register_hook"})


def told(watched: Watched, register: Callable[[int], Any], steps: int = 12) -> list[Any]:
    """How many hooks there were at most, where that is told, after a registration in each step."""
    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for step in range(steps):
        watched.parts.structure.piling.registered(register(step), SITE)
        train(model, optimizer, 1)
    watched.watch.close()
    assert watched.disabled() == ()
    return [e.values["hooks"] for e in watched.of("call") if e.values.get("piles_up")]


def nothing(*given: Any) -> None:
    pass


def test_hooks_of_many_steps_are_told(watched: Watched) -> None:
    layer = nn.Linear(2, 2)
    assert told(watched, lambda step: layer.register_forward_hook(nothing)) == [12]


def test_four_are_enough_if_they_are_there_at_the_end(watched: Watched) -> None:
    weight = nn.Linear(2, 2).weight
    assert told(watched, lambda step: weight.register_hook(nothing), steps=4) == [4]


def removed(step: int) -> Any:
    handle = LAYER.register_forward_hook(nothing)
    handle.remove()
    return handle


def removed_in_time() -> Callable[[int], Any]:
    handles: list[Any] = []

    def register(step: int) -> Any:
        if step % 5 == 0:
            while handles:
                handles.pop().remove()
        handles.append(LAYER.register_full_backward_hook(nothing))
        return handles[-1]

    return register


LAYER = nn.Linear(2, 2)


@pytest.mark.parametrize(
    "register",
    [
        removed,
        removed_in_time(),
        lambda step: nn.Linear(2, 2).register_forward_hook(nothing),
        lambda step: torch.ones(2, requires_grad=True).mul(2).register_hook(nothing),
        lambda step: None,
        lambda step: object(),
    ],
)
def test_what_is_removed_or_new_is_not(watched: Watched, register: Callable[[int], Any]) -> None:
    assert told(watched, register) == []


def test_many_at_one_step_are_not(watched: Watched) -> None:
    layer = nn.Linear(2, 2)
    for _ in range(20):
        handle = layer.register_forward_hook(nothing)
        watched.parts.structure.piling.registered(handle, SITE)
    assert told(watched, lambda step: None, steps=3) == []
