"""`call` events: what was called, with what, and what came of it, as far as scalars tell.

A call is told of at three kinds of sites: its callee, its arguments, its value. What belongs
together is known by the user's frame, in which one call stands once at a time: neither recursion,
nor a generator that is left and entered again, nor a call that never returned can mix them up.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import FrameType
from typing import Any, Final, final

from tcstatic.model import Context, Location, Site
from tcstatic.runtime.probes.budget import Budget
from tcstatic.runtime.probes.callees import Callee, Callees
from tcstatic.runtime.probes.callfields import fields_told, more_told
from tcstatic.runtime.probes.entry import Handler
from tcstatic.runtime.probes.holdings import Holding, holding_of, is_changed, trained
from tcstatic.runtime.probes.registry import Registry
from tcstatic.runtime.probes.roles import MODULE, OPTIMIZER, TENSOR
from tcstatic.runtime.probes.stream import Moment, Stream
from tcstatic.runtime.probes.summaries import (
    MODULE as MODULE_BRIEF,
)
from tcstatic.runtime.probes.summaries import (
    MOST_PARTS,
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
MOST_KEPT: Final = 2_048  # different values of events
_SUBJECTS: Final = (MODULE, OPTIMIZER)
_WHOLE: Final = (tuple, dict)  # of which parts are told


@final
class _Call:
    """One call in the source; `foreign`: of an included package, which knows what it calls as
    `role` where that is the user's; `stars`: what it gives is not all seen.

    State: how often it was asked for, and in which step how often; how often it was not wanted;
    how many of its calls are open, and whether its arguments and its value are looked at.
    """

    __slots__ = (
        "arguments",
        "attached",
        "callee",
        "foreign",
        "handlers",
        "in_step",
        "open",
        "role",
        "seen",
        "stars",
        "step",
        "unwanted",
        "value",
        "where",
    )

    def __init__(self) -> None:
        self.callee = self.value = 0
        self.arguments: dict[int, str] = {}
        self.where: Location | None = None
        self.handlers: dict[int, Handler] = {}
        self.attached = self.foreign = self.stars = False
        self.role = ""
        self.seen = self.step = self.in_step = self.unwanted = self.open = 0


@final
class _Open:
    """A call that has not returned; `since` is the last place in the order of events before it, and
    `held` what the objects that it is given held then, by their names, where that is asked."""

    __slots__ = ("callee", "given", "held", "role", "since", "stars", "subjects")

    def __init__(self, callee: Callee, role: str, since: int, stars: bool) -> None:
        self.callee = callee
        self.role = role
        self.since = since
        self.stars = stars
        self.held: list[tuple[str, Any, Holding]] | None = None
        self.given: list[tuple[str, Brief]] = []
        self.subjects: dict[str, tuple[int, ...]] = {}


@final
class Calls:
    """The calls of one process.

    State: `_open` by frame and site; `_results` by ``id`` of a tensor the function that gave it;
    `_places` where the user has made objects;
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
        self._results: dict[int, tuple[weakref.ref[Any], str]] = {}
        know_own_classes(self._callees.foreign_name)
        self._calls: dict[tuple[str, str], _Call] = {}
        self._open: dict[tuple[int, int], _Open] = {}
        self._kept: dict[object, Mapping[str, Scalar]] = {}
        self._moment: Moment | None = None
        self._last = Context()
        self._values: dict[int, Handler] = {}
        self._receivers: dict[int, Handler] = {}
        self.full_events = FULL_EVENTS
        self.left = self.lost = 0
        for site in sites:
            self._add(site)

    def install(self, values: dict[int, Handler], receivers: dict[int, Handler]) -> None:
        """Put what is done at a callee into `receivers`; the rest follows once one is wanted."""
        self._values, self._receivers = values, receivers
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
        call = self._calls.setdefault((site.location.file, said["call"]), _Call())
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

    def _at_callee(self, call: _Call) -> Handler:
        budget, callees, opened, number = self._budget, self._callees, self._open, call.callee
        for at, name in call.arguments.items():
            call.handlers[at] = self._at_argument(call, name)
        call.handlers[call.value] = self._at_value(call)

        def begins(called: Any, frame: FrameType) -> None:
            key = (id(frame), number)
            if not budget.watching:
                self._passed(call, key)
                return
            callee, owner = callees.of(called)
            role = self._role(callee, call, frame) if callee is not None else ""
            if callee is not None and callee.own and self._named and role not in self._named:
                callee = None
            if callee is None or not self._is_due(call):
                call.unwanted += callee is None
                self._passed(call, key)
                return
            if not call.attached:
                call.attached = True
                self._values.update(call.handlers)
            call.open += key not in opened
            opened[key] = self._begun(call, callee, owner, role)
            if len(opened) > MOST_OPEN:
                del opened[next(iter(opened))]
                self.lost += 1

        return begins

    def _begun(self, call: _Call, callee: Callee, owner: Any, role: str) -> _Open:
        one = _Open(callee, role, self._stream.last, call.stars)
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

    def _hold(self, one: _Open, name: str, value: Any) -> None:
        """Keep what an object holds."""
        if one.held is not None and len(one.held) < MOST_HOLDERS:
            holding = holding_of(value)
            if holding:
                one.held.append((name, value, holding))

    def _let_go(self, one: _Open) -> None:
        """Note what a call has done to the objects that it was given."""
        for name, value, before in one.held or ():
            if name.isdigit():
                names = one.callee.parameters
                name = names[int(name)] if int(name) < len(names) else name
            after = holding_of(value)
            one.given.append((f"after_{name}_changed", (PLAIN, bool, is_changed(before, after))))
            one.given.append((f"after_{name}_trainable", (PLAIN, str, trained(before, after))))

    def _remember(self, one: _Open, value: Any) -> None:
        """Keep by which function a tensor was given, for as long as it lives."""
        parts = value[:MOST_PARTS] if type(value) is tuple else (value,)
        said = one.role or ("" if one.callee.own else one.callee.name)
        for part in parts if said else ():
            if brief_and_role(part)[1] == TENSOR:
                if len(self._results) >= MOST_OPEN:
                    self._results.clear()
                self._results[id(part)] = (weakref.ref(part), said)

    def _passed(self, call: _Call, key: tuple[int, int]) -> None:
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

    def _at_argument(self, call: _Call, name: str) -> Handler:
        opened, number = self._open, call.callee

        def given(value: Any, frame: FrameType) -> None:
            one = opened.get((id(frame), number))
            if one is not None:
                whole = type(value) in _WHOLE
                brief, role = (brief_of_result(value), "") if whole else brief_and_role(value)
                self._note(one, name, value, brief, role)
                one.since = self._stream.last

        return given

    def _at_value(self, call: _Call) -> Handler:
        opened, number, stream = self._open, call.callee, self._stream

        def returned(value: Any, frame: FrameType) -> None:
            one = opened.pop((id(frame), number), None)
            if one is not None:
                call.open -= 1
                if one.callee.makes:
                    made = self._objects.number(value)
                    one.subjects |= {"made": (made,)} if made else {}
                    if made and not call.foreign and call.where is not None:
                        self._places[made] = f"{call.where.file}:{call.where.line}"
                self._let_go(one)
                maker = self._maker(frame) if call.foreign else ""
                if maker:
                    one.given.append(("after_maker", (PLAIN, str, maker)))
                values = self._said(one, brief_of_result(value))
                self._remember(one, value)
                where = self._where(call, one.callee, frame) if call.foreign else call.where
                stream.tell(stream.make("call", where, one.subjects, values, self._context()))

        return returned

    def _role(self, callee: Callee, call: _Call, frame: FrameType) -> str:
        """What a library knows a function as that is the user's: what it overrides, or the place
        where it is called."""
        if callee.role or not (callee.own and call.foreign):
            return callee.role
        return f"{frame.f_globals.get('__name__')}.{call.role}"

    def _where(self, call: _Call, callee: Callee, frame: FrameType) -> Location | None:
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

    def _note(self, one: _Open, name: str, value: Any, brief: Brief, role: str) -> None:
        if role == TENSOR:
            known = self._results.get(id(value))
            if known is not None and known[0]() is value:
                one.given.append((f"{name}_from", (PLAIN, str, known[1])))
        elif brief[0] in (MODULE_BRIEF, TYPE):
            number = self._objects.number(value)
            if number:
                one.subjects["given"] = (*one.subjects.get("given", ()), number)
            if name != one.callee.on:
                self._hold(one, name, value)
        one.given.append((name, brief))
        if role in _SUBJECTS:
            number = self._stream.registry.known(value)
            if number:
                one.subjects[role] = (*one.subjects.get(role, ()), number)

    def _is_due(self, call: _Call) -> bool:
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
            return False
        return True

    # -- the fields of an event ---------------------------------------------------------------

    def _context(self) -> Context:
        """The context of this moment; that of the call before, where nothing has changed."""
        moment = self._stream.moment()
        if moment != self._moment:
            self._moment, self._last = moment, self._stream.context_at(moment)
        return self._last

    def _said(self, one: _Open, result: Brief) -> Mapping[str, Scalar]:
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
