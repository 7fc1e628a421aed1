"""Which function has given a tensor: through views of it, containers, and what only moves data.

Nothing is kept alive for it, and no data is read: a tensor is known by its identity, and a view by
the tensor that it is a view of.
"""

from __future__ import annotations

import sys
import weakref
from typing import Any, Final, final

from tcstatic.runtime.probes.holdings import unseen
from tcstatic.runtime.probes.roles import TENSOR
from tcstatic.runtime.probes.summaries import MOST_KEYS, brief_and_role

MOST_KNOWN: Final = 32_768  # tensors alive at once whose source is told: about 6 MiB
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
    known source may have one."""

    __slots__ = ("_known", "lost")

    def __init__(self, *, lost: bool = False) -> None:
        self._known: dict[int, tuple[weakref.ref[Any], str]] = {}
        self.lost = lost

    @property
    def any_known(self) -> bool:
        """Whether any tensor has a source."""
        return bool(self._known)

    def of(self, tensor: Any) -> str:
        """The function that a tensor comes from; '' where it comes from none, UNKNOWN where that
        cannot be told."""
        found = self._at(tensor)
        if not found and self._known:
            base = _base(tensor)
            found = self._at(base) if base is not None else ""
        return found or (UNKNOWN if self.lost else "")

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
        if brief_and_role(part)[1] != TENSOR:
            return
        if len(self._known) >= MOST_KNOWN:
            self._known = {k: one for k, one in self._known.items() if one[0]() is not None}
            if len(self._known) >= MOST_KNOWN // 2:
                self._known = {}
                self.lost = True
        self._known[id(part)] = (weakref.ref(part), said)

    def _at(self, tensor: Any) -> str:
        known = self._known.get(id(tensor))
        return known[1] if known is not None and known[0]() is tensor else ""


def _base(tensor: Any) -> Any:
    """What a tensor is a view of; of a subclass, attributes may be code of the user's."""
    torch: Any = sys.modules["torch"]
    if type(tensor) not in (torch.Tensor, torch.nn.Parameter):
        return None
    try:
        with unseen():
            return tensor._base
    except RuntimeError:  # of what functorch wraps
        return None
