"""`call` events: what was called, with what, and what came of it, as far as scalars tell.

A call is told of at three kinds of sites: its callee, its arguments, its value. What belongs
together is known by the user's frame, in which one call stands once at a time: neither recursion,
nor a generator that is left and entered again, nor a call that never returned can mix them up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import FrameType
from typing import Any, Final, final

from tcstatic.model import Context, Location, Site
from tcstatic.runtime.probes.budget import Budget
from tcstatic.runtime.probes.callees import Callee, Callees
from tcstatic.runtime.probes.entry import Handler
from tcstatic.runtime.probes.roles import MODULE, OPTIMIZER
from tcstatic.runtime.probes.stream import Moment, Stream
from tcstatic.runtime.probes.summaries import (
    Brief,
    Scalar,
    autocast_dtype,
    brief_and_role,
    brief_of_result,
    fields_of,
)

MOST_FIELDS: Final = 32  # of one event
MOST_RESULT_FIELDS: Final = 11  # of them, where the arguments have many
FULL_EVENTS: Final = 1_000  # at one place; from then on,
EVERY: Final = 16  # only in each n-th step, so that all places are told of in the same steps,
STEP_EVENTS: Final = 64  # and in such a step so many
MOST_UNWANTED: Final = 256  # calls of what is not wanted; then a place that had no other is left
MOST_OPEN: Final = 4_096  # calls that have not returned: more than Python's own limit of depth
MOST_KEPT: Final = 2_048  # different values of events
_SUBJECTS: Final = (MODULE, OPTIMIZER)


@final
class _Call:
    """One call in the source.

    State: how often it was asked for, and in which step how often; how often it was not wanted;
    how many of its calls are open, and whether its arguments and its value are looked at.
    """

    __slots__ = (
        "arguments",
        "attached",
        "callee",
        "handlers",
        "in_step",
        "open",
        "seen",
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
        self.attached = False
        self.seen = self.step = self.in_step = self.unwanted = self.open = 0


@final
class _Open:
    """A call that has not returned."""

    __slots__ = ("callee", "given", "subjects")

    def __init__(self, callee: Callee) -> None:
        self.callee = callee
        self.given: list[tuple[str, Brief]] = []
        self.subjects: dict[str, tuple[int, ...]] = {}


@final
class Calls:
    """The calls of one process.

    State: `_open` by frame and site; `_kept` the values of events that say the same, by what they
    say, and `_last` the context of `_moment`; `left` the calls that were wanted and in no event,
    `lost` those given up unreturned.
    """

    def __init__(
        self, sites: Iterable[Site], stream: Stream, budget: Budget, files: Iterable[str]
    ) -> None:
        self._stream = stream
        self._budget = budget
        self._callees = Callees(files)
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
            call.callee = site.number
        elif said["part"] == "argument":
            call.arguments[site.number] = said["as"]
        else:
            call.value, call.where = site.number, site.location

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
            if callee is None or not self._is_due(call):
                call.unwanted += callee is None
                self._passed(call, key)
                return
            if not call.attached:
                call.attached = True
                self._values.update(call.handlers)
            one = _Open(callee)
            brief, role = brief_and_role(owner)
            if role:
                self._note(one, callee.on or "self", owner, brief, role)
            call.open += key not in opened
            opened[key] = one
            if len(opened) > MOST_OPEN:
                del opened[next(iter(opened))]
                self.lost += 1

        return begins

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
                self._note(one, name, value, *brief_and_role(value))

        return given

    def _at_value(self, call: _Call) -> Handler:
        opened, number, stream = self._open, call.callee, self._stream

        def returned(value: Any, frame: FrameType) -> None:
            one = opened.pop((id(frame), number), None)
            if one is not None:
                call.open -= 1
                values = self._said(one, brief_of_result(value))
                context = self._context()
                stream.tell(stream.make("call", call.where, one.subjects, values, context))

        return returned

    def _note(self, one: _Open, name: str, value: Any, brief: Brief, role: str) -> None:
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
        key = (one.callee.name, autocast, tuple(one.given), result)
        known = self._kept.get(key)
        if known is None:
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            known = self._kept[key] = _fields(one.callee, autocast, one.given, result)
        return known


def _fields(
    callee: Callee, autocast: str, given: Iterable[tuple[str, Brief]], result: Brief
) -> Mapping[str, Scalar]:
    """All fields of one event, within their limit."""
    names = callee.parameters
    arguments: dict[str, Scalar] = {}
    for name, brief in given:
        if name.isdigit():
            name = names[int(name)] if int(name) < len(names) else name
        arguments.update(fields_of(f"arg_{name}", brief))
    results = dict(fields_of("result", result))
    room = MOST_FIELDS - 3  # the name, and what stands at the end
    left = len(arguments) + len(results) - room
    if left > 0:
        results = dict([*results.items()][: max(MOST_RESULT_FIELDS, room - len(arguments))])
        arguments = dict([*arguments.items()][: room - len(results)])
        results["fields_left_out"] = left
    if autocast:
        results["autocast"] = autocast
    return {"name": callee.name, **arguments, **results}
