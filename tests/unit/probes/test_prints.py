"""Rows of batches, compared by their bytes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
import torch

from tcstatic.runtime.probes.prints import Kept, Prints


def kept(prints: Prints, loader: int, items: Iterable[Any]) -> Kept:
    found = prints.begins(loader)
    assert found is not None
    for index, item in enumerate(items):
        if not found.takes(item, index):
            break
    return found


def shared(trained: torch.Tensor, held: torch.Tensor) -> bool:
    prints = Prints()
    prints.trained(1, kept(prints, 1, trained.split(8)), len(trained) // 8)
    return prints.shared(kept(prints, 2, held.split(8)))


ROWS = torch.linspace(0.1, 40.0, 64 * 6).reshape(64, 6)


@pytest.mark.parametrize(
    ("trained", "held", "expected"),
    [
        (ROWS, ROWS[32:].clone(), True),
        (ROWS[:32], ROWS[32:], False),
        (ROWS[:33], ROWS[30:], False),
        (ROWS.round(), ROWS.round()[32:], False),
        (ROWS[:, :2].contiguous(), ROWS[32:, :2].contiguous(), False),
        (ROWS.reshape(64, 2, 3), ROWS[:16].reshape(16, 2, 3), True),
        (ROWS.long(), ROWS[32:].long(), False),
    ],
    ids=["within", "apart", "few", "whole", "narrow", "deep", "integers"],
)
def test_rows(trained: torch.Tensor, held: torch.Tensor, expected: bool) -> None:
    assert shared(trained, held) is expected


def test_what_another_loader_gave_before_is_forgotten() -> None:
    prints = Prints()
    prints.trained(1, kept(prints, 1, ROWS[:32].split(8)), 4)
    prints.trained(2, kept(prints, 2, ROWS[32:].split(8)), 4)
    assert not prints.shared(kept(prints, 3, ROWS[:32].split(8)))


def test_the_first_passes_of_a_loader_are_looked_at() -> None:
    prints = Prints()
    assert [prints.begins(1) is not None for _ in range(4)] == [True, True, False, False]
