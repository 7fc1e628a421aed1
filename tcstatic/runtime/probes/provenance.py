"""Which function has given a tensor: through views of it, containers, and what only moves data.

Nothing is kept alive for it, and no data is read: a tensor is known by its identity, and a view by
the tensor that it is a view of.
"""

from __future__ import annotations

import functools
import sys
import weakref
from collections.abc import Callable
from typing import Any, Final, final

from tcstatic.runtime.probes.holdings import unseen
from tcstatic.runtime.probes.roles import TENSOR
from tcstatic.runtime.probes.summaries import MOST_KEYS, brief_and_role

MOST_KNOWN: Final = 32_768  # tensors alive at once whose source is told: about 6 MiB
LEAST_ROOM: Final = 512  # few enough to stay in a cache
MOST_PARTS: Final = 8  # of a container
UNKNOWN: Final = "?"
# What gives the data that it is given, in another place, order or type.
MOVING: Final = frozenset(
    "stack cat concat vstack hstack to cuda cpu half float double bfloat16 clone contiguous "
    "detach".split()
)


@final
class Provenance:
    """State: `_known` by ``id`` of a tensor, with a weak reference; `lost` once a tensor without a
    known source may have one; `_room` for how many there is, before the dead are looked for."""

    __slots__ = ("_known", "_room", "lost")

    def __init__(self, *, lost: bool = False) -> None:
        self._known: dict[int, tuple[weakref.ref[Any], str]] = {}
        self.lost = lost
        self._room = LEAST_ROOM

    @property
    def any_known(self) -> bool:
        """Whether any tensor has a source."""
        return bool(self._known)

    def of(self, tensor: Any) -> str:
        """The function that a tensor comes from; '' where it comes from none, UNKNOWN where that
        cannot be told."""
        everything = self._known
        known = everything.get(id(tensor))
        if known is not None and known[0]() is tensor:
            return known[1]
        base = _base(tensor) if everything else None
        if base is not None:
            known = everything.get(id(base))
            if known is not None and known[0]() is base:
                return known[1]
        return UNKNOWN if self.lost else ""

    def of_all(self, parts: list[Any] | tuple[Any, ...]) -> str:
        """The one function that all of the first tensors of a list come from."""
        found = ""
        for part in parts[:MOST_PARTS]:
            if brief_and_role(part)[1] != TENSOR:
                return ""
            said = self.of(part)
            if not said or (found and said != found):
                return ""
            found = said
        return found

    def of_any(self, value: Any) -> str:
        """The function that a tensor, or a list of them, comes from."""
        if type(value) in (list, tuple):
            return self.of_all(value)
        return self.of(value) if brief_and_role(value)[1] == TENSOR else ""

    def remember(self, value: Any, said: str, *, apart: bool = False) -> None:
        """Keep which function a value comes from; `apart`, which of its parts as well."""
        if type(value) in (tuple, list):
            for index, part in enumerate(value[:MOST_PARTS]):
                self._keep(part, f"{said}[{index}]" if apart else said)
        elif type(value) is dict:
            for index, (key, part) in enumerate(value.items()):
                if index >= MOST_KEYS:
                    break
                named = apart and type(key) is str and key.isidentifier()
                self._keep(part, f"{said}[{key}]" if named else said)
        else:
            self._keep(value, said)

    def _keep(self, part: Any, said: str) -> None:
        if brief_and_role(part)[1] == TENSOR:
            self.keep(part, said)

    def keep(self, tensor: Any, said: str) -> None:
        """As `remember`, of one tensor."""
        if len(self._known) >= self._room:
            self._forget_dead()
        self._known[id(tensor)] = (weakref.ref(tensor), said)

    def _forget_dead(self) -> None:
        full = len(self._known) >= MOST_KNOWN
        self._known = {k: one for k, one in self._known.items() if one[0]() is not None}
        if full and len(self._known) >= MOST_KNOWN // 2:
            self._known = {}
            self.lost = True
        self._room = min(max(LEAST_ROOM, 2 * len(self._known)), MOST_KNOWN)


def _base(tensor: Any) -> Any:
    """What a tensor is a view of; of a subclass, attributes may be code of the user's."""
    plain, parameter, watched = _torch()
    kind = type(tensor)
    if kind is not plain and kind is not parameter:
        return None
    try:
        if not watched():
            return tensor._base
        with unseen():
            return tensor._base
    except RuntimeError:  # of what functorch wraps
        return None


@functools.cache
def _torch() -> tuple[type, type, Callable[[], bool]]:
    torch: Any = sys.modules["torch"]
    return torch.Tensor, torch.nn.Parameter, torch._C._is_torch_function_mode_enabled
