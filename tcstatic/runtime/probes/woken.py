"""Parts that were frozen and put in eval mode, and that train() of the whole wakes again."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any, Final, final

from tcstatic.model import Location
from tcstatic.runtime.probes.stream import Stream

_LEAST_STEPS: Final = 3
_MOST_KNOWN: Final = 512


@final
@dataclass(slots=True)
class _Part:
    """A part in eval mode: `woken_at` where the whole was put in train mode first since, in which
    `step`, and the versions of its statistics then; whether they had `moved` when last seen."""

    module: weakref.ref[Any]
    whole: str = ""
    woken_at: Location | None = None
    step: int = 0
    versions: tuple[int, ...] = ()
    title: str = ""
    moved: bool = False


@final
class Woken:
    """Follows train() and eval() of one process. State: `_parts` by number, those that were put in
    eval mode before the first step, and not in train mode since by a call of their own."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._parts: dict[int, _Part] = {}

    def called(self, module: Any, where: Location | None) -> None:
        """A module was put in train mode, or in eval mode, by a call on itself."""
        number = self._stream.registry.number(module)
        if module.training:
            self._parts.pop(number, None)
            if self._parts:
                self._wake(module, where)
        elif not self._stream.step and len(self._parts) < _MOST_KNOWN and _statistics(module):
            self._parts.setdefault(number, _Part(weakref.ref(module)))

    def _wake(self, whole: Any, where: Location | None) -> None:
        within = set(map(id, whole.modules()))
        for one in self._parts.values():
            part = one.module()
            if part is None or id(part) not in within or one.woken_at is not None:
                continue
            if part.training:
                one.woken_at, one.step = where, self._stream.step
                one.whole, one.versions = type(whole).__name__, _versions(part)

    def look(self) -> None:
        """See whether statistics have changed since their part was woken."""
        for one in self._parts.values():
            part = one.module()
            if part is not None and one.woken_at is not None:
                trained = self._stream.step - one.step >= _LEAST_STEPS
                one.title = type(part).__name__
                one.moved = trained and _is_kept(part) and _versions(part) != one.versions

    def settle(self) -> None:
        """The run ends: tell of what was seen."""
        for number, one in self._parts.items():
            if one.moved:
                values = {"type": one.whole, "woken": True, "part": one.title}
                self._stream.tell_of_run(one.woken_at, {"model": (number,)}, values)


def _is_kept(module: Any) -> bool:
    """Whether a part is to stay: nothing of it is to be trained."""
    parameters = list(module.parameters())
    return bool(parameters) and not any(one.requires_grad for one in parameters)


def _statistics(module: Any) -> list[Any]:
    """How many batches each layer has seen; what it keeps of them changes without a new version."""
    found = (getattr(one, "num_batches_tracked", None) for one in module.modules())
    return [one for one in found if one is not None]


def _versions(module: Any) -> tuple[int, ...]:
    return tuple(0 if one.is_inference() else one._version for one in _statistics(module))
