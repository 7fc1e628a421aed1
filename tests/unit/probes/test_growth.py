"""Graphs that grow from backward to backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from tcstatic.model import Event, Location
from tcstatic.runtime.probes.growth import Growth
from tcstatic.runtime.probes.stream import Stream

BACKWARD = Location("train.py", 9)
WEIGHT = torch.ones(3, requires_grad=True)


def carried(step: int, state: torch.Tensor) -> torch.Tensor:
    return state * 0.5 + WEIGHT


def detached(step: int, state: torch.Tensor) -> torch.Tensor:
    return state.detach() * 0.5 + WEIGHT


def in_windows(step: int, state: torch.Tensor) -> torch.Tensor:
    return (state if step % 20 else state.detach()) * 0.5 + WEIGHT


def longer(step: int, state: torch.Tensor) -> torch.Tensor:
    state = state.detach()
    for _ in range(step + 1):
        state = state * 0.5 + WEIGHT
    return state


def told(turn: Callable[[int, torch.Tensor], torch.Tensor], steps: int) -> list[dict[str, Any]]:
    """What is told of steps that go on with a state, and of the end of the run."""
    events: list[Event] = []
    stream = Stream(".", events.extend, {})
    growth = Growth(stream)
    state = torch.zeros(3)
    for step in range(steps):
        stream.step = step
        state = turn(step, state)
        loss = state.sum()
        growth.read(loss.grad_fn, BACKWARD)
        loss.backward(retain_graph=True)
    growth.settle()
    stream.flush()
    return [dict(one.values) for one in events]


@pytest.mark.parametrize("turn", [detached, in_windows, longer])
def test_a_graph_that_is_let_go_is_no_growth(
    turn: Callable[[int, torch.Tensor], torch.Tensor],
) -> None:
    assert told(turn, 140) == []


@pytest.mark.parametrize(("steps", "last"), [(12, 12), (30, 24), (140, 128)])
def test_a_state_that_is_carried_over_is_told(steps: int, last: int) -> None:
    (one,) = told(carried, steps)
    assert (one["first_at"], one["last_at"]) == (4, last)
    assert one["last"] > one["first"]


def test_a_few_backwards_tell_nothing() -> None:
    assert told(carried, 11) == []


def test_a_graph_that_goes_back_again_is_no_growth() -> None:
    events: list[Event] = []
    stream = Stream(".", events.extend, {})
    growth = Growth(stream)
    loss = WEIGHT.exp().sum()
    for _ in range(20):
        growth.read(loss.grad_fn, BACKWARD)
    growth.settle()
    stream.flush()
    assert events == []
