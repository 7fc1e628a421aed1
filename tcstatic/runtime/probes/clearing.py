"""Clearing of gradients that no optimizer will use."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tcstatic.model import Location, Site
from tcstatic.runtime.probes.optimizers import Optimizer
from tcstatic.runtime.probes.roles import MODULE, role_of
from tcstatic.runtime.probes.stream import Stream


def cleared_elsewhere(
    stream: Stream, thing: Any, everyone: Sequence[Optimizer], where: Location
) -> None:
    """The gradients of `thing` were cleared: where it is a model that no optimizer trains, that may
    have been meant for one whose gradients nobody clears."""
    if role_of(thing) != MODULE:
        return
    held = {id(p) for optimizer in everyone for p in optimizer.parameters()}
    if any(id(parameter) in held for parameter in thing.parameters()):
        return
    others = [one for one in everyone if not one.interval.clearings and not one.ledger.cleared]
    for other in others:
        other.interval.other_cleared = True
    subjects = {"optimizer": (), "other": tuple(other.number for other in others)}
    stream.tell(stream.make("optimizer.zero_grad", where, subjects, {"observed": False}))


def wrote_elsewhere(
    stream: Stream, site: Site, number: int, optimizers: Iterable[Optimizer]
) -> None:
    """A gradient is written to a tensor that is no model's parameter."""
    subjects = {"tensor": (number,), "any": (0,)}
    stream.tell(stream.make("grad.write", site.location, subjects, {"held": False}))
    for optimizer in optimizers:
        optimizer.interval.foreign_writes = True
