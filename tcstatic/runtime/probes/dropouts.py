"""Functional dropout, and the mode of the module that it runs in."""

from __future__ import annotations

from types import FrameType
from typing import Final, final

from tcstatic.model import Site
from tcstatic.runtime.probes.roles import module_around
from tcstatic.runtime.probes.stream import Stream

_WRITTEN: Final = {"<absent>": True, "True": True, "False": False}


@final
class Dropouts:
    """Tells of each site once a step. State: `seen` the step that each was told in, by its
    number."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.seen: dict[int, int] = {}

    def called(self, site: Site, frame: FrameType) -> None:
        """Functional dropout ran: does it follow the mode of the module that it runs in?"""
        if self.seen.get(site.number) == self._stream.step:
            return
        written = site.arguments.get("training", "<absent>")
        module = module_around(frame)
        if module is None:
            return
        training = bool(module.training)
        if training or written.endswith(".training"):
            self.seen[site.number] = self._stream.step
        values = {
            "active": _WRITTEN.get(written, training),
            "module_training": training,
            "written": written,
            "type": type(module).__name__,
        }
        number = self._stream.registry.number(module)
        self._stream.tell(self._stream.make("call", site.location, {"model": (number,)}, values))
