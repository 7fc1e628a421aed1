"""Updates of 16-bit weights that are rounded away in nearly all elements."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.unit.probes.watching import Watched, train


def halves(dtype: torch.dtype = torch.bfloat16) -> torch.nn.Linear:
    torch.manual_seed(0)
    return torch.nn.Linear(32, 32).to(dtype)


def found(watched: Watched) -> list[str]:
    watched.watch.close()
    return [one.code for one in watched.findings() if one.code == "TCS144"]


def run(watched: Watched, model: Any, rate: float, steps: int = 40) -> list[str]:
    x = torch.randn(8, 32, dtype=model.weight.dtype)
    train(model, torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0), steps, x)
    return found(watched)


@pytest.mark.parametrize(("rate", "told"), [(1e-6, True), (1e-2, False)])
def test_a_rate_that_the_format_cannot_show(watched: Watched, rate: float, told: bool) -> None:
    assert run(watched, halves(), rate) == ["TCS144"] * told


def test_weights_of_32_bits_are_not_looked_at(watched: Watched) -> None:
    assert run(watched, halves(torch.float32), 1e-6) == []


def test_a_few_steps_are_no_proof(watched: Watched) -> None:
    assert run(watched, halves(), 1e-6, steps=20) == []


def test_steps_that_nobody_watches_count_as_well(watched: Watched) -> None:
    watch: Any = watched.watch
    watch._budget.watching = False
    assert run(watched, halves(), 1e-6) == ["TCS144"]
