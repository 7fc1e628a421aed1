"""Softmaxes over one element, and the other ways from parameters to a loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from tcstatic.runtime.probes import entry
from tests.unit.probes.watching import BACKWARD, Watched

one, other = nn.Linear(3, 1), nn.Linear(3, 1)
X = torch.randn(4, 3)


def told(watched: Watched, *losses: Callable[[], Any]) -> list[Any]:
    """The operations that are told once these losses went back."""
    for loss in losses:
        for _ in range(2):
            entry.on(BACKWARD, loss()).backward()
    watched.watch.close()
    assert watched.disabled() == ()
    return [e.values["softmax"] for e in watched.of("call") if e.values.get("over_one")]


def probability() -> Any:
    return one(X).softmax(dim=-1).sub(0.5).pow(2).mean()


def class_scores() -> Any:
    return nn.functional.cross_entropy(one(X), torch.zeros(4, dtype=torch.long))


def soft_targets() -> Any:
    return nn.functional.cross_entropy(one(X), torch.rand(4, 1))


@pytest.mark.parametrize(
    ("loss", "name"),
    [(probability, "softmax"), (class_scores, "log_softmax"), (soft_targets, "log_softmax")],
)
def test_a_loss_behind_one_is_told(watched: Watched, loss: Callable[[], Any], name: str) -> None:
    assert told(watched, loss) == [name]


def attended() -> Any:
    return (one(X).softmax(dim=-1) * other(X)).mean()


def several_terms() -> Any:
    return class_scores() + other(X).mean()


def over_rows() -> Any:
    return one(X).softmax(dim=0).pow(2).mean()


def checkpointed() -> Any:
    kept = torch.utils.checkpoint.checkpoint(other, X.clone().requires_grad_(), use_reentrant=True)
    return (one(X).softmax(dim=-1) * kept).mean()


@pytest.mark.parametrize("loss", [attended, several_terms, over_rows, checkpointed])
def test_a_loss_with_another_way_is_not(watched: Watched, loss: Callable[[], Any]) -> None:
    assert told(watched, loss) == []


def test_a_second_loss_may_train_what_lies_behind(watched: Watched) -> None:
    assert told(watched, class_scores, lambda: one(X).mean()) == []
