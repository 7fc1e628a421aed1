"""What is trained on from one fetch of a loader's first batch to the next: whether it is the same.

A batch that comes again is no fault by itself (all data at once, one batch learnt by heart, several
steps on one batch). It is one where each step fetches it from a loader that has others.
"""

from __future__ import annotations

from typing import Any, Final, final

from tcstatic.model import Site
from tcstatic.runtime.probes.forwards import Forward
from tcstatic.runtime.probes.samples import Sample, sample_of, tensors_in
from tcstatic.runtime.probes.stream import Stream

# Steps whose batches are looked at: more than it takes to show that they stay the same.
_FIRST_STEPS: Final = 10
# Fetches in a row, with a step after each, that show it.
TIMES: Final = 4
_MOST_TARGETS: Final = 64  # between two fetches
_TARGETS: Final = frozenset({"1", "target"})  # where a loss is given them

Given = tuple[Sample | None, ...]


@final
class Fetches:
    """The first batches that were fetched at one place.

    State: `item` the last of them, `used` inputs and targets that were trained on after the one
    before, `again` how many in a row were the same and trained on alike.
    """

    __slots__ = ("again", "item", "used")

    def __init__(self) -> None:
        self.item: Given = ()
        self.used: object = None
        self.again = 0


@final
class Batches:
    """Follows what models are given in training.

    State, since the last fetch: `_fetches` where that was, `_inputs` what the models that were
    trained had been given, `_targets` what losses had, `_blind` whether something could not be
    read.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._fetches: Fetches | None = None
        self._inputs: set[tuple[int, Given]] = set()
        self._targets: set[Sample] = set()
        self._blind = False

    @property
    def due(self) -> bool:
        """Whether the batches of this step are looked at."""
        return self._stream.step < _FIRST_STEPS

    def given(self, site: Site, value: Any, record: Forward | None) -> None:
        """A call is about to be given something: that of a model, or of a loss."""
        at_loss = site.kind == "loss.forward" or (record is not None and not record.number)
        if at_loss and site.arguments.get("at", "target") in _TARGETS:
            found = self._sample(value) if len(self._targets) < _MOST_TARGETS else None
            self._blind = self._blind or found is None
            self._targets |= set() if found is None else {found}
        elif record is not None and not at_loss:
            record.given.append((int(site.arguments["of"]), self._sample(value)))

    def trained(self, record: Forward) -> None:
        """A step used the gradients of a model's call."""
        if not self.due:
            return
        given = tuple(sample for _, sample in record.given)
        wanted = record.given[0][0] if record.given else -1
        self._blind = self._blind or len(given) != wanted or None in given
        self._inputs.add((record.number, given))

    def fetched(self, fetches: Fetches, item: Any) -> int:
        """A first batch is fetched. Return how many fetches in a row gave it, with the same trained
        on after each."""
        inputs, targets, blind = frozenset(self._inputs), frozenset(self._targets), self._blind
        other, self._fetches = self._fetches is not fetches, fetches
        now = tuple(self._sample(tensor) for tensor in tensors_in(item))
        before, fetches.item = fetches.item, now
        readable = bool(now) and None not in now
        if other or not readable or (inputs and (blind or not targets)):
            fetches.used, fetches.again = None, 0
        elif inputs:
            used, fetches.used = fetches.used, (inputs, targets)
            same = used == (inputs, targets) and before == now and _comes_from(inputs, now)
            fetches.again = fetches.again + 1 if same else 0
        if other or inputs:
            self._inputs, self._targets, self._blind = set(), set(), False
        return fetches.again

    def _sample(self, value: Any) -> Sample | None:
        return sample_of(value, self._stream.registry)


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
