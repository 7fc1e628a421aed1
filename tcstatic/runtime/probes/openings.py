"""What is told of the modules that calls are made on, kept as long as nothing of it changes."""

from __future__ import annotations

import weakref
from typing import Any, Final, NamedTuple, final

from tcstatic.runtime.probes.callees import Callee
from tcstatic.runtime.probes.opencalls import OpenCall
from tcstatic.runtime.probes.origins import Origins
from tcstatic.runtime.probes.registry import Registry
from tcstatic.runtime.probes.summaries import Brief, brief_and_role

MOST_MODULES: Final = 4_096


@final
class Opening(NamedTuple):
    """What was told of a module, and what that rests on."""

    module: weakref.ref[Any]
    kind: type
    callee: Callee
    brief: Brief
    standing: Any
    numbered: bool
    given: tuple[tuple[str, Brief], ...]
    subjects: dict[str, tuple[int, ...]]


@final
class Openings:
    """`numbers` is asked whether a module is one that events are about.

    State: `_known` by ``id`` of a module."""

    __slots__ = ("_known", "_numbers", "_origins")

    def __init__(self, origins: Origins, numbers: Registry) -> None:
        self._origins = origins
        self._numbers = numbers
        self._known: dict[int, Opening] = {}

    def of(self, called: Any) -> Opening | None:
        """What was told when this was called before, if it is a module of which that is the same
        still."""
        known = self._known.get(id(called))
        if known is None or known.module() is not called or known.kind is not type(called):
            return None
        if brief_and_role(called)[0] is not known.brief:
            return None
        if self._origins.standing() is not known.standing:
            return None
        return known if known.numbered or not self._numbers.known(called) else None

    def keep(self, one: OpenCall, module: Any, brief: Brief) -> None:
        """Keep what was told of a call that has just begun."""
        if len(self._known) >= MOST_MODULES:
            self._known.clear()
        self._known[id(module)] = Opening(
            weakref.ref(module),
            type(module),
            one.callee,
            brief,
            self._origins.standing(),
            self._numbers.known(module) > 0,
            tuple(one.given),
            one.subjects,
        )
