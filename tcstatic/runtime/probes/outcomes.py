"""Whether a collective gave all ranks the same, and what their own parts make together.

A link that loses something, a faulty card, or a rank that asks for another operation leaves ranks
with numbers that are plausible and wrong. The n-th collective of a group is the n-th of each of its
ranks, as collectives are matched by their order alone; what each rank got is digested where the
call returns, and what a sum must be follows from the sums of its parts. Nobody waits: the first
rank of a group compares what has arrived in the launcher's store.
"""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final, final

from tcstatic.model import Location, Site
from tcstatic.runtime.probes import measure
from tcstatic.runtime.probes.agreement import Fault, Window, fault_in, pieces_of
from tcstatic.runtime.probes.collectives import Ranks
from tcstatic.runtime.probes.stream import Stream

KEPT: Final = 8  # windows that wait for other ranks
SLOTS: Final = 4 * KEPT
MOST: Final = 512  # collectives of a window
MOST_MEMBERS: Final = 256  # of a group: its first rank reads what all of them leave
MOST_TENSORS: Final = 64  # of one collective
_LINEAR: Final = frozenset({"SUM", "AVG"})
Group = tuple[int, ...]


@final
class Call:
    """A collective: where it is called, what it is asked for, and the numbers of what this rank
    gave and got, on their way from the device."""

    def __init__(self, site: Site, tensors: Sequence[Any]) -> None:
        self.where: Location = site.location
        self.operation = site.arguments["operation"]
        self.by = site.arguments.get("by", "")
        self.tensors = tensors
        self.group: Any = None
        self.number = self.world = self.step = 0
        self.gave: measure.Pending = measure.Known([0.0, 0.0])
        if self.operation == "all_reduce":
            self.gave = measure.totals(tensors)
        self.got = self.digests = self.gave

    @property
    def asked(self) -> str:
        """What all ranks must ask for alike."""
        kinds = {str(one.dtype).removeprefix("torch.") for one in self.tensors}
        return " ".join(filter(None, (self.operation, self.by, *sorted(kinds))))

    def returned(self) -> None:
        """It has returned: read what this rank got."""
        if self.adds:
            self.got = measure.totals(self.tensors)
        self.digests = measure.digests(self.tensors)

    @property
    def adds(self) -> bool:
        """Whether each rank gets the sum of what all have given."""
        return self.operation == "all_reduce" and self.by in _LINEAR

    def sums(self) -> tuple[float, float, float]:
        """The sums of what was given, of its sizes, and of what was got."""
        if not self.adds:
            return 0.0, 0.0, 0.0
        gave, sizes = self.gave.values()
        share = self.world if self.by == "AVG" else 1
        return gave, sizes, self.got.values()[0] * share


