"""Batches of one class alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch.nn import functional

from tcstatic.model import Event, Location
from tcstatic.runtime.probes.classes import Classes
from tcstatic.runtime.probes.stream import Stream

BACKWARD = Location("train.py", 9)


def told(steps: Sequence[Sequence[list[int]]]) -> list[dict[str, Any]]:
    """What is told of steps, each with the labels of its losses."""
    events: list[Event] = []
    stream = Stream(".", events.extend, {})
    classes = Classes(stream, lambda number: None)
    for number, losses in enumerate(steps):
        stream.step = number
        for labels in losses:
            scores = torch.zeros(len(labels), 5, requires_grad=True)
            loss = functional.cross_entropy(scores, torch.tensor(labels), ignore_index=4)
            classes.read(loss, BACKWARD)
    stream.flush()
    return [dict(one.values) for one in events]


def alone(label: int) -> list[list[int]]:
    return [[label] * 9]


@pytest.mark.parametrize(
    ("steps", "count"),
    [
        ([alone(n // 4) for n in range(10)], 1),
        ([alone(0)] * 10, 0),
        ([[[0, 1] * 5]] * 2 + [alone(n // 4) for n in range(10)], 0),
        ([[[n // 4] * 3] for n in range(10)], 0),
        ([[[0] * 9, [1] * 9]] * 10, 0),
        ([[[n // 4] * 8 + [4]] for n in range(10)], 1),
        ([alone(0)] * 4 + [[[0, 1] * 5]] + [alone(1)] * 4, 1),
    ],
    ids=["sorted", "one", "mixed", "few", "two losses", "ignored", "one of both"],
)
def test_classes_by_step(steps: Sequence[Sequence[list[int]]], count: int) -> None:
    assert [one["one_class"] for one in told(steps)] == [True] * count
