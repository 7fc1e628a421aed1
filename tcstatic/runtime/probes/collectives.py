"""Whether all ranks bring their parameters together in one order.

A collective pairs the first call of one rank with the first of another, whatever they are given.
The order of a first round is published to the launcher's store; nobody waits for another rank.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol, final

from tcstatic.model import Location, Site
from tcstatic.runtime.probes.branches import loop_around
from tcstatic.runtime.probes.stream import Stream

MOST: Final = 1_024  # collectives of a round


class Ranks(Protocol):
    """What is known of other ranks, as `Replicas` has it."""

    @property
    def expected(self) -> bool: ...
    @property
    def world(self) -> int: ...
    def leave(self, key: str, text: str) -> None: ...
    def take(self, keys: Sequence[str]) -> list[bytes] | None: ...
    def read(self, keys: Sequence[str]) -> list[bytes] | None: ...


@final
class Collectives:
    """Follows one round: from the first collective over a parameter, or its gradient, until that
    comes again. `name_of` tells whose a tensor is, '' where it is nobody's.

    State: `_mine` what this rank has called from `_step` on, with its place; `_published`, and
    `_done` once it is judged or cannot be.
    """

    def __init__(self, stream: Stream, ranks: Ranks, name_of: Callable[[Any], str]) -> None:
        self._stream = stream
        self._ranks = ranks
        self._name_of = name_of
        self._mine: list[tuple[str, Site]] = []
        self._step = 0
        self._published = False
        self._done = False

    def reduced(self, site: Site, tensor: Any) -> None:
        """A collective is about to be given a tensor."""
        if self._done or not self._ranks.expected:
            return
        name = self._name_of(tensor)
        if not name:
            return
        called = f"{site.arguments['operation']} {name}"
        first = self._mine[0][0] if self._mine else ""
        if not first:
            self._step = self._stream.step
        if called == first:
            self._round_is_over()
        elif not self._published:
            self._mine.append((called, site))
            self._done = len(self._mine) > MOST

    def finish(self) -> None:
        """The run ends."""
        if self.owed:
            self._round_is_over()

    @property
    def owed(self) -> bool:
        """Whether a round is begun and not judged."""
        return bool(self._mine) and not self._done

    def _round_is_over(self) -> None:
        rank = self._stream.rank
        if not self._published:
            self._published = True
            if rank:
                self._ranks.leave(_key(rank), json.dumps([called for called, _ in self._mine]))
        if rank:
            self._done = True
            return
        keys = [_key(other) for other in range(1, self._ranks.world)]
        if (left := self._ranks.take(keys)) is not None:
            self._done = True
            self._judge({at: json.loads(text) for at, text in enumerate(left, start=1)})

    def _judge(self, theirs: dict[int, list[str]]) -> None:
        """Tell of the first rank that has called the same in another order. What others have not
        called at all is no order: their part of the model may be another."""
        mine = [called for called, _ in self._mine]
        for rank, order in theirs.items():
            if order != mine and sorted(order) == sorted(mine):
                at = next(i for i, called in enumerate(mine) if called != order[i])
                self._tell(self._mine[at][1], mine[at], rank, order[at])
                return
        self._tell(self._mine[0][1], mine[0], 0, mine[0])

    def _tell(self, site: Site, mine: str, rank: int, theirs: str) -> None:
        operation, _, name = mine.partition(" ")
        values = {
            "in_order": mine == theirs,
            "operation": operation,
            "parameter_name": name,
            "other_name": theirs.partition(" ")[2],
            "culprit_rank": rank,
            "line": site.location.line,
        }
        where = site.location if mine == theirs else self._loop(site.location)
        event = self._stream.make("dist.collective", where, {}, values, step=self._step)
        self._stream.tell(event)

    def _loop(self, where: Location) -> Location:
        """The loop whose order it is."""
        line = loop_around(os.path.join(self._stream.locator.root, where.file), where.line)
        return where if line is None else replace(where, line=line, end_line=line, column=1)


def _key(rank: int) -> str:
    return f"collectives/{rank}"
