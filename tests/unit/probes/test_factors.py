"""What the rules of schedules give: factors of a rate, or rates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import LambdaLR, MultiplicativeLR

from tcstatic.runtime.probes.factors import Factors
from tests.unit.probes.watching import Watched, linear


def told(watched: Watched, rule: Callable[[int], float], lr: float, kind: Any = LambdaLR) -> int:
    """How often a rule is told once a schedule with it was stepped some times."""
    optimizer = torch.optim.SGD(linear().parameters(), lr=lr)
    scheduler = kind(optimizer, rule)
    driven = watched.parts.updates.known(optimizer, None)
    factors = Factors(watched.parts.stream)
    factors.made(scheduler, driven, None)
    for _ in range(8):
        optimizer.step()
        driven.steps += 1
        factors.stepped(scheduler)
        scheduler.step()
    factors.settle()
    return sum(one.values.get("rate_as_factor", False) for one in watched.of("call"))


@pytest.mark.parametrize("rule", [lambda n: 0.02 * 0.9**n, lambda n: min(n, 4) / 4 * 0.02])
def test_a_rule_that_gives_rates_is_told(watched: Watched, rule: Callable[[int], float]) -> None:
    assert told(watched, rule, 0.02) == 1


@pytest.mark.parametrize(
    ("rule", "lr"),
    [
        (lambda n: 0.9**n, 0.02),
        (lambda n: 0.02 * 0.9**n, 1.0),
        (lambda n: (n + 1) / 400, 0.02),
        (lambda n: 0.01 * 0.9**n, 0.02),
        (lambda n: 0.1, 0.1),
    ],
)
def test_factors_are_not(watched: Watched, rule: Callable[[int], float], lr: float) -> None:
    assert told(watched, rule, lr) == 0


def test_a_product_of_factors_is_not(watched: Watched) -> None:
    assert told(watched, lambda n: 0.02, 0.02, MultiplicativeLR) == 0
