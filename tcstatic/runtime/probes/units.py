"""Schedules that are as long as training is in epochs, and stepped in batches, or the reverse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tcstatic.runtime.probes.loops import Loop

# Where each kind of schedule keeps how many steps it lasts.
_LENGTHS: Final = {
    "CosineAnnealingLR": "T_max",
    "OneCycleLR": "total_steps",
    "PolynomialLR": "total_iters",
}
_LEAST_BATCHES: Final = 4  # in an epoch: fewer could be chance


def in_other_unit(
    scheduler: Any, length: int, done: int, steps: int, loops: Sequence[Loop]
) -> Mapping[str, Any] | None:
    """Return what is to be said of a scheduler that is about to be stepped, after so many steps of
    its own and of its optimizer and within these loops; None while nothing is."""
    within = next((place for place, loop in enumerate(loops) if loop.batches), None)
    if within is not None:
        epochs = next((loop for loop in loops[:within] if length in loop.planned), None)
        cosine = type(scheduler).__name__ == "CosineAnnealingLR"
        if cosine and epochs is not None and done > length and steps >= done:
            if epochs.index and done - loops[within].index == epochs.index * length:
                return {"other_unit": False}  # an epoch has as many batches
            return {"other_unit": True, "counted": "epochs", "stepped": "batch", "length": length}
        return None
    if any(length in loop.planned for loop in loops):
        return {"other_unit": False}
    calls = done + 1
    if calls < 2 or not loops or steps % calls or steps < _LEAST_BATCHES * calls:
        return None
    if any(length == steps // calls * turns for turns in loops[-1].planned):
        return told_in_steps(length)
    return None


def ended_early(length: int, done: int, steps: int) -> bool:
    """Whether a schedule was as long as the run has steps, and itself was stepped far less."""
    return done > 1 and length == steps and done * _LEAST_BATCHES <= length


def told_in_steps(length: int) -> Mapping[str, Any]:
    """What is said of a schedule that is counted in batches and stepped with the epochs."""
    return {"other_unit": True, "counted": "batches", "stepped": "epoch", "length": length}


def length_of(scheduler: Any) -> int:
    """Return how many steps a schedule lasts; 0 where that is not known."""
    length = getattr(scheduler, _LENGTHS.get(type(scheduler).__name__, ""), 0)
    return length if type(length) is int else 0
