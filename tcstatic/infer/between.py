"""What lay between two events about one object, for all kinds at once.

It says what the automata of `order` say of ``existence``, ``absence`` and ``precedence``, in one
pass whatever the number of hypotheses: for each event, the kinds that came since the last event of
each other kind are a set of bits, and events are counted by it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
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
class _Stream:
    """The events about one object. State: the kinds since the last event of each kind, where that
    was, and those since the start; `blind` since a gap."""

    __slots__ = ("at", "blind", "length", "since")

    def __init__(self, blind: bool) -> None:
        self.since: dict[str, int] = {START: 0}
        self.at: dict[str, int] = {START: 0}
        self.length = 0
        self.blind = blind


@final
class Between:
    """Of all runs. State: by role, first kind and last kind, the events that ended an interval,
    with the run and the kinds that came within it; the bit of each kind."""

    def __init__(self) -> None:
        self._ends: dict[tuple[str, str, str], _Ends] = {}
        self._bits: dict[str, int] = {}

    def of_run(self, run: str) -> Callable[[Event, Distinct], None]:
        """Return what takes the events of one run, in their order."""
        streams: dict[tuple[str, int], _Stream] = {}
        blind = False

        def follow(event: Event, known: Distinct) -> None:
            nonlocal blind
            if event.kind == "gap":
                streams.clear()
                blind = True
                return
            roles = [(role, event.subjects[role]) for role in event.subjects if role in ROLES]
            for role, numbers in roles or [("", (0,))]:
                for number in numbers[:MOST_OBJECTS]:
                    stream = streams.get((role, number))
                    if stream is None:
                        stream = streams[role, number] = _Stream(blind)
                    self._pass(stream, role, event.kind, known, run)

        return follow

    def _pass(self, stream: _Stream, role: str, kind: str, known: Distinct, run: str) -> None:
        bit = self._bits.get(kind)
        if bit is None:
            if len(self._bits) >= MOST_KINDS:
                return
            bit = self._bits[kind] = 1 << len(self._bits)
        since, at = stream.since, stream.at
        stream.length += 1
        last = at.get(kind, -1)
        for first, within in since.items():
            # an interval ends at the first such event; the start counts until then
            ended = first == kind or at[first] > last
            if ended and not (first == START and stream.blind):
                ends = self._ends.setdefault((role, first, kind), {})
                counts = ends.get(known)
                if counts is None:
                    counts = ends[known] = Counter()
                counts[run, within] += 1
            since[first] = within | bit
        since[kind] = 0
        at[kind] = stream.length

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
