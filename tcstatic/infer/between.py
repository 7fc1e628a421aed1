"""What lay between two events about one object, for all kinds at once.

It says what the automata of `order` say of ``existence``, ``absence`` and ``precedence``, in one
pass whatever the number of hypotheses: for each event, the kinds that came since the last event of
each other kind are a set of bits, and events are counted by it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, final

from tcstatic.infer.distinct import Distinct
from tcstatic.model import Event, Interval

# Kinds that are told apart in one stream, and objects of one event that are followed.
MOST_KINDS: Final = 24
MOST_OBJECTS: Final = 4
ROLES: Final = frozenset({"optimizer", "model", "scheduler", "scaler", "loader"})
START: Final = ""
_Ends = dict[Distinct, Counter[tuple[str, int]]]


@final
class _State:
    """Where the automaton of one object is: the kinds that came `since` the last event of each
    kind, and since the start; `blind` since a gap. State: its ways on, as far as they were gone."""

    __slots__ = ("blind", "since", "ways")

    def __init__(self, since: Mapping[str, int], blind: bool) -> None:
        self.since, self.blind = since, blind
        self.ways: dict[str, tuple[_State, tuple[tuple[str, int], ...]]] = {}


@final
class _Stream:
    """The events about one object. State: where its automaton is."""

    __slots__ = ("state",)

    def __init__(self, state: _State) -> None:
        self.state = state


@final
@dataclass(slots=True)
class _Passage:
    """An event, in one state of an object: to which state it leads, which intervals `ended`, and
    how many `times` it came."""

    role: str
    known: Distinct
    goal: _State
    ended: tuple[tuple[str, int], ...]
    times: int = 0


# What to do at an event: of each stream that it is about, with the passages known so far.
Turn = tuple[tuple[_Stream, dict[_State, _Passage], str, Distinct], ...]


@final
class Following:
    """Follows the events of one run. Programs repeat themselves: what an event ends is worked out
    once for each state that it comes in, and counted.

    State: the automaton of each object (`_streams`) and all its states; the `_passages` in the
    order in which they first came; `_blind` since a gap.
    """

    def __init__(
        self, bits: dict[str, int], ends: dict[tuple[str, str, str], _Ends], run: str
    ) -> None:
        self._bits, self._ends, self._run = bits, ends, run
        self._streams: dict[tuple[str, int], _Stream] = {}
        self._states: dict[tuple[bool, tuple[tuple[str, int], ...]], _State] = {}
        self._known: dict[tuple[str, Distinct], dict[_State, _Passage]] = {}
        self._passages: list[_Passage] = []
        self._blind = False

    def turn(self, event: Event, known: Distinct) -> Turn | None:
        """Return what is to be done at events like this one; None at a gap."""
        if event.kind == "gap":
            return None
        roles = [(role, event.subjects[role]) for role in event.subjects if role in ROLES]
        found = []
        for role, numbers in roles or [("", (0,))]:
            passages = self._known.setdefault((role, known), {})
            for number in numbers[:MOST_OBJECTS]:
                stream = self._streams.get((role, number))
                if stream is None:
                    stream = self._streams[role, number] = _Stream(self._state({START: 0}))
                found.append((stream, passages, role, known))
        return tuple(found)

    def follow(self, turns: Iterable[Turn | None]) -> None:
        """Take events, in their order, by their turns."""
        for turn in turns:
            if turn is None:
                self._blind = True
                for stream in self._streams.values():
                    stream.state = self._state({START: 0})
                continue
            for stream, passages, role, known in turn:
                passage = passages.get(stream.state)
                if passage is None:
                    passage = passages[stream.state] = self._passage(stream.state, role, known)
                passage.times += 1
                stream.state = passage.goal

    def end(self) -> None:
        """Count what was followed."""
        for passage in self._passages:
            role, known, times = passage.role, passage.known, passage.times
            for first, within in passage.ended:
                ends = self._ends.setdefault((role, first, known.event.kind), {})
                counts = ends.get(known)
                if counts is None:
                    counts = ends[known] = Counter()
                counts[self._run, within] += times

    def _passage(self, state: _State, role: str, known: Distinct) -> _Passage:
        kind = known.event.kind
        if kind not in state.ways:
            state.ways[kind] = self._way(state, kind)
        found = _Passage(role, known, *state.ways[kind])
        self._passages.append(found)
        return found

    def _way(self, state: _State, kind: str) -> tuple[_State, tuple[tuple[str, int], ...]]:
        bit = self._bits.get(kind)
        if bit is None:
            if len(self._bits) >= MOST_KINDS:
                return state, ()
            bit = self._bits[kind] = 1 << len(self._bits)
        # an interval ends at the first such event; the start counts until then
        ended = tuple(
            (first, within)
            for first, within in state.since.items()
            if (first == kind or not within & bit) and not (first == START and state.blind)
        )
        since = {first: within | bit for first, within in state.since.items()}
        since[kind] = 0
        return self._state(since, state.blind), ended

    def _state(self, since: Mapping[str, int], blind: bool | None = None) -> _State:
        blind = self._blind if blind is None else blind
        key = (blind, tuple(since.items()))
        state = self._states.get(key)
        if state is None:
            state = self._states[key] = _State(since, blind)
        return state


@final
class Between:
    """Of all runs. State: by role, first kind and last kind, the events that ended an interval,
    with the run and the kinds that came within it; the bit of each kind."""

    def __init__(self) -> None:
        self._ends: dict[tuple[str, str, str], _Ends] = {}
        self._bits: dict[str, int] = {}

    def of_run(self, run: str) -> Following:
        """Return what takes the events of one run, in their order."""
        return Following(self._bits, self._ends, run)

    def join(self, other: Between, same: Mapping[Distinct, Distinct]) -> None:
        """Take what lay between the events of other runs; `same` are our events for theirs."""
        ours = {}
        for kind, theirs in other._bits.items():
            if kind not in self._bits and len(self._bits) < MOST_KINDS:
                self._bits[kind] = 1 << len(self._bits)
            ours[theirs] = self._bits.get(kind, 0)
        for (role, first, last), ends in other._ends.items():
            if last not in self._bits or (first != START and first not in self._bits):
                continue
            joined = self._ends.setdefault((role, first, last), {})
            for known, counts in ends.items():
                sums = joined.setdefault(same[known], Counter())
                for (run, mask), times in counts.items():
                    within = sum(bit for theirs, bit in ours.items() if mask & theirs)
                    sums[run, within] += times

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds that are told apart, in the order in which they came."""
        return tuple(self._bits)

    def counts(self) -> Iterator[tuple[str, str, str, Distinct, int, int]]:
        """Of all runs: role, first kind, last kind, the event that ended the interval, which of
        `kinds` came within it (as bits), and how often that was."""
        for (role, first, last), ends in self._ends.items():
            for known, counts in ends.items():
                for (_, mask), times in counts.items():
                    yield role, first, last, known, mask, times

    def restore(
        self,
        run: str,
        kinds: Iterable[str],
        counts: Iterable[tuple[str, str, str, Distinct, int, int]],
    ) -> None:
        """Take what the `counts` of one run were; nothing else may have been taken before."""
        self._bits = {kind: 1 << place for place, kind in enumerate(kinds)}
        for role, first, last, known, mask, times in counts:
            ends = self._ends.setdefault((role, first, last), {})
            ends.setdefault(known, Counter())[run, mask] += times

    def intervals(self) -> tuple[Interval, ...]:
        """How often each kind came within each interval."""
        found = []
        for (role, first, last), ends in sorted(self._ends.items()):
            if first == START:
                continue
            within: Counter[str] = Counter()
            times = 0
            for counts in ends.values():
                for (_, mask), seen in counts.items():
                    times += seen
                    for kind, bit in self._bits.items():
                        if mask & bit:
                            within[kind] += seen
            found.append(Interval(role, first, last, times, dict(within)))
        return tuple(found)

    def begun(self, params: Mapping[str, Any]) -> int:
        """In how many runs a ``precedence`` hypothesis is about the first such event of an
        object."""
        ends = self._ends.get((params.get("same", ""), START, params["before"]), {})
        return len({run for counts in ends.values() for run, _ in counts})

    def judge(self, params: Mapping[str, Any]) -> Iterator[tuple[Distinct, str, int, bool]]:
        """What an ``order`` hypothesis says of each event that ends an interval: the event, the
        run, how often, and whether it holds."""
        role = params.get("same", "")
        absent = "absence" in params
        if "precedence" in params:
            wanted, last = params["precedence"], params["before"]
            begun = [START, last]
        else:
            wanted = params["absence" if absent else "existence"]
            first, last = params["between"]
            begun = [first]
        bit = self._bits.get(wanted, 0)
        for first in begun:
            for known, counts in self._ends.get((role, first, last), {}).items():
                for (run, mask), times in counts.items():
                    yield known, run, times, bool(mask & bit) != absent