@final
class Outcomes:
    """Follows the collectives of one rank.

    State: `_open` the call that is about to be made, `_begun` how many there were by group;
    `_read` those of this window; `_turns` how many windows there were by group; `_kept` of groups
    whose first rank this is: windows with their calls, until they are compared; `_next` the window
    of another rank that comes next; `_usual` what the ranks of a group asked for when they last
    agreed; `_apart` groups whose ranks do not step together, so that what one leaves unwatched
    another may not; `_over` groups that were told of, or can no longer be compared.
    """

    def __init__(self, stream: Stream, ranks: Ranks, members: Callable[[Any], Group]) -> None:
        self._stream = stream
        self._ranks = ranks
        self._members = members
        self._open: Call | None = None
        self._begun: Counter[Group] = Counter()
        self._read: dict[Group, list[Call]] = {}
        self._turns: Counter[Group] = Counter()
        self._next: Counter[tuple[Group, int]] = Counter()
        self._apart: set[Group] = set()
        self._kept: dict[tuple[Group, int], tuple[Window, list[Call]]] = {}
        self._usual: dict[Group, Sequence[str]] = {}
        self._over: set[Group] = set()

    def given(self, site: Site, value: Any) -> None:
        """A collective is about to be given a tensor, or several; a group; or an operation or a
        root, which all ranks must name alike."""
        if site.arguments["operation"] == "reduce" or not self._ranks.expected:
            return  # one rank alone gets what is reduced
        call, operation = self._open, site.arguments["operation"]
        if site.attribute in ("reduced", "gathered"):
            tensors = [value] if hasattr(value, "dtype") else list(value)
            known = len(tensors) <= MOST_TENSORS and all(map(measure.readable, tensors))
            self._open = Call(site, tensors) if known and tensors else None
        elif call is not None and call.operation == operation:
            if site.attribute == "group":
                call.group = value
            else:
                call.by = str(getattr(value, "name", value)).rpartition(".")[2]

    def returned(self, site: Site, result: Any) -> None:
        """A collective has returned; its result is there unless it goes on in the background."""
        call, self._open = self._open, None
        if call is None or call.operation != site.arguments.get("brings"):
            return
        call.where, call.step = site.location, self._stream.step
        group = self._members(call.group)
        self._begun[group] += 1
        read = self._read.setdefault(group, [])
        wanted = len(read) < MOST and group not in self._over
        if result is None and 1 < len(group) <= MOST_MEMBERS and wanted:
            call.number, call.world = self._begun[group], len(group)
            call.returned()
            read.append(call)

    def window_ends(self) -> None:
        """A round of training begins: leave what was noted to the first rank of each group."""
        read, self._read = self._read, {}
        for group, calls in read.items():
            if not calls or group in self._over:
                continue
            turn = self._turns[group]
            self._turns[group] += 1
            window = _window(turn, calls)
            if self._stream.rank != group[0]:
                self._ranks.leave(_slot(group, turn, self._stream.rank), window.to_text())
            else:
                self._kept[group, turn] = (window, calls)
        for old in list(self._kept)[: -KEPT * max(1, len(read))]:
            del self._kept[old]
        self.compare()

    @property
    def owed(self) -> bool:
        """Whether windows wait for other ranks."""
        return bool(self._kept)

    def compare(self) -> None:
        """Judge the windows of which all has arrived."""
        for (group, turn), (mine, calls) in list(self._kept.items()):
            theirs = self._beside(group, mine)
            if theirs is not None:
                del self._kept[group, turn]
                if group not in self._over:
                    self._judge(group, {group[0]: mine, **theirs}, calls)

    def _beside(self, group: Group, mine: Window) -> dict[int, Window] | None:
        """Return the windows of other ranks that begin where this one does, or are the next to it;
        None while one of them is still to come."""
        found: dict[int, Window] = {}
        while waiting := [rank for rank in group[1:] if rank not in found]:
            slots = [_slot(group, self._next[group, rank], rank) for rank in waiting]
            texts = self._ranks.read(slots)
            if texts is None:
                return None
            for rank, text in zip(waiting, texts, strict=True):
                its = Window.from_text(text)
                if its.turn < self._next[group, rank]:
                    return None  # what the slot was used for before
                self._next[group, rank] = its.turn + (its.first < mine.first)
                if its.first >= mine.first:
                    found[rank] = its
        for rank, its in found.items():
            self._next[group, rank] = its.turn + (its.first == mine.first)
        return found

    def forget(self) -> None:
        """Steps go by unwatched."""
        self._open, self._read = None, {}
        self._over |= self._apart

    def _judge(self, group: Group, windows: dict[int, Window], calls: list[Call]) -> None:
        if len({one.steps for one in windows.values()}) > 1:
            self._apart.add(group)
        fault = fault_in(windows, self._usual.get(group, ()))
        if fault is None:
            if group not in self._usual:
                self._tell(None, calls[0])
            self._usual[group] = windows[group[0]].asked
            return
        self._over.add(group)
        self._tell(fault, calls[fault.at])

    def _tell(self, fault: Fault | None, call: Call) -> None:
        values: dict[str, Any] = {"agreed": fault is None, "operation": call.operation}
        if fault is not None:
            values |= {"how": fault.how, "world_size": call.world}
            if fault.rank is not None:
                values["culprit_rank"] = fault.rank
        event = self._stream.make("dist.collective", call.where, {}, values, step=call.step)
        self._stream.tell(event)


def _window(turn: int, calls: Sequence[Call]) -> Window:
    gave, sizes, got = zip(*(one.sums() for one in calls), strict=True)
    return Window(
        turn,
        calls[0].step,
        calls[0].number,
        len(calls),
        tuple(one.asked for one in calls),
        pieces_of([one.digests.values() for one in calls]),
        math.fsum(gave),
        math.fsum(sizes),
        math.fsum(got),
        max(measure.grain(tensor) for one in calls for tensor in one.tensors),
    )


def _slot(group: Group, turn: int, rank: int) -> str:
    """Where a rank leaves what it noted: slots are used again, none has to be taken away."""
    return f"given/{zlib.crc32(repr(group).encode())}/{turn % SLOTS}/{rank}"
