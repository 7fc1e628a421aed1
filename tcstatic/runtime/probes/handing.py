"""What the program's own functions (`torch.autograd.Function`) hand back in one backward."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, final

from tcstatic.model import Location
from tcstatic.runtime.probes.locate import Locator
from tcstatic.runtime.probes.nodes import walk
from tcstatic.runtime.probes.signatures import returning, unwrapped

_MOST_NODES: Final = 20_000
_MOST_WATCHED: Final = 1_000
_NAMES: Final = ("backward", "vjp")  # torch takes either


@final
@dataclass(frozen=True, slots=True)
class Withheld:
    """A backward that handed nothing back, or zeros, for a value that `behind` was made into."""

    where: Location
    function: str
    behind: int


@final
class Handing:
    """Looks at the backward of each function of the program's own, in the graphs it is shown.

    State: `withheld` what was seen, each once, until it is `over`; `_written` where each
    function's backward is, by its class.
    """

    def __init__(self, locator: Locator) -> None:
        self._locator = locator
        self.withheld: dict[Withheld, None] = {}
        self.over = False
        self._written: dict[type, Location | None] = {}

    def watch(self, root: Any, behind: Callable[[Any], int]) -> None:
        """A backward is about to begin at a node; `behind` tells what others are made of."""
        watched = 0
        for node in walk(root, _MOST_NODES):
            kind: Any = getattr(type(node), "_forward_cls", None)
            where = self._place(kind) if kind is not None else None
            if where is None or watched >= _MOST_WATCHED:
                continue
            watched += 1
            below = [0 if one is None else behind(one) for one, _ in node.next_functions]
            if any(below):
                node.register_hook(self._hook(where, kind.__qualname__, below))

    def _hook(self, where: Location, function: str, below: list[int]) -> Callable[..., None]:
        def handed(inputs: Any, outputs: Any) -> None:
            if self.over:  # the graph is used once more
                return
            try:
                lost = 0
                for gradient, one in zip(inputs, below, strict=False):
                    if one and (gradient is None or _is_flat(gradient, outputs)):
                        lost |= one
                if lost and any(one is not None for one in outputs):
                    self.withheld[Withheld(where, function, lost)] = None
            except Exception:
                self.withheld = {}

        return handed

    def _place(self, kind: Any) -> Location | None:
        """Where the backward of a function says what it hands back."""
        if kind not in self._written:
            held = [getattr(kind, name, None) for name in _NAMES if name in vars(kind)]
            plain = unwrapped(held[0]) if held else None
            code = getattr(plain, "__code__", None)
            self._written[kind] = None
            if code is not None and self._locator.is_users(code.co_filename):
                line, file = returning(code), sys.intern(code.co_filename)
                place = self._locator.relative(file)
                self._written[kind] = Location(place, line, 1, line, 1, code.co_qualname)
        return self._written[kind]


def _is_flat(gradient: Any, outputs: Any) -> bool:
    """Whether a gradient is all zeros and those that came in were not; to ask a device would be to
    wait for it."""
    if gradient.device.type != "cpu" or bool(gradient.any()):
        return False
    return any(one is not None and one.device.type == "cpu" and bool(one.any()) for one in outputs)
