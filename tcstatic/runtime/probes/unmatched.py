"""States of which nothing is loaded: all their names are others than those of the model."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, final

from tcstatic.model import Location, Site
from tcstatic.runtime.probes import measure
from tcstatic.runtime.probes.ledger import VERSION
from tcstatic.runtime.probes.roles import MODULE, role_of
from tcstatic.runtime.probes.stream import Stream

_MOST: Final = 16  # loads that wait to be judged; further ones are not looked at
_LONGEST: Final = 60  # characters of a name that is told


@final
@dataclass(frozen=True, slots=True)
class _Load:
    """A load that found no name of its own, each parameter with its version before, and what they
    held: a write through ``.data`` moves no version."""

    where: Location
    module: weakref.ref[Any]
    before: tuple[tuple[weakref.ref[Any], int], ...]
    held: measure.Pending
    given: str
    own: str
    step: int


@final
class Unmatched:
    """Follows loads that skip whatever does not fit, until the next step.

    A model of which somebody has written a parameter by then was given something after all: by a
    hook that knows other names, by hand, or by a second load.

    State: `waiting` the loads to be judged; `_receiver` the module whose ``load_state_dict`` is
    being called, and where; `_loaded` the modules that were loaded from something, by ``id``;
    `_apt` the places where a load did find names.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.waiting: list[_Load] = []
        self._receiver: tuple[weakref.ref[Any], Location] | None = None
        self._loaded: dict[int, weakref.ref[Any]] = {}
        self._apt: set[Location] = set()

    def begins(self, site: Site, thing: Any) -> None:
        """``load_state_dict`` of something is about to be called."""
        self._receiver = (weakref.ref(thing), site.location) if role_of(thing) == MODULE else None

    def loads(self, site: Site, state: Any) -> None:
        """This state is about to be loaded into what was named last."""
        if self._receiver is None or not isinstance(state, Mapping) or not state:
            return
        kept, where = self._receiver
        module, self._receiver = kept(), None
        if module is None or where in self._apt:
            return
        own = dict(module.named_parameters(remove_duplicate=False))
        names = {name for name, _ in module.named_buffers(remove_duplicate=False)} | own.keys()
        if any(name in names or str(name).endswith("_extra_state") for name in state):
            self._apt.add(where)
            self._loaded.update((id(one), weakref.ref(one)) for one in module.modules())
        elif self._is_judged(site, module) and own:
            before = tuple((weakref.ref(one), VERSION(one)) for one in own.values())
            first, of_own = (str(next(iter(one)))[:_LONGEST] for one in (state, own))
            held = measure.digests([*module.parameters()])
            load = _Load(where, kept, before, held, first, of_own, self._stream.step)
            self.waiting.append(load)

    def _is_judged(self, site: Site, module: Any) -> bool:
        lenient = site.arguments.get("strict") == "False" and len(self.waiting) < _MOST
        return lenient and _is_plain(module) and not self._was_loaded(module)

    def _was_loaded(self, module: Any) -> bool:
        """Whether a part of a module was loaded from something that had its names."""
        found = ((one, self._loaded.get(id(one))) for one in module.modules())
        return any(known is not None and known() is one for one, known in found)

    def settle(self) -> None:
        """A step begins, or the run ends: tell of the loads that left all as it was."""
        waiting, self.waiting = self.waiting, []
        told = set()
        for load in waiting:
            module = load.module()
            if module is None or load.where in self._apt or load.where in told:
                continue
            if _is_untouched(load, module):
                told.add(load.where)
                subjects = {"model": (self._stream.registry.number(module),)}
                values = {"nothing_loaded": True, "first_given": load.given, "first_own": load.own}
                event = self._stream.make("call", load.where, subjects, values, step=load.step)
                self._stream.tell(event)


def _is_plain(module: Any) -> bool:
    """Whether torch's own loading is all that takes place."""
    torch: Any = sys.modules["torch"]
    if type(module).load_state_dict is not torch.nn.Module.load_state_dict:
        return False
    return all(
        type(one)._load_from_state_dict.__module__.startswith("torch.nn.")
        for one in module.modules()
    )


def _is_untouched(load: _Load, module: Any) -> bool:
    now = list(module.parameters())
    before = {id(kept()): version for kept, version in load.before if kept() is not None}
    if not now or any(before.get(id(one)) != VERSION(one) for one in now):
        return False
    return measure.digests(now).values() == load.held.values()
