"""Which parameters an optimizer holds, told."""

from __future__ import annotations

from tcstatic.model import Location
from tcstatic.runtime.probes.optimizers import Optimizer
from tcstatic.runtime.probes.stream import Stream


def tell_held(stream: Stream, optimizer: Optimizer, where: Location | None) -> None:
    """An optimizer was made, or was given more parameters."""
    subjects = {
        "optimizer": (optimizer.number,),
        "parameter": tuple(stream.registry.number(p) for p in optimizer.parameters()),
    }
    values = {"type": optimizer.title}
    stream.tell(stream.make("optimizer.new", where, subjects, values))
