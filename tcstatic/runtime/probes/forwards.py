"""Calls of models, seen at their call sites; whether they train is known from what follows.

Torch's global forward hooks are not used: they change the frames of a traceback that passes
through a module, and turn off torch's own fast path for every module of the program.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final, final

from tcstatic.model import Location
from tcstatic.runtime.probes.loops import Loop
from tcstatic.runtime.probes.ownership import Ownership
from tcstatic.runtime.probes.stream import Stream
from tcstatic.runtime.probes.structure import Structure

KEPT: Final = 64  # records kept between two steps; more calls are counted, not kept
KEPT_IN_LOOP: Final = 8


@final
class Forward:
    """One outermost call of a model. `reached` turns true when a backward flows through it."""

    __slots__ = (
        "context",
        "epoch",
        "module",
        "number",
        "reached",
        "recorded",
        "sequence",
        "step",
        "values",
        "where",
    )

    def __init__(self, number: int, module: Any, where: Location | None) -> None:
        self.number = number
        self.module = module
        self.where = where
        self.reached = False
        self.recorded = False
        self.values: dict[str, Any] = {}
        self.context: Any = None
        self.sequence = 0
        self.step = 0
        self.epoch: int | None = None


@final
class Forwards:
    """Follows the calls of models of one process.

    State: `_open` the calls that have begun, as (id of the calling frame, record or None for a
    nested one); `pending` the records since the last step; `trained` module number -> sequence of
    its last training forward in train mode; `_sensitive` caches mode-sensitive submodules.
    """

    def __init__(
        self,
        stream: Stream,
        structure: Structure,
        ownership: Ownership,
        backward_seen: Callable[[], None],
    ) -> None:
        self._stream = stream
        self._structure = structure
        self._ownership = ownership
        self._backward_seen = backward_seen
        self._open: list[tuple[int, Forward | None]] = []
        self._sensitive: dict[int, tuple[int, list[Any]]] = {}
        self.pending: list[Forward] = []
        self.trained: dict[int, int] = {}

    def begins(self, module: Any, where: Location | None, frame: Any) -> None:
        """A module is about to be called from a user's frame."""
        self._drop_abandoned(frame)
        if self._open:
            self._open.append((id(frame), None))
            return
        stream = self._stream
        number = stream.registry.number(module)
        if number not in self._structure.modes and not stream.registry.known(module):
            self._ownership.adopt(module)
        record = Forward(number, module, where)
        record.sequence = stream.sequence()
        record.step = stream.step
        record.epoch = stream.epoch
        record.values = self._mode(module, number)
        record.context = stream.context()
        self._open.append((id(frame), record))

    def ends(self, output: Any, frame: Any) -> None:
        """The call begun last in `frame` has returned."""
        if not self._open or self._open[-1][0] != id(frame):
            return
        _, record = self._open.pop()
        if record is None:
            return
        for node in _graph_nodes(output):
            record.recorded = True
            node.register_prehook(self._reached(record))
        if len(self.pending) < KEPT:
            self.pending.append(record)
        if self._stream.loops and len(self._stream.loops[-1].forwards) < KEPT_IN_LOOP:
            self._stream.loops[-1].forwards.append(record)

    def roots(self) -> list[Any]:
        """Return the models that a backward has reached, or may reach, since the last step."""
        found: dict[int, Any] = {}
        for record in self.pending:
            if record.recorded:
                found[record.number] = record.module
        return list(found.values())

    def stepped(self) -> None:
        """A step used the gradients: what a backward reached was training."""
        kept = []
        called = {record.number for record in self.pending if record.reached}
        for record in self.pending:
            if not record.reached:
                kept.append(record)
                continue
            self._tell(record, "train", called)
            if record.values["training"]:
                self.trained[record.number] = record.sequence
        self.pending = kept[-KEPT // 2 :]

    def discarded(self) -> None:
        """Gradients were cleared: the backward that made them served no step."""
        self.pending = [record for record in self.pending if not record.reached]

    def loop_ended(self, loop: Loop) -> None:
        """A loop without a step is over: over a loader, it was an evaluation."""
        records = [record for record in loop.forwards if not record.reached]
        loop.forwards = []
        if loop.steps or loop.backwards or not loop.loaded:
            return
        for record in records:
            record.values["loop"] = f"{loop.where.file}:{loop.where.line}"
            self._tell(record, "evaluate", set())
        gone = {id(record) for record in records}
        self.pending = [record for record in self.pending if id(record) not in gone]

    def forget(self) -> None:
        """Steps go by unwatched: drop what was seen."""
        self.pending = []
        self._open = []

    def _tell(self, record: Forward, stage: str, called: set[int]) -> None:
        values = {**record.values, "records_graph": record.recorded}
        wrappers = self._structure.wrappers.get(record.number, [])
        live = [n for n in wrappers if self._stream.registry.thing(n) is not None]
        values["wrapped"] = bool(live)
        values["bypasses"] = bool(live) and not any(n in called for n in live)
        fields = {**record.context.fields, "stage": stage, **values}
        event = self._stream.make(
            "model.forward",
            record.where,
            {"model": (record.number, *self._structure.related(record.module)[1:])},
            values,
            type(record.context)(fields),
            sequence=record.sequence,
            step=record.step,
            epoch=record.epoch,
        )
        self._stream.tell(event)

    def _mode(self, module: Any, number: int) -> dict[str, Any]:
        known = self._sensitive.get(number)
        if known is None or known[0] != self._ownership.version:
            known = (self._ownership.version, [m for m in module.modules() if _sensitive(m)])
            self._sensitive[number] = known
        active = sum(1 for part in known[1] if part.training)
        related = self._structure.related(module)
        trained = max((self.trained.get(n, 0) for n in related), default=0)
        called = max((self._structure.modes.get(n, 0) for n in related), default=0)
        return {
            "type": type(module).__name__,
            "training": bool(module.training),
            "sensitive": len(known[1]),
            "sensitive_in_train": active,
            "trained_before": trained > 0,
            "left_in_train": bool(module.training) and trained > 0 and called < trained,
        }

    def _reached(self, record: Forward) -> Callable[[Any], None]:
        seen = self._backward_seen

        def prehook(gradients: Any) -> None:
            record.reached = True
            seen()

        return prehook

    def _drop_abandoned(self, frame: Any) -> None:
        """Forget calls that ended by an exception: their frames are no callers of this one."""
        if not self._open:
            return
        callers = set()
        while frame is not None:
            callers.add(id(frame))
            frame = frame.f_back
        while self._open and self._open[-1][0] not in callers:
            self._open.pop()


def _sensitive(module: Any) -> bool:
    """Tell whether a module computes something else in eval mode than in train mode."""
    if getattr(module, "p", 0) and "Dropout" in type(module).__name__:
        return True
    return bool(getattr(module, "track_running_stats", False)) and "Norm" in type(module).__name__


def _graph_nodes(output: Any, limit: int = 8) -> list[Any]:
    """Return the autograd nodes of the tensors in a model's output."""
    torch: Any = sys.modules["torch"]
    if torch._C._functorch.peek_interpreter_stack() is not None:
        return []
    found: list[Any] = []
    todo = [output]
    while todo and len(found) < limit:
        item = todo.pop()
        if isinstance(item, torch.Tensor):
            if item.grad_fn is not None:
                found.append(item.grad_fn)
        elif isinstance(item, dict):
            todo.extend(list(item.values())[:limit])
        elif isinstance(item, tuple | list):
            todo.extend(item[:limit])
        elif hasattr(item, "__dict__") and not callable(item):
            todo.extend(list(vars(item).values())[:limit])
    return found
