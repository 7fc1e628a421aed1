"""`call` events: what was called, with what, and what came of it, as far as scalars tell.

A call is told of at three kinds of sites: its callee, its arguments, its value. What belongs
together is known by the user's frame, in which one call stands once at a time: neither recursion,
nor a generator that is left and entered again, nor a call that never returned can mix them up.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import FrameType
from typing import Any, Final, final

from tcstatic.model import Context, Location, Site
from tcstatic.runtime.probes.budget import Budget
from tcstatic.runtime.probes.callees import Callee, Callees
from tcstatic.runtime.probes.callfields import fields_told, more_told
from tcstatic.runtime.probes.entry import Handler
from tcstatic.runtime.probes.holdings import parts_of, told_after
from tcstatic.runtime.probes.making import is_made_alone, made
from tcstatic.runtime.probes.opencalls import OpenCall, SourceCall
from tcstatic.runtime.probes.origins import Origins
from tcstatic.runtime.probes.provenance import Provenance
from tcstatic.runtime.probes.registry import Registry
from tcstatic.runtime.probes.roles import MODULE, OPTIMIZER, TENSOR
from tcstatic.runtime.probes.stream import Moment, Stream
from tcstatic.runtime.probes.summaries import (
    MODULE as MODULE_BRIEF,
)
from tcstatic.runtime.probes.summaries import (
    PLAIN,
    TYPE,
    Brief,
    Scalar,
    autocast_dtype,
    brief_and_role,
    brief_of_result,
    know_own_classes,
)

FULL_EVENTS: Final = 1_000  # at one place; from then on,
EVERY: Final = 16  # only in each n-th step, so that all places are told of in the same steps,
STEP_EVENTS: Final = 64  # and in such a step so many
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
    `_kept` the values of events that say the same, by what they say, and `_last` the context of
    `_moment`; `left` the calls that were wanted and in no event, `lost` those given up unreturned.
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
        self._origins = Origins(self._sources, lambda: stream.step)
        know_own_classes(self._callees.foreign_name)
        self._calls: dict[tuple[str, str], SourceCall] = {}
        self._open: dict[tuple[int, int], OpenCall] = {}
        self._kept: dict[object, Mapping[str, Scalar]] = {}
        self._moment: Moment | None = None
        self._last = Context()
        self._values: dict[int, Handler] = {}
        self._receivers: dict[int, Handler] = {}
        self.full_events = FULL_EVENTS
        self.left = self.lost = 0
        for site in sites:
            self._add(site)

    def install(
        self,
        values: dict[int, Handler],
        receivers: dict[int, Handler],
        optimizers: Callable[[], Iterable[Any]],
        version: Callable[[], int],
    ) -> None:
        """Put what is done at a callee into `receivers`; the rest follows once one is wanted.
        `optimizers` and `version` are as `Shares` takes them."""
        self._values, self._receivers = values, receivers
        self._origins.follow(optimizers, version)
        for call in self._calls.values():
            receivers[call.callee] = self._at_callee(call)

    def notes(self) -> tuple[tuple[str, str], ...]:
        """What is in no event, and why."""
        found = []
        if self.left:
            limits = f"after {self.full_events:,} events of one place, one step in {EVERY} is told"
            found.append(("call", f"{self.left:,} calls are in no event: {limits}"))
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
        budget, callees, number = self._budget, self._callees, call.callee
        for at, name in call.arguments.items():
            call.handlers[at] = self._at_argument(call, name)
        call.handlers[call.value] = self._at_value(call)

        def begins(called: Any, frame: FrameType) -> None:
            key = (id(frame), number)
            if not budget.watching:
                self._sources.lost = True
                self._passed(call, key)
                return
            callee, owner = callees.of(called)
            if callee is not None and callee.moving:
                self._moves(call, callee, owner, key)
                return
            role = self._role(callee, call, frame) if callee is not None else ""
            if callee is not None and callee.own and self._named and role not in self._named:
                callee = None
            if callee is None or not self._is_due(call):
                call.unwanted += callee is None
                self._passed(call, key)
                return
            self._opens(call, key, self._begun(call, callee, owner, role))

        return begins

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

    def _begun(self, call: SourceCall, callee: Callee, owner: Any, role: str) -> OpenCall:
        one = OpenCall(callee, role, self._stream.last, call.stars)
        if call.seen <= MOST_HELD and not callee.name.startswith("torch."):
            one.held = []
        if owner is not None:
            brief, kind = brief_and_role(owner)
            if kind:
                self._note(one, callee.on or "self", owner, brief, kind)
            number = self._objects.number(owner) if kind != TENSOR else 0
            if number:
                one.subjects["self"] = (number,)
                one.subjects.pop("given", None)
            if not kind:
                self._hold(one, "self", owner)
        return one

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

    def _remember(self, one: OpenCall, value: Any) -> None:
        """Keep by which function a tensor was given, for as long as it lives; by which part of its
        result, where that is not the user's."""
        said = one.role or ("" if one.callee.own else one.callee.name)
        if said:
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
        opened, number = self._open, call.callee

        def given(value: Any, frame: FrameType) -> None:
            one = opened.get((id(frame), number))
            if one is not None and one.callee.moving:
                one.moved = one.moved or self._sources.of_any(value)
            elif one is not None:
                whole = type(value) in _WHOLE
                brief, role = (brief_of_result(value), "") if whole else brief_and_role(value)
                self._note(one, name, value, brief, role)
                one.since = self._stream.last

        return given

    def _at_value(self, call: SourceCall) -> Handler:
        opened, number, stream = self._open, call.callee, self._stream

        def returned(value: Any, frame: FrameType) -> None:
            one = opened.pop((id(frame), number), None)
            if one is not None:
                call.open -= 1
                if one.callee.moving:
                    if one.moved:
                        call.seen += 1
                        self._sources.remember(value, one.moved)
                    return
                if one.callee.makes:
                    self._made(call, one, value)
                self._let_go(one)
                maker = self._maker(frame) if call.foreign else ""
                if maker:
                    one.given.append(("after_maker", (PLAIN, str, maker)))
                alone = is_made_alone(one.callee.name, one.callee.makes)
                values = self._said(one, NOTHING if alone else brief_of_result(value))
                self._remember(one, value)
                where = self._where(call, one.callee, frame) if call.foreign else call.where
                stream.tell(stream.make("call", where, one.subjects, values, self._context()))

        return returned

    def _made(self, call: SourceCall, one: OpenCall, value: Any) -> None:
        number = self._objects.number(value)
        one.subjects |= {"made": (number,)} if number else {}
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
        if callee.home is not None:
            return callee.home
        locator = self._stream.locator
        above: FrameType | None = frame
        while above is not None:
            if locator.is_users(above.f_code.co_filename):
                return locator.place(above)
            above = above.f_back
        return call.where

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
                one.subjects["given"] = (*one.subjects.get("given", ()), number)
            if name != one.callee.on:
                self._hold(one, name, value)
        if role in _SUBJECTS:
            number = self._stream.registry.known(value)
            if number:
                one.subjects[role] = (*one.subjects.get(role, ()), number)

    def _is_due(self, call: SourceCall) -> bool:
        call.seen += 1
        if call.seen <= self.full_events:
            return True
        step = self._stream.step
        if step != call.step:
            call.step, call.in_step = step, 0
        call.in_step += 1
        if step % EVERY or call.in_step > STEP_EVENTS:
            if not self.left:
                stream = self._stream
                stream.tell(stream.make("call", None, {}, {"sampled": True}, self._context()))
            self.left += 1
            self._sources.lost = True
            return False
        return True

    # -- the fields of an event ---------------------------------------------------------------

    def _context(self) -> Context:
        """The context of this moment; that of the call before, where nothing has changed."""
        moment = self._stream.moment()
        if moment != self._moment:
            self._moment, self._last = moment, self._stream.context_at(moment)
        return self._last

    def _said(self, one: OpenCall, result: Brief) -> Mapping[str, Scalar]:
        autocast = autocast_dtype()
        lasted = self._stream.last - one.since
        told = (autocast, one.role, lasted)
        key = (one.callee.name, one.stars, told, tuple(one.given), result)
        known = self._kept.get(key)
        if known is None:
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            callee = replace(one.callee, defaults=()) if one.stars else one.callee
            known = self._kept[key] = {
                **fields_told(callee, one.given, result),
                **dict(more_told(*told)),
            }
        return known
