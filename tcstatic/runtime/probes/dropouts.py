"""Functional dropout, alone or within an attention: whether it follows the mode of the module that
it runs in."""

from __future__ import annotations

import linecache
import re
from dataclasses import replace
from types import FrameType
from typing import Any, Final, final

from tcstatic.model import Location, Site
from tcstatic.runtime.probes.roles import module_around
from tcstatic.runtime.probes.stream import Stream

_WANTED: Final = re.compile(
    r"monte|mc_?drop|(^|_)mc_|mc$|bayes|non.?determin|uncertain|ensembl", re.IGNORECASE
)
_CALLERS: Final = 40  # frames in which one may say that it is to be random
_UNTOLD: Final = "training= is not given, and its default is True"


@final
class Dropouts:
    """Tells of functional dropout in train mode, and in eval mode.

    State: `seen` the step in which the dropout of a site was told of last, by site and mode.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.seen: dict[tuple[int, bool], int] = {}

    def called(self, site: Site, frame: FrameType) -> None:
        """Functional dropout ran."""
        key = (site.number, True)
        if self.seen.get(key) == self._stream.step:
            return
        written = site.arguments.get("training", "<absent>")
        module = module_around(frame)
        if module is None:
            return
