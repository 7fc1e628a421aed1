"""What is trained on, turn by turn of a loop over batches: whether it follows what the loop gives.

A batch that comes again is no fault by itself (all data at once, one batch learnt by heart, several
steps on one batch). It is one where the loop gives others, and neither inputs nor targets change.
"""

from __future__ import annotations

from typing import Any, Final, final

from tcstatic.model import Location, Site
from tcstatic.runtime.probes.forwards import Forward
from tcstatic.runtime.probes.samples import Sample, sample_of, tensors_in
from tcstatic.runtime.probes.stream import Stream

# Steps whose batches are looked at: more than it takes to show that they stay the same.
_FIRST_STEPS: Final = 10
# Turns in a row, with a step in each, that show it.
TURNS: Final = 4
_MOST_TARGETS: Final = 64  # of one turn
_TARGETS: Final = frozenset({"1", "target"})  # where a loss is given them

Given = tuple[Sample | None, ...]


@final
class Turns:
    """What the turns of one loop were trained on. `stride` is the size of a batch where the loop
    counts in batches, `item` what the turn before the last was given.

    State: `last` inputs and targets, `alike` how many turns in a row had the same though the items
    differed, `again` how many had the same with the same item.
    """

    __slots__ = ("again", "alike", "item", "last", "stride")

    def __init__(self, stride: int = 0) -> None:
        self.stride = stride
        self.item: object = None
        self.last: object = None
        self.alike = self.again = 0


@final
class Batches:
    """Follows what models are given in training.

    State, of the turn in progress: `_turns` whose it is, `_inputs` what the models that were
    trained had been given, `_targets` what losses had, `_blind` whether something could not be
    read, `_where` the last call of a model.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._turns: Turns | None = None
        self._inputs: set[tuple[int, Given]] = set()
        self._targets: set[Sample] = set()
        self._blind = False
        self._where: Location | None = None

    @property
    def due(self) -> bool:
        """Whether the batches of this step are looked at."""
        return self._stream.step < _FIRST_STEPS

    def sample(self, value: Any) -> Sample | None:
        """Return what tells a tensor from others."""
        return sample_of(value, self._stream.registry)

    def given(self, site: Site, value: Any, record: Forward | None) -> None:
        """A call is about to be given something: that of a model, or of a loss."""
        at_loss = site.kind == "loss.forward" or (record is not None and not record.number)
        if at_loss and site.arguments.get("at", "target") in _TARGETS:
            found = self.sample(value) if len(self._targets) < _MOST_TARGETS else None
            self._blind = self._blind or found is None
            self._targets |= set() if found is None else {found}
        elif record is not None and not at_loss:
            record.given.append((int(site.arguments["of"]), self.sample(value)))

    def trained(self, record: Forward) -> None:
        """A step used the gradients of a model's call."""
        if not self.due:
            return
        given = tuple(sample for _, sample in record.given)
        wanted = record.given[0][0] if record.given else -1
        self._where = record.where
        self._blind = self._blind or len(given) != wanted or None in given
        self._inputs.add((record.number, given))

    def begins(self, turns: Turns, item: Any) -> tuple[int, int, Location | None]:
        """A turn begins with an item, and so the one before it is over. Return how many in a row
        were trained alike, though their items differed, and how many with the same item; and where
        a model was called."""
        inputs, targets, blind = frozenset(self._inputs), frozenset(self._targets), self._blind
        other = self._turns is not turns
        samples = tuple(self.sample(tensor) for tensor in tensors_in(item))
        now: object = item if type(item) is int else samples
        before, turns.item = turns.item, now
        readable = type(item) is int or (bool(samples) and None not in samples)
        if other or not readable or (inputs and (blind or not targets)):
            turns.last, turns.alike, turns.again = None, 0, 0
        elif inputs:
            same = turns.last == (inputs, targets) and _fits(inputs, turns.stride)
            turns.last = (inputs, targets)
            changed = before != now
            turns.alike = turns.alike + 1 if same and changed else 0
            used = same and not changed and _comes_from(inputs, samples)
            turns.again = turns.again + 1 if used else 0
        if other or inputs:
            self._inputs, self._targets, self._blind = set(), set(), False
        self._turns = turns
        return turns.alike, turns.again, self._where


def _comes_from(inputs: frozenset[tuple[int, Given]], item: Given) -> bool:
    """Whether a model was given a tensor of an item; or, not on the CPU, one of its shape."""
    for _, given in inputs:
        for one in given:
            for other in item:
                if one is None or other is None:
                    continue
                if one[1:] == other[1:] or (type(one[2]) is int and one[0] == other[0]):
                    return True
    return False


def _fits(inputs: frozenset[tuple[int, Given]], stride: int) -> bool:
    """Whether what a model was given is a batch of the size in which its loop counts."""
    if not stride:
        return True
    return any(one is not None and one[0][:1] == (stride,) for _, given in inputs for one in given)
