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
        if getattr(module, site.arguments.get("rate", "").removeprefix("self."), None) == 0:
            return  # ``train()`` may have set the rate
        if module.training or written.endswith(".training"):
            self.seen[key] = self._stream.step
        active = {"<absent>": True, "True": True, "False": False}.get(written)
        active = bool(module.training) if active is None else active
        self._tell(site.location, module, written, _UNTOLD, active=active)

    def given(self, site: Site, rate: Any, frame: FrameType) -> None:
        """An attention is about to be given its rate of dropout."""
        if not (isinstance(rate, float) and rate > 0.0):
            return
        module = module_around(frame)
        if module is None:
            return
        key = (site.number, bool(module.training))
        if self.seen.get(key) == self._stream.step:
            return
        self.seen[key] = self._stream.step
        if module.training or not _is_wanted(module, frame):
            why = f"dropout_p={site.arguments['training']} asks no mode"
            where = replace(site.location, line=int(site.arguments["line"]))
            self._tell(where, module, "<absent>", why, active=True)

    def _tell(self, where: Location, module: Any, written: str, told: str, *, active: bool) -> None:
        values = {
            "active": active,
            "module_training": bool(module.training),
            "written": written,
            "told": told,
            "type": type(module).__name__,
        }
        stream = self._stream
        number = stream.registry.number(module)
        stream.tell(stream.make("call", where, {"model": (number,)}, values))


def _is_wanted(module: Any, frame: FrameType | None) -> bool:
    """Whether the author says that it is to be random in evaluation as well: in a comment beside
    the call, or in the name of its class or of a function that has led there; or whether a part was
    put into train mode again."""
    if frame is not None and _is_said(frame):
        return True
    if _WANTED.search(type(module).__name__) or any(part.training for part in module.modules()):
        return True
    for _ in range(_CALLERS):
        if frame is None:
            break
        if _WANTED.search(frame.f_code.co_name):
            return True
        frame = frame.f_back
    return False


def _is_said(frame: FrameType) -> bool:
    file, line = frame.f_code.co_filename, frame.f_lineno
    linecache.checkcache(file)
    texts = (linecache.getline(file, one).partition("#")[2] for one in (line - 1, line))
    return any(_WANTED.search(text) or "always" in text for text in texts)
