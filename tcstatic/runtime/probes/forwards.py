"""Calls of models, seen at their call sites; whether they train is known from what follows.

Torch's global forward hooks are not used: they change the frames of a traceback that passes
through a module, and turn off torch's own fast path for every module of the program.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any, Final, final

from tcstatic.model import Location
from tcstatic.runtime.probes.graphs import LAYERS, Graphs
from tcstatic.runtime.probes.loops import Loop
from tcstatic.runtime.probes.nodes import nodes_in
from tcstatic.runtime.probes.optimizers import Optimizer
from tcstatic.runtime.probes.ownership import Ownership
from tcstatic.runtime.probes.sensitivity import is_sensitive
from tcstatic.runtime.probes.stream import HEARD, Moment, Stream, listener
from tcstatic.runtime.probes.structure import Structure

KEPT: Final = 64  # records kept between two steps; more calls are counted, not kept
KEPT_IN_LOOP: Final = 8
_TRAINING: Final[Callable[[Any], bool]] = operator.attrgetter("training")
_RECORDED: Final[Callable[[Any], bool]] = operator.attrgetter("recorded")
_MODEL: Final[Callable[[Any], tuple[int, Any]]] = operator.attrgetter("number", "module")


@final
class Forward:
    """One outermost call of a model.

    `reached` turns true when a backward flows through it, and false again if no step can use that;
    `differentiated` stays. `given` is what it was given, where that is looked at."""

    __slots__ = (
        "after_loop",
        "alone",
        "differentiated",
        "given",
        "module",
        "moment",
        "number",
        "reached",
        "recorded",
        "sequence",
        "values",
        "where",
    )

    def __init__(
        self,
        number: int,
        module: Any,
        where: Location | None,
        sequence: int,
        moment: Moment,
        values: dict[str, Any],
        *,
        alone: bool = True,
    ) -> None:
        self.number = number
        self.alone = alone
        self.module = module
        self.where = where
        self.sequence = sequence
        self.moment = moment
        self.values = values
        self.given: list[Any] = []
        self.reached = self.recorded = self.after_loop = self.differentiated = False


# Stands for the call of any loss of torch's.
_CRITERION: Final = Forward(0, None, None, 0, (0, 0, False, None, None), {})
_criteria: dict[type, bool] = {}


def _is_criterion(kind: type) -> bool:
    """Tell whether a module is one of torch's own losses: no parameters, modes or user's code."""
    known = _criteria.get(kind)
    if known is None:
        own = kind.__module__ == "torch.nn.modules.loss"
        known = _criteria[kind] = own and "WithDistance" not in kind.__name__
    return known


@final
class Forwards:
    """Follows the calls of models of one process.

    State: `_open` the calls that have begun, as (id of the calling frame, record, None for a nested
    one, or the one of all criteria for a loss of torch's); `pending` the records since the last
    step; `_now_reached` those that a backward flowed through since the last call or step, by
    ``id``, none of them from before `_forgotten` in the order of events; `trained` module number ->
    sequence of its last training forward in train mode, `pairs` by which (optimizer, module);
    `_sensitive` caches mode-sensitive submodules; `discarded_in_eval` whether gradients were
    cleared unused that came through a model in eval mode.
    """

    def __init__(
        self,
        stream: Stream,
        structure: Structure,
        ownership: Ownership,
        backward_seen: Callable[[], None],
        backward_over: Callable[[], None],
        graphs: Graphs,
        trained: Callable[[Forward], None],
        gave: Callable[[Any, Any], None],
    ) -> None:
        self._gave = gave
        self._trained = trained
        self._stream = stream
        self._structure = structure
        self._ownership = ownership
        self._backward_seen = backward_seen
        self._backward_over = backward_over
        self._graphs = graphs
        self._open: list[tuple[int, Forward | None]] = []
        self._sensitive: dict[int, tuple[int, list[Any]]] = {}
        self.pending: list[Forward] = []
        self.trained: dict[int, int] = {}
        self.pairs: set[tuple[int, int]] = set()
        self._now_reached: dict[int, Forward] = {}
        self._forgotten = 0
        self.discarded_in_eval = False

    def begins(self, module: Any, where: Location | None, frame: Any) -> None:
        """A module is about to be called from a user's frame."""
        if self._open and self._is_nested(frame):
            self._open.append((id(frame), None))
            return
        self._backward_over()
        if self._now_reached:
            self._now_reached = {}
        if _is_criterion(type(module)):
            self._open.append((id(frame), _CRITERION))
            return
        stream = self._stream
        number = stream.registry.known(module)
        if not number:
            self._ownership.adopt(module)
            number = stream.registry.number(module)
        structure = self._structure
        if number in structure.wrappers:
            where = stream.locator.entered(frame, module) or where
        elif structure.within and (whole := structure.whole_of(module)) is not None:
            where = stream.locator.entered(frame, whole) or where
        alone = structure.alone(module, number)
        values = self._mode(module, number, alone=alone)
        stream.last = sequence = stream.last + 1
        record = Forward(number, module, where, sequence, stream.moment(), values, alone=alone)
        self._open.append((id(frame), record))

    def ends(
        self, output: Any, frame: Any, *, dropped: bool, where: Location | None = None
    ) -> None:
        """The call begun last in `frame` has returned; `dropped`: nobody looks at what."""
        if not self._open or self._open[-1][0] != id(frame):
            return
        _, record = self._open.pop()
        if record is None:
            return
        if record is _CRITERION:
            if self._graphs.due:
                self._graphs.note(output, where)
            self._criterion_ends(output)
            return
        if type(record.module).__name__ in LAYERS and self._graphs.due:
            self._graphs.note(output, where)
        record.values["output_dropped"] = dropped
        for node in nodes_in(output):
            record.recorded = True
            node.register_prehook(functools.partial(self._reached, record))
        if record.recorded:
            self._gave(record.module, output)
        if len(self.pending) < KEPT:
            self.pending.append(record)
        loops = self._stream.loops
        if loops and len(loops[-1].forwards) < KEPT_IN_LOOP:
            loops[-1].forwards.append(record)

    def open_in(self, frame: Any) -> Forward | None:
        """Return the call that began last, if it is one of a frame's."""
        return self._open[-1][1] if self._open and self._open[-1][0] == id(frame) else None

    def _criterion_ends(self, output: Any) -> None:
        """A loss of torch's is no model: it only shows a backward, where no model's call will."""
        for record in self.pending:
            if record.recorded and not record.reached:
                return
        for node in nodes_in(output):
            node.register_prehook(self._criterion_reached)

    def _criterion_reached(self, gradients: Any) -> None:
        self._backward_seen()

    def roots(self) -> dict[int, Any]:
        """Return the models that a backward has reached, or may reach, since the last step, by
        number."""
        return dict(map(_MODEL, filter(_RECORDED, self.pending)))

    def stepped(self, optimizer: Optimizer) -> None:
        """A step used the gradients of the models that its optimizer holds: they were trained."""
        kept = []
        pending = self.pending
        by_hand = not optimizer.ledger.touched  # master copies get their gradients by assignment
        for record in pending:
            if not record.reached:
                if record.after_loop:
                    self._tell(record, "evaluate", ())
                else:
                    kept.append(record)
            elif by_hand or self._holds(optimizer, record):
                pair = (optimizer.number, record.number)
                record.values["trained_by_this"] = pair in self.pairs
                self._tell(record, "train", pending)
                self._trained(record)
                if record.values["training"]:
                    self.trained[record.number] = record.sequence
                    self.pairs.add(pair)
            else:
                kept.append(record)
        self.pending = kept[-KEPT // 2 :]
        self._now_reached = {}

    def _holds(self, optimizer: Optimizer, record: Forward) -> bool:
        """Tell whether an optimizer whose step was just read holds a parameter of a model."""
        known = optimizer.models.get(record.number)
        if known is None:
            held = set(map(id, optimizer.parameters()))
            mine = self._ownership.parameters(record.module)
            known = any(id(parameter) in held for _, parameter in mine)
            optimizer.models[record.number] = known
        return known

    def unreached(self) -> None:
        """What flowed through the models just now was not a backward that a step will use."""
        for record in self._now_reached.values():
            record.reached = False
        self._now_reached = {}

    def called_for(self, optimizer: Optimizer) -> tuple[bool, bool]:
        """Return whether a model of `optimizer` was called since the last step, and whether with
        a graph that no backward has used."""
        mine = [record for record in self.pending if self._holds(optimizer, record)]
        return bool(mine), any(record.recorded and not record.reached for record in mine)

    def tell_unrecorded(self, optimizer: Optimizer) -> bool:
        """Name the last call of a model that `optimizer` should train, if no call of it since the
        last step has a graph."""
        mine = [record for record in self.pending if self._holds(optimizer, record)]
        if not mine or any(record.recorded for record in mine):
            return False
        subjects = {HEARD: (listener("optimizer", optimizer.number),)}
        self._stream.tell(
            self._stream.make("model.forward", mine[-1].where, subjects, {"stage": "unknown"})
        )
        return True

    def discarded(self) -> None:
        """Gradients were cleared: the backward that made them served no step."""
        lost = [record for record in self.pending if record.reached]
        self.discarded_in_eval |= not all([record.values["training"] for record in lost])
        self.pending = [record for record in self.pending if not record.reached]

    def loop_ended(self, loop: Loop) -> None:
        """A loop without a step is over: over a loader, it was an evaluation."""
        records, loop.forwards = loop.forwards, []
        if loop.sliced:  # strides are no proof of batches
            records = [record for record in records if not record.recorded]
        if loop.steps or loop.backwards or not self._may_evaluate(loop):
            return
        waiting = {id(record) for record in self.pending}
        for record in records:
            if not record.reached:
                record.after_loop = True  # decided at the next step: a sum may still be used
                if id(record) not in waiting:
                    self.pending.append(record)

    def _may_evaluate(self, loop: Loop) -> bool:
        """Tell whether a loop without a step may be an evaluation.

        One over a list of batches, or over slices, in a loop that steps once per turn, is part of
        that turn: chunks of its batch, or its tasks.
        """
        if not loop.listed and not loop.sliced:
            return loop.loaded
        around = self._stream.loops[-1] if self._stream.loops else None
        return around is None or around.steps > around.index + 1

    def finish(self) -> None:
        """The run ends: what waited for a backward will get none."""
        for record in self.pending:
            if record.after_loop and not record.reached:
                self._tell(record, "evaluate", ())
        self.pending = [record for record in self.pending if not record.after_loop]

    def forget(self) -> None:
        """Steps go by unwatched: drop what was seen."""
        self.pending = []
        self._now_reached = {}
        self._forgotten = self._stream.last
        self._open = []

    def _tell(self, record: Forward, stage: str, called: Sequence[Forward]) -> None:
        values = record.values
        values["records_graph"] = record.recorded and not record.differentiated
        numbers: tuple[int, ...] = (record.number,)
        whole = self._structure.whole_of(record.module) if self._structure.within else None
        if whole is not None and stage == "train":
            number = self._stream.registry.number(whole)
            self._tell_wrappers(number, called, values)
            numbers = (number,) if values["bypasses"] else numbers
        elif record.alone and record.number not in self._structure.wrappers:
            values["wrapped"] = values["bypasses"] = False
        else:
            numbers = (*numbers, *self._structure.related(record.module)[1:])
            times = self._structure.wrapped_times(record.module)
            if times:
                values["wrappers"] = times
            self._tell_wrappers(record.number, called, values)
        event = self._stream.make(
            "model.forward",
            record.where,
            {"model": numbers},
            values,
            self._stream.context_at(record.moment, stage=stage),
            sequence=record.sequence,
            step=record.moment[0],
            epoch=record.moment[4],
        )
        self._stream.tell(event)

    def _tell_wrappers(
        self, number: int, called: Sequence[Forward], values: dict[str, Any]
    ) -> None:
        """Tell whether a model is wrapped, and whether its wrapper was `called` instead."""
        reached = {other.number for other in called if other.reached}
        wrappers = self._structure.wrappers.get(number, [])
        live = [n for n in wrappers if self._stream.registry.thing(n) is not None]
        live = [n for n in live if n in self._structure.replicating]
        values["wrapped"] = bool(live)
        values["bypasses"] = bool(live) and not any(n in reached for n in live)

    def _mode(self, module: Any, number: int, *, alone: bool) -> dict[str, Any]:
        known = self._sensitive.get(number)
        if known is None or known[0] != self._ownership.version:
            known = (self._ownership.version, [m for m in module.modules() if is_sensitive(m)])
            self._sensitive[number] = known
        sensitive, training = known[1], bool(module.training)
        modes = self._structure.modes
        trained, called = self.trained.get(number, 0), modes.get(number, 0)
        if not alone:
            for related in self._structure.related(module):
                trained = max(trained, self.trained.get(related, 0))
                called = max(called, modes.get(related, 0))
        return {
            "type": type(module).__name__,
            "training": training,
            "sensitive": len(sensitive),
            "sensitive_in_train": len(list(filter(_TRAINING, sensitive))) if sensitive else 0,
            "trained_before": trained > 0,
            "left_in_train": training and trained > 0 and called < trained,
        }

    def _reached(self, record: Forward, gradients: Any) -> None:
        """A gradient reached the output of a call."""
        record.reached = record.differentiated = True
        if record.sequence > self._forgotten:
            self._now_reached[id(record)] = record
        self._backward_seen()

    def _is_nested(self, frame: Any) -> bool:
        """Tell whether a call that begins in `frame` is part of one that has not ended."""
        self._drop_abandoned(frame)
        return bool(self._open) and _within_call(frame, self._open[-1][0])

    def _drop_abandoned(self, frame: Any) -> None:
        """Forget calls that ended by an exception: their frames are no callers of this one."""
        if self._open[-1][0] == id(frame):
            return
        callers = set()
        while frame is not None:
            callers.add(id(frame))
            frame = frame.f_back
        while self._open and self._open[-1][0] not in callers:
            self._open.pop()


def _within_call(frame: Any, caller: int) -> bool:
    """Tell whether a module's call lies between `frame` and the frame of an open call: else this
    one computes an argument of it, as in ``criterion(model(x), y)``."""
    while frame is not None and id(frame) != caller:
        if frame.f_code.co_name == "_call_impl":
            return True
        frame = frame.f_back
    return False
