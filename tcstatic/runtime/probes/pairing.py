"""Tokens and their targets: which token each one is to predict, and what padding takes part."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final, final

from tcstatic.model import Location
from tcstatic.runtime.probes import codes
from tcstatic.runtime.probes.shifts import by_row, matches
from tcstatic.runtime.probes.stream import Stream
from tcstatic.runtime.probes.tokens import Batch, Inputs, Targets, batch_of
from tcstatic.runtime.probes.written import (
    attending_lines,
    loss_lines,
    mask_lines,
    order_lines,
    shift_lines,
    twice_lines,
)

_FIRST_STEPS: Final = 4
_TIMES: Final = 2  # losses that show the same
_KINDS: Final = 3  # of tokens
_FEW: Final = 8  # tokens that are padding, at least
_SHARE: Final = 0.02  # of all targets
_SAID: Final = {
    0: {"predicted": "the token that it is given", "how": "not shifted at all"},
    2: {"predicted": "the token after the next", "how": "shifted twice"},
}

_HOW: Final = {
    "open": "nothing hides what follows",
    "late": "its mask hides what follows from one place too late on",
    "inverted": "its mask is the wrong way round, and hides what comes before",
}

# Where each is mended.
_LINES: Final = {
    "same_token": twice_lines,
    "other_token": shift_lines,
    "padding_counts": loss_lines,
    "sees_padding": mask_lines,
    "open": attending_lines,
    "late": order_lines,
    "inverted": order_lines,
}


@final
class Pairing:
    """Reads the first losses of a program whose model is given tokens.

    State: `_waiting` what is on its way from the device, with where its backward was called;
    `_counts` how often something was seen, by what it is; `_next` whether any target was the next
    token, as it should be; `_idle` losses in a row that concern no tokens.
    """

    def __init__(self, stream: Stream, models: Callable[[], Iterable[Any]]) -> None:
        self._stream = stream
        self._models = models
        self._waiting: list[tuple[Batch, Location | None]] = []
        self._counts: dict[str, int] = {}
        self._next = False
        self._idle = 0

    def read(self, root: Any, where: Location | None) -> None:
        """The backward of a loss begins."""
        if self._stream.rounds - self._stream.began >= _FIRST_STEPS or self._idle >= _TIMES:
            if self._waiting:
                self.settle()
            return
        try:
            batch = batch_of(root)
        except (AttributeError, IndexError, RuntimeError, TypeError):
            batch = None  # a graph of another kind than torch's own operations leave
        self._idle = self._idle + 1 if batch is None else 0
        if batch is not None:
            self._waiting.append((batch, where))
        self.settle()

    def settle(self) -> None:
        """Judge what has arrived."""
        waiting, self._waiting = self._waiting, []
        for batch, where in waiting:
            if not batch.is_there():
                self._waiting.append((batch, where))
                continue
            for what, place, values in self._judged(batch):
                self._count(what, place or where, values)

    def _judged(self, batch: Batch) -> Iterator[tuple[str, Location | None, Mapping[str, Any]]]:
        """What is seen in a batch that should not be."""
        for targets in batch.targets:
            apart = {two.distance for one in batch.inputs for two in matches(targets, one)}
            self._next = self._next or 1 in apart
            wrong = next(iter(apart)) if len(apart) == 1 else 1
            if wrong == 2 or (wrong == 0 and self._looks_back(batch)):
                what = "other_token" if wrong else "same_token"
                yield what, targets.where, {"other_token": True, **_SAID[wrong]}
            share = max([_padded(targets, one) for one in batch.inputs], default=0.0)
            if share >= _SHARE:
                values = {"padding_counts": True, "share": f"{share:.0%}"}
                yield "padding_counts", targets.where, values
        if any(
            _inverted(one.ids.host, seen.keys.host)
            for one in batch.inputs
            for seen in batch.attended
        ):
            yield "sees_padding", None, {"sees_padding": True}
        yield from islice(_answered(batch), 1)

    def _looks_back(self, batch: Batch) -> bool:
        """Whether each place is computed from those up to it, and no model works otherwise."""
        if any([one.moved for one in batch.inputs]):
            return False
        seen = [bool(one.causal.host) for one in batch.attended]
        return batch.causal or (bool(seen) and all(seen)) or (batch.recurs and self._recurs())

    def _recurs(self) -> bool:
        """Whether one recurrent layer that goes forward is all that mixes the places."""
        nn: Any = sys.modules["torch"].nn
        mixing = (nn.RNNBase, nn.MultiheadAttention, nn.modules.conv._ConvNd)
        found = [
            one for model in self._models() for one in model.modules() if isinstance(one, mixing)
        ]
        return len(found) == 1 and not getattr(found[0], "bidirectional", True)

    def _count(self, what: str, where: Location | None, values: Mapping[str, Any]) -> None:
        self._counts[what] = count = self._counts.get(what, 0) + 1
        if count != _TIMES or (self._next and "other_token" in values):
            return
        stream = self._stream
        code = codes.reachable(stream.locator.frame(1), self._models(), stream.locator)
        lines = _LINES[what](code, stream.locator) if what in _LINES else ()
        place = next(iter(lines), where)
        stream.tell(stream.make("loss.forward", place, {}, values))


def _answered(batch: Batch) -> Iterator[tuple[str, Location | None, Mapping[str, Any]]]:
    """Attention that shows each place the token that it is to predict."""
    for turn, number, one in batch.ahead:
        found = [
            (place, match)
            for place, given in enumerate(batch.inputs)
            for match in matches(batch.targets[number], given)
        ]
        # Of tokens that are embedded twice, one may be a source that is read as a whole.
        if {(place, match.distance) for place, match in found} != {(turn, 1)}:
            continue
        how = one.how(found[0][1].places) if one.length == found[0][1].length else None
        if how is not None:
            noted = how == "open" and one.where is not None
            values = {"sees_answer": True, "how": _HOW[how]}
            yield "noted" if noted else how, one.where, values


def _padded(targets: Targets, inputs: Inputs) -> float:
    """The share of targets that count, and stand where the inputs are padding."""
    ids, padding = inputs.ids.host, inputs.padding
    labels = by_row(targets.labels.host, len(ids))
    if padding < 0 or targets.weighted or not targets.reduced or labels is None:
        return 0.0
    if abs(labels.shape[1] - ids.shape[1]) > 1:
        return 0.0
    filled = _run(ids, padding)
    rows = filled >= 1
    if int(rows.sum()) < 2 or len(filled[rows].unique()) < 2:
        return 0.0
    last = int(labels[int(filled.argmax()), -1])
    runs = _run(labels, last)
    known = len((runs - filled)[rows].unique()) == 1
    alike = known and abs(int((runs - filled)[rows][0])) <= 1
    own = int((labels == last).sum()) == int(runs.sum())
    if not (alike and own) or last == targets.ignored or int(runs.sum()) < _FEW:
        return 0.0
    return float(runs.sum()) / targets.count


def _run(rows: Any, value: int) -> Any:
    """How many of the last places of each row have a value."""
    return (rows == value).flip(1).long().cumprod(1).sum(1)


def _inverted(ids: Any, keys: Any) -> bool:
    """Whether attention took nothing but what is padding, by all appearance, save for a token that
    all rows begin with, and that may have been kept on purpose."""
    for one in (ids, ids.t()):
        if one.shape != keys.shape:
            continue
        first, rest = one[:, 0], one[:, 1:]
        alike = bool(keys[:, 0].all()) and bool((first == first[0]).all())
        kept = alike and not bool((rest == first[0]).any())
        if _is_padding(one, keys) or (kept and _is_padding(rest, keys[:, 1:])):
            return True
    return False


def _is_padding(ids: Any, keys: Any) -> bool:
    """Whether what was taken is one token that fills up the rows, from where they end or to where
    they begin."""
    taken, hidden, counts = ids[keys], ids[~keys], keys.long().sum(1)
    turns = keys.long().diff(dim=1)
    filling = bool((turns >= 0).all()) or bool((turns <= 0).all())
    if not filling or len(taken) < _FEW or len(counts.unique()) < 2:
        return False
    alone = len(taken.unique()) == 1 and not bool((hidden == taken[0]).any())
    return alone and len(hidden.unique()) >= _KINDS
