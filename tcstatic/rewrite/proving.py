"""What the source proves of a whole program: invariants that no run of it can violate.

Proved is only what follows from the order of events alone, in a program that is one round over and
over (`straight_round`): its events are all there are, whatever the data. The monitor that would
judge the run judges these rounds, so that nothing is proved that a run sees otherwise. What hangs
on data is tried both ways: whether a backward reaches an optimizer, and what values an event has.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from tcstatic.invariants.relations import monitor_of, needs_of
from tcstatic.model import Event, Invariant
from tcstatic.program.paths.recording import Recorder
from tcstatic.program.paths.rounds import Round, straight_round
from tcstatic.program.paths.spoken import KINDS
from tcstatic.program.source import Tree
from tcstatic.rewrite.worlds import World

PROVED: Final = "proved from the source: every round of training is the same straight line"
ANSWERED: Final = "what it is probed for is proved from the source"
# Probes that serve the rules alone. What a backward or a step is probed for, all rules stand on;
# gradients that are gone are noticed at the next backward.
_SPARED: Final = frozenset({"optimizer.zero_grad"})
# What an `order` may ask that the sequence of events answers.
_ASKED: Final = frozenset(
    "existence absence precedence between before same given since wide".split()
)
# Rounds that are judged: an automaton of `order` forgets what lies before its last closing event.
_ROUNDS: Final = 3


def round_of(
    script: Path,
    trees: Mapping[Path, Tree],
    own: Iterable[str],
    world: World,
    seen: Recorder | None,
) -> Round:
    """The one round of a program, without kinds where it is no such program, or where others may
    take part in it."""
    known = world.alone and world.steady and world.scalerless and world.wrapperless
    if seen is None or not known:
        return Round()
    return straight_round(script, trees, frozenset(own), seen.is_scheduler)


def proved(invariants: Iterable[Invariant], line: Round) -> dict[str, str]:
    """The invariants that a program of such rounds cannot violate: by code, why."""
    return {one.code: PROVED for one in invariants if line.kinds and _holds(one, line)}


def answered(watched: Iterable[Invariant], line: Round) -> frozenset[str]:
    """The kinds of probes that nothing is asked of which is still watched."""
    asked = {
        kind for one in watched for kind in (*needs_of(one).events, *(b.at for b in one.blame))
    }
    return _SPARED - asked if line.kinds else frozenset()


def _holds(invariant: Invariant, line: Round) -> bool:
    """Whether the invariant holds whatever the data, and says something of such rounds."""
    needs = needs_of(invariant)
    if invariant.relation != "order" or not invariant.params.keys() <= _ASKED:
        return False
    if invariant.params.get("same") != "optimizer":
        return False
    if needs.calls or needs.state or not needs.events <= set(KINDS.values()):
        return False
    held = False
    for events in _runs(line, str(invariant.params.get("wide", ""))):
        monitor = monitor_of(invariant)
        for event in events:
            for observation in monitor.feed(event):
                if not observation.holds:
                    return False
                held = True
    return held


def _runs(line: Round, value: str) -> Iterator[list[Event]]:
    """All runs of a few rounds, as one optimizer has them: a backward may reach it or not, and
    between its rounds others may have theirs, which reach and clear parameters that it shares."""
    foreign = () if line.alone else tuple(kind for kind in line.kinds if kind != KINDS["step"])
    open_ = [(kind, kind == KINDS["backward"]) for kind in line.kinds]
    kinds = [*open_, *((*((kind, True) for kind in foreign), *open_) * (_ROUNDS - 1))]
    for choice in itertools.product((True, False), repeat=sum(may for _, may in kinds)):
        for told in (True, False) if value else (False,):
            answers = iter(choice)
            yield [
                Event(kind, number, None, {"optimizer": (1,)}, {value: told} if value else {})
                for number, (kind, may) in enumerate(kinds)
                if not may or next(answers)
            ]
