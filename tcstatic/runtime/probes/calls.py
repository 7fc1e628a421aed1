"""`call` events: what was called, with what, and what came of it, as far as scalars tell.

A call is told of at three kinds of sites: its callee, its arguments, its value. What belongs
together is known by the user's frame, in which one call stands once at a time: neither recursion,
nor a generator that is left and entered again, nor a call that never returned can mix them up.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import FrameType
from typing import Any, Final, final

from tcstatic.model import Location, Site
from tcstatic.runtime.probes.budget import Budget
from tcstatic.runtime.probes.callees import Callee, Callees
from tcstatic.runtime.probes.callfields import fields_told, more_told
from tcstatic.runtime.probes.entry import Handler
from tcstatic.runtime.probes.holdings import parts_of, told_after
from tcstatic.runtime.probes.making import is_made_alone, made
from tcstatic.runtime.probes.opencalls import OpenCall, SourceCall
from tcstatic.runtime.probes.openings import Openings
from tcstatic.runtime.probes.origins import CONTAINERS, Origins
from tcstatic.runtime.probes.provenance import Provenance
from tcstatic.runtime.probes.registry import Registry
from tcstatic.runtime.probes.roles import MODULE, OPTIMIZER, TENSOR
from tcstatic.runtime.probes.sampling import Sampling
from tcstatic.runtime.probes.shares import Optimizers, Structure
from tcstatic.runtime.probes.stream import Stream
from tcstatic.runtime.probes.summaries import (
    MODULE as MODULE_BRIEF,
)
from tcstatic.runtime.probes.summaries import (
    PLAIN,
    TYPE,
    Brief,
    Scalar,
    autocast_reader,
    brief_and_role,
    brief_of_result,
    know_own_classes,
)

MOST_UNWANTED: Final = 256  # calls of what is not wanted; then a place that had no other is left
MOST_OPEN: Final = 4_096  # calls that have not returned: more than Python's own limit of depth
MOST_HELD: Final = 256  # calls at one place around which what objects hold is compared
MOST_HOLDERS: Final = 3  # of one call
FIRST_OBJECT: Final = 1 << 40  # numbers of what calls are made on, apart from all others
NOTHING: Final[Brief] = (PLAIN, type(None), None)
MOST_KEPT: Final = 2_048  # different values of events
_SUBJECTS: Final = (MODULE, OPTIMIZER)
_WHOLE: Final = (tuple, dict)  # of which parts are told


@final
class Calls:
    """The calls of one process.

    State: `_open` by frame and site; `_sources` which function a tensor comes from, and `_origins`
    what is told of that; `_places` where the user has made objects;
    `_kept` the values of events that say the same, by what they say; `lost` the calls that
    were given up unreturned.
    """

    def __init__(
        self,
        sites: Iterable[Site],
        stream: Stream,
        budget: Budget,
        files: Iterable[str],
        libraries: Iterable[str] = (),
        named: frozenset[str] = frozenset(),
    ) -> None:
        self._stream = stream
        self._budget = budget
        self._callees = Callees(files, stream.locator, libraries, named)
        self._named = named
        self._objects = Registry(FIRST_OBJECT)
        self._places: dict[int, str] = {}
        self._sources = Provenance(lost=bool(named))
        self._origins = Origins(self._sources, stream)
        self._openings = Openings(self._origins, stream.registry)
        know_own_classes(self._callees.foreign_name)
        self._calls: dict[tuple[str, str], SourceCall] = {}
        self._open: dict[tuple[int, int], OpenCall] = {}
        self._kept: dict[object, Mapping[str, Scalar]] = {}
        self._values: dict[int, Handler] = {}
        self._receivers: dict[int, Handler] = {}
        self._autocast: Callable[[], str] = str
        self.sampling = Sampling(stream)
        self.lost = 0
        for site in sites:
            self._add(site)

    def install(
        self,
        values: dict[int, Handler],
        receivers: dict[int, Handler],
        optimizers: Optimizers,
        structure: Structure,
    ) -> None:
        """Put what is done at a callee into `receivers`; the rest follows once one is wanted.
        `optimizers` and `structure` are as `Shares` takes them."""
        self._values, self._receivers = values, receivers
        self._origins.follow(optimizers, structure)
        self._autocast = autocast_reader(sys.modules["torch"])
        for call in self._calls.values():
            receivers[call.callee] = self._at_callee(call)

    def notes(self) -> tuple[tuple[str, str], ...]:
        """What is in no event, and why."""
        found = []
        sampled = self.sampling.note()
        if sampled:
            found.append(("call", sampled))
        if self.lost:
            found.append(("call", f"{self.lost:,} calls that did not return are in no event"))
        return tuple(found)

    def _add(self, site: Site) -> None:
        said = site.arguments
        call = self._calls.setdefault((site.location.file, said["call"]), SourceCall())
        if said["part"] == "callee":
            call.callee, call.stars = site.number, "stars" in said
        elif said["part"] == "argument":
            call.arguments[site.number] = said["as"]
        else:
            call.value, call.where = site.number, site.location
            locator = self._stream.locator
            call.foreign = not locator.is_users(os.path.join(locator.root, site.location.file))
            call.role = f"{site.location.function} -> {site.subject}"

    # -- what is done at each part ------------------------------------------------------------

    def _at_callee(self, call: SourceCall) -> Handler:
        budget, number = self._budget, call.callee
        for at, name in call.arguments.items():
            call.handlers[at] = self._at_argument(call, name)
        call.handlers[call.value] = self._at_value(call)

        openings, simple = self._openings, not (call.foreign or self._named)

        def begins(called: Any, frame: FrameType) -> None:
            key = (id(frame), number)
            if not budget.watching:
                self._sources.lost = True
                self._passed(call, key)
                return
            known = openings.of(called) if simple else None
            if known is None:
                self._begins_anew(call, called, frame, key)
            elif self._is_due(call):
                one = self._begun(call, known.callee, known.callee.role)
                one.given += known.given
                one.subjects = known.subjects
                self._opens(call, key, one)
            else:
                self._passed(call, key)

        return begins

    def _begins_anew(
        self, call: SourceCall, called: Any, frame: FrameType, key: tuple[int, int]
    ) -> None:
        """A call begins of something of which it is not known what to tell."""
        callee, owner = self._callees.of(called)
        if callee is not None and callee.moving:
            self._moves(call, callee, owner, key)
            return
        role = self._role(callee, call, frame) if callee is not None else ""
        if callee is None or (callee.own and self._named and role not in self._named):
            call.unwanted += 1
            self._passed(call, key)
            return
        if not self._is_due(call):
            self._passed(call, key)
            return
        one = self._begun(call, callee, role)
        if owner is not None:
            self._note_owner(one, owner, whole=owner is called)
        self._opens(call, key, one)

    def _is_due(self, call: SourceCall) -> bool:
        call.seen += 1
        if call.seen <= self.sampling.full_events or self.sampling.is_due(call):
            return True
        self._sources.lost = True
        return False

    def _begun(self, call: SourceCall, callee: Callee, role: str) -> OpenCall:
        one = OpenCall(callee, role, self._stream.last, call.stars)
        if call.seen <= MOST_HELD and not callee.name.startswith("torch."):
            one.held = []
        return one

    def _opens(self, call: SourceCall, key: tuple[int, int], one: OpenCall) -> None:
        opened = self._open
        if not call.attached:
            call.attached = True
            self._values.update(call.handlers)
        call.open += key not in opened
        opened[key] = one
        if len(opened) > MOST_OPEN:
            del opened[next(iter(opened))]
            self.lost += 1

    def _moves(self, call: SourceCall, callee: Callee, owner: Any, key: tuple[int, int]) -> None:
        """A call begins that gives the data that it is given: where those come from is kept."""
        if self._named or not self._sources.any_known:
            self._passed(call, key)
            return
        one = OpenCall(callee, "", 0, stars=False)
        if owner is not None:
            one.moved = self._sources.of(owner)
        call.unwanted += 1
        if call.unwanted >= MOST_UNWANTED and not call.seen:
            self._passed(call, key)
        else:
            self._opens(call, key, one)

    def _note_owner(self, one: OpenCall, owner: Any, *, whole: bool) -> None:
        """Tell of what a call is made on; `whole`: it is itself what is called."""
        callee = one.callee
        brief, kind = brief_and_role(owner)
        if kind:
            self._note(one, callee.on or "self", owner, brief, kind)
        number = self._objects.number(owner) if kind != TENSOR else 0
        if number:
            others = {role: those for role, those in one.subjects.items() if role != "given"}
            one.subjects = {**others, "self": (number,)}
        if not kind:
            self._hold(one, "self", owner)
        if kind == MODULE and whole and callee.on:
            self._openings.keep(one, owner, brief)

    def _hold(self, one: OpenCall, name: str, value: Any) -> None:
        """Keep what an object holds."""
        if one.held is not None and len(one.held) < MOST_HOLDERS:
            parts = parts_of(value)
            if parts:
                one.held.append((name, value, parts))
                if name == "self":
                    self._origins.tell_held(one.given, name, parts)

    def _let_go(self, one: OpenCall) -> None:
        """Note what a call has done to the objects that it was given."""
        for name, value, before in one.held or ():
            if name.isdigit():
                names = one.callee.parameters
                name = names[int(name)] if int(name) < len(names) else name
            one.given += told_after(name, before, parts_of(value))

    def _remember(self, one: OpenCall, value: Any, role: str) -> None:
        """Keep by which function a tensor was given, for as long as it lives; by which part of its
        result, where that is not the user's."""
        said = one.role or ("" if one.callee.own else one.callee.name)
        if said and role == TENSOR:
            self._sources.keep(value, said)
        elif said and type(value) in CONTAINERS:
            library = not (one.role or said.startswith("torch."))
            self._sources.remember(value, said, apart=library)

    def _passed(self, call: SourceCall, key: tuple[int, int]) -> None:
        """A call begins that is in no event: look at its parts no more, until one is due."""
        if call.open:
            # What an exception has left of an earlier call is not this call's.
            call.open -= self._open.pop(key, None) is not None
        elif call.attached:
            call.attached = False
            for at in [*call.handlers]:
                if self._values.pop(at, None) is None:  # it has raised
                    del call.handlers[at]
        if call.unwanted >= MOST_UNWANTED and not call.seen:
            self._receivers.pop(call.callee, None)

    def _at_argument(self, call: SourceCall, name: str) -> Handler:
        opened, number, stream, sources = self._open, call.callee, self._stream, self._sources
        named = f"{name}_from"

        def given(value: Any, frame: FrameType) -> None:
            one = opened.get((id(frame), number))
            if one is None:
                return
            if one.callee.moving:
                one.moved = one.moved or sources.of_any(value)
                return
            brief, role = brief_and_role(value)
            if role == TENSOR:
                said = sources.of(value)
                if said:
                    one.given.append((named, (PLAIN, str, said)))
                one.given.append((name, brief))
            else:
                if type(value) in _WHOLE:
                    brief, role = brief_of_result(value)
                self._note(one, name, value, brief, role)
            one.since = stream.last

        return given

    def _at_value(self, call: SourceCall) -> Handler:
        opened, number, stream = self._open, call.callee, self._stream

        def returned(value: Any, frame: FrameType) -> None:
            one = opened.pop((id(frame), number), None)
            if one is None:
                return
            call.open -= 1
            callee = one.callee
            if callee.moving:
                if one.moved:
                    call.seen += 1
                    self._sources.remember(value, one.moved)
                return
            if callee.makes:
                self._made(call, one, value)
            if one.held:
                self._let_go(one)
            maker = self._maker(frame) if call.foreign else ""
            if maker:
                one.given.append(("after_maker", (PLAIN, str, maker)))
            brief, role = brief_of_result(value)
            alone = callee.makes and is_made_alone(callee.name, makes=True)
            values = self._said(one, NOTHING if alone else brief)
            self._remember(one, value, role)
            where = self._where(call, callee, frame) if call.foreign else call.where
            stream.tell_call(where, one.subjects, values)

        return returned

    def _made(self, call: SourceCall, one: OpenCall, value: Any) -> None:
        number = self._objects.number(value)
        if number:
            one.subjects = {**one.subjects, "made": (number,)}
        if number and not call.foreign and call.where is not None:
            self._places[number] = f"{call.where.file}:{call.where.line}"
        if is_made_alone(one.callee.name, makes=True):
            one.given = [*made(one.callee.name, value)]

    def _role(self, callee: Callee, call: SourceCall, frame: FrameType) -> str:
        """What a library knows a function as that is the user's: what it overrides, or the place
        where it is called."""
        if callee.role or not (callee.own and call.foreign):
            return callee.role
        return f"{frame.f_globals.get('__name__')}.{call.role}"

    def _where(self, call: SourceCall, callee: Callee, frame: FrameType) -> Location | None:
        """The user's line that a call within a library is due to: where a function of the user's
        gives its result, or the nearest line of the user's that led there."""
        return callee.home or self._stream.locator.nearest(frame) or call.where

    def _maker(self, frame: FrameType) -> str:
        """Where the user has made the object whose method makes this call, within a library."""
        for (place, _), one in reversed(self._open.items()):
            if place != id(frame):
                return self._places.get(next(iter(one.subjects.get("self", ())), 0), "")
        return ""

    def _note(self, one: OpenCall, name: str, value: Any, brief: Brief, role: str) -> None:
        if brief[0] != PLAIN:
            self._origins.tell(one.given, name, value, role)
        one.given.append((name, brief))
        if role != TENSOR and brief[0] in (MODULE_BRIEF, TYPE):
            number = self._objects.number(value)
            if number:
                self._is_about(one, "given", number)
            if name != one.callee.on:
                self._hold(one, name, value)
        if role in _SUBJECTS:
            number = self._stream.registry.known(value)
            if number:
                self._is_about(one, role, number)

    def _is_about(self, one: OpenCall, role: str, number: int) -> None:
        one.subjects = {**one.subjects, role: (*one.subjects.get(role, ()), number)}

    # -- the fields of an event ---------------------------------------------------------------

    def _said(self, one: OpenCall, result: Brief) -> Mapping[str, Scalar]:
        autocast = self._autocast()
        lasted = self._stream.last - one.since
        given = tuple(one.given)
        key = (one.callee.name, one.stars, autocast, one.role, lasted, given, result)
        known = self._kept.get(key)
        if known is None:
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            callee = replace(one.callee, defaults=()) if one.stars else one.callee
            known = self._kept[key] = {
                **fields_told(callee, given, result),
                **dict(more_told(autocast, one.role, lasted)),
            }
        return known
