"""Parameters that were to be trained, by all that shows, and that no optimizer holds: those that
were unfrozen once the optimizer was there, and those of the module that gives the loss."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

from tcstatic.model import Location
from tcstatic.runtime.probes import measure
from tcstatic.runtime.probes.initials import Initials
from tcstatic.runtime.probes.ledger import VERSION
from tcstatic.runtime.probes.optimizers import Optimizer
from tcstatic.runtime.probes.ownership import Ownership
from tcstatic.runtime.probes.roles import TENSOR, role_of
from tcstatic.runtime.probes.stream import Stream

_FIRST_LOOK: Final = 3  # steps after which they are looked at; then each time twice as late
_MOST: Final = 4_096
_NAMED: Final = 3
_LAYERS: Final = frozenset({"Linear", "Embedding", "Bilinear"})
UNFROZEN: Final = "unfrozen_left"
OF_LOSS: Final = "loss_left"


@final
@dataclass(slots=True)
class _Waiting:
    """A parameter, why it is looked at, where that began, and what the last look saw of it; `left`
    the optimizer that steps while its gradients are used by nobody."""

    parameter: weakref.ref[Any]
    why: str
    where: Location | None
    name: str
    owner: str
    module: int
    version: int = -1
    held: float = 0.0
    gradient: tuple[weakref.ref[Any] | None, int] = (None, -1)
    left: Optimizer | None = None


@final
class Unheld:
    """Follows them through all steps, watched or not, for as long as no optimizer holds them.

    State: `waiting` by the parameter's number; `_cleared` the numbers of those that somebody holds,
    or has written to, `_trained` those of the modules of such; `_asked` the modules of which the
    loss was taken; `_steps` how many there were, `_since` when the last one began to wait, `_due`
    when they are looked at, `_known` the optimizers that have stepped while any waited.
    """

    def __init__(self, stream: Stream, ownership: Ownership, initials: Initials) -> None:
        self._stream = stream
        self._ownership = ownership
        self._initials = initials
        self.waiting: dict[int, _Waiting] = {}
        self._cleared: set[int] = set()
        self._trained: set[int] = set()
        self._asked: weakref.WeakSet[Any] = weakref.WeakSet()
        self._steps = self._since = 0
        self._due = _FIRST_LOOK
        self._known: set[int] = set()

    def froze(self, parameters: Iterable[Any], where: Location, everyone: Sequence[Any]) -> None:
        """It is about to be told whether these are to be trained."""
        if all(one.manual for one in everyone):
            return
        for one in parameters:
            if not one.requires_grad and self._ownership.had_owner(one):
                self._wait(one, UNFROZEN, where)

    def gave(self, module: Any, output: Any) -> None:
        """The call of a module has given something that gradients may come from."""
        first = output[0] if isinstance(output, tuple) and output else output
        if role_of(first) != TENSOR or first.dim() or module in self._asked:
            return
        if len(self._asked) >= _MOST:
            return
        self._asked.add(module)
        parameters = [one for one in module.parameters() if one.requires_grad]
        if _is_plain(module) and not any(map(self._initials.was_loaded, parameters)):
            for one in parameters:
                self._wait(one, OF_LOSS, None, module)

    def _wait(
        self, parameter: Any, why: str, where: Location | None, module: Any | None = None
    ) -> None:
        number = self._stream.registry.number(parameter)
        if number in self.waiting:
            self.waiting[number].where = where or self.waiting[number].where
        if number in self._cleared or number in self.waiting or len(self.waiting) >= _MOST:
            return
        if not self.waiting:
            self._known = set()
        self._since = self._steps
        self._due = self._steps + _FIRST_LOOK
        whole, _, name = self._ownership.name_of(parameter).partition(".")
        owner, known = whole, 0
        if module is not None:
            owner, known = type(module).__name__, self._stream.registry.number(module)
        one = _Waiting(weakref.ref(parameter), why, where, name, owner, known)
        self.waiting[number] = one

    def stepped(self, optimizer: Optimizer, live: Callable[[], Sequence[Optimizer]]) -> None:
        """A step is done: while some wait, look now and then, and where an optimizer is new."""
        if not self.waiting:
            return
        self._steps += 1
        due = self._steps >= self._due
        if due or optimizer.number not in self._known:
            self._known.add(optimizer.number)
            self._drop_held(live())
        if due:
            self._due = self._steps + (self._steps - self._since)
            self._look(optimizer)

    def _drop_held(self, everyone: Sequence[Optimizer]) -> None:
        known = self._stream.registry.known
        for optimizer in everyone:
            for parameter in optimizer.parameters():
                self._drop(known(parameter))

    def _drop(self, number: int) -> None:
        one = self.waiting.pop(number, None)
        if one is not None:
            self._cleared.add(number)
            self._trained.add(one.module)

    def _look(self, optimizer: Optimizer) -> None:
        """See which of them were given gradients since the last look, and are what they were."""
        alive = [
            (n, one, p) for n, one in self.waiting.items() if (p := one.parameter()) is not None
        ]
        readable = [
            (n, one, p) for n, one, p in alive if measure.readable(p) and not p.is_inference()
        ]
        held = measure.digests([p for _, _, p in readable]).values() if readable else []
        for (number, one, parameter), holds in zip(readable, held, strict=True):
            version, gradient = VERSION(parameter), parameter.grad
            if one.version not in (-1, version) or (one.version >= 0 and one.held != holds):
                self._drop(number)
                continue
            fresh = one.version >= 0 and parameter.requires_grad and _is_new(gradient, one.gradient)
            one.left = optimizer if fresh else None
            one.version, one.held = version, holds
            one.gradient = (None, -1)
            if gradient is not None:
                one.gradient = (weakref.ref(gradient), gradient._version)

    def settle(self) -> None:
        """The run ends: tell of those that are left."""
        found: dict[tuple[str, str, int], list[int]] = {}
        for number, one in self.waiting.items():
            if one.left is not None and (not one.module or one.module not in self._trained):
                owner = one.owner if one.why == OF_LOSS else ""
                found.setdefault((one.why, owner, one.left.number), []).append(number)
        for numbers in found.values():
            self._tell(numbers)

    def _tell(self, numbers: list[int]) -> None:
        those = [self.waiting[number] for number in numbers]
        first, optimizer = those[0], those[0].left
        if optimizer is None:
            return
        place = first.where
        names = [f"{one.owner}.{one.name}" for one in those]
        values = {
            first.why: True,
            "type": first.owner,
            "names": ", ".join(names[:_NAMED] + ["..."] * (len(names) > _NAMED)),
            "count": len(those),
            "unfrozen_at": f"{place.file}:{place.line}" if place else "",
        }
        subjects = {"optimizer": (optimizer.number,), "parameter": tuple(numbers)}
        self._stream.tell_of_run(optimizer.where, subjects, values)


def _is_new(gradient: Any | None, before: tuple[weakref.ref[Any] | None, int]) -> bool:
    """Whether a gradient was written to since it was looked at last."""
    known, version = before
    if gradient is None or (known is not None and known() is gradient):
        return gradient is not None and bool(gradient._version != version)
    return True


def _is_plain(module: Any) -> bool:
    """Whether a module holds parameters of its own, or in single layers, and no network."""
    inner = [one for one in module.modules() if one is not module]
    inner = [one for one in inner if any(True for _ in one.parameters())]
    return all(type(one).__name__ in _LAYERS for one in inner) and len(inner) <= 2
