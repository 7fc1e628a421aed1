"""`effect`: a call changes some state, or leaves it alone.

``{call: optimizer.step, changes: param.data, over: CONDITION, quantifier: some|each}``; `over`
selects the members (parameters) that the call ought to change. With `some`, one that changed is
enough, and nothing is judged while any selected member is undecided and none has changed.
A call may also contain other events, or not: ``{call: call lib.Engine.step, contains:
optimizer.step}``, ``{call: call lib.evaluate, lacks: optimizer.step}``; and it may change the
tensors that an object holds that it is made on, or given: ``{call: call lib.Average.update,
changes: self}``.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import ClassVar, Final, final

from tcstatic.invariants.relations.base import (
    Monitor,
    Params,
    Selection,
    check_keys,
    each_member,
    observed,
    register,
    widened,
)
from tcstatic.invariants.relations.called import called_in, check_label, needs_labels
from tcstatic.invariants.relations.callproposing import contents
from tcstatic.invariants.relations.measured import Changing
from tcstatic.invariants.relations.reading import Reads
from tcstatic.invariants.relations.sequences import CONTAINS, Containing
from tcstatic.model import ABSENT, Event, Hypothesis, Member, Needs, Observation, Vocabulary

STATES = {"param.data": "changed"}
# Of a change that is smaller than the format of what it changes can show, chance decides.
SHOWING: Final = "representable"


def _moved(value: object) -> Hashable:
    return value is not ABSENT and value is not None, value is True


@final
class _EffectMonitor:
    def __init__(self, params: Params) -> None:
        self._kind = params["call"]
        self._wanted = "changes" in params
        self._field = STATES[params["changes" if self._wanted else "leaves"]]
        self._over = params.get("over", "")
        self._selection = Selection(self._over)
        self._some = params.get("quantifier", "each") == "some"

    def feed(self, event: Event) -> Sequence[Observation]:
        if event.kind != self._kind:
            return ()
        if self._some and self._wanted and self._one_moved(event.members):
            return (observed(event, event.subjects.get("optimizer", ()), holds=True),)
        chosen = self._selection.of(event)
        decided = [member for member in chosen if member.fields.get(self._field) is not None]
        if not self._some:
            return each_member(
                event, ((m, (m.fields[self._field] is True) == self._wanted) for m in decided)
            )
        moved = any(member.fields[self._field] is True for member in decided)
        if chosen and (moved or len(decided) == len(chosen)):
            return (self._some_of(event, decided, holds=moved == self._wanted),)
        return ()

    def _one_moved(self, members: tuple[Member, ...]) -> bool:
        """Whether some member moved, as the first one does that can: not all need be asked for."""
        field, meets = self._field, self._selection.meets
        return any(member.fields.get(field) is True and meets(member) for member in members)

    def reads(self) -> Reads:
        """Whether members have changed, where that is known."""
        derived = frozenset(("since", "unchanged_for")) if self._some else frozenset()
        return Reads({}, {self._field: _moved}, self._over, derived)

    def _some_of(self, event: Event, decided: list[Member], *, holds: bool) -> Observation:
        key = event.subjects.get("optimizer", ())
        if holds:
            return observed(event, key, holds=True)
        known = [s for m in decided if isinstance(s := m.fields.get("since"), int)]
        since = min(known, default=event.step)
        known_since = {"since": since, "unchanged_for": event.step - since}
        facts = {**event.values, **known_since}
        return Observation(False, event, widened(event, known_since), key, facts)


@final
@register
class Effect:
    """A call changes state, or leaves it alone; see the module's text."""

    name: ClassVar[str] = "effect"

    def check(self, params: Params) -> None:
        """Raise ValueError for a state or quantifier that does not exist."""
        keys = ("call", "changes", "leaves", "over", "quantifier", *CONTAINS)
        check_keys(params, keys, ("call",))
        check_label(params["call"], "call")
        held = [key for key in CONTAINS if key in params]
        if held and len(params) == 2:
            check_label(params[held[0]], held[0])
            return
        if called_in(params["call"]) and len(params) == 2 and params.keys() & {"changes", "leaves"}:
            return
        if ("changes" in params) == ("leaves" in params):
            raise ValueError(f"expected exactly one of changes, leaves, {', '.join(CONTAINS)}")
        state = params.get("changes", params.get("leaves"))
        if state not in STATES:
            raise ValueError(f"changes: {state!r} is no state; expected {', '.join(STATES)}")
        if params.get("quantifier", "each") not in ("some", "each"):
            raise ValueError("quantifier: expected some or each")
        Selection(params.get("over", ""))

    def needs(self, params: Params) -> Needs:
        """Return the call, and the state compared or the events contained."""
        for key in CONTAINS:
            if key in params:
                return needs_labels([params["call"], params[key]])
        if called_in(params["call"]):
            return needs_labels([params["call"]])
        return Needs(frozenset({params["call"]}), frozenset({"param.data"}))

    def monitor(self, params: Params) -> Monitor:
        """Return a fresh monitor."""
        if any(key in params for key in CONTAINS):
            return Containing(params)
        if called_in(params["call"]):
            return Changing(params)
        return _EffectMonitor(params)

    def propose(self, vocabulary: Vocabulary) -> Iterator[Hypothesis]:
        """Return, for calls that states were compared around, that they change and leave them."""
        yield from contents(vocabulary)
        for group in vocabulary.groups:
            for state, name in STATES.items():
                if name not in group.members:
                    continue
                for verb in ("changes", "leaves"):
                    for quantifier in ("each", "some") if verb == "changes" else ("each",):
                        params = {"call": group.kind, verb: state, "quantifier": quantifier}
                        if quantifier == "each" and verb == "changes" and SHOWING in group.members:
                            params["over"] = SHOWING
                        yield Hypothesis(self.name, params, "", frozenset({name, "idle"}))
