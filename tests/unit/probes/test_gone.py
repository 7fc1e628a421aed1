"""Optimizers that end before the run does, in steps that nobody watched."""

from __future__ import annotations

from typing import Any

import torch

from tcstatic.runtime.probes.budget import FULL_STEPS
from tests.unit.probes.watching import Watched, linear, train


class Rarely(torch.optim.SGD):
    """Steps once for many calls."""

    def __init__(self, parameters: Any, every: int) -> None:
        super().__init__(parameters, lr=0.1)
        self.every, self.calls = every, 0

    def step(self, closure: Any = None) -> Any:
        self.calls += 1
        return super().step() if self.calls % self.every == 0 else None


def trial(every: int, steps: int) -> None:
    model = linear()
    train(model, Rarely(model.parameters(), every), steps)


def codes(every: int, steps: int) -> list[str]:
    """Run two trials, each with an optimizer of its own, and return what is said of them."""
    seen = Watched(budget=0.0)
    for _ in range(2):
        trial(every, steps)
    seen.watch.close()
    return [code for code, _ in seen.codes()]


def test_what_went_by_unwatched_may_have_trained() -> None:
    assert codes(FULL_STEPS + 2, FULL_STEPS + 4) == []


def test_what_was_watched_to_its_end_did_not() -> None:
    steps = FULL_STEPS // 2
    assert "TCS101" in codes(steps + 1, steps)
