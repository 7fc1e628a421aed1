"""Losses that autocast has computed in float16, and whether anything scales them."""

from __future__ import annotations

import sys
from typing import Any, Final, final

from tcstatic.model import Location
from tcstatic.runtime.probes.nodes import kind_of
from tcstatic.runtime.probes.stream import HEARD, Stream, listener

_MOST_NODES: Final = 64
_MOST_READ: Final = 8  # graphs without a cast to float16, after which none is expected
# What may stand between a loss and the multiplication that scales it.
_BETWEEN: Final = frozenset({"Div", "ToCopy", "Neg"})


@final
class Halves:
    """Tells of gradients that float16 cannot hold, from the graphs of losses.

    State: `_since` the step in which a loss was first seen that nothing scales; `_read` how many
    graphs were read; `_off` where a scaler was made that is switched off; `_settled` whether there
    is nothing more to tell.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._since: int | None = None
        self._read = 0
        self._settled = False
        self._off: Location | None = None

    def scaler_made(self, scaler: Any, where: Location) -> None:
        """A loss scaler was made; one that is switched off scales nothing."""
        if not scaler.is_enabled():
            self._off = where

    def read(self, loss: Any, where: Location | None) -> None:
        """The backward of a loss begins. It is told the second time, once a step lies between."""
        if self._settled or loss.grad_fn is None:
            return
        stream = self._stream
        self._read += 1
        if stream.loss_scaled or _is_multiplied(loss.grad_fn):
            self._settled = True
        elif not _casts_parameters(loss.grad_fn):
            self._settled = self._read >= _MOST_READ and self._since is None
        elif self._since is None:
            self._since = stream.step
        elif stream.step > self._since:
            self._settled = True
            values = {"underflows": True, "underflows_since": self._since}
            heard = {HEARD: (listener("format", 0),)}
            if self._off is not None:
                said = {"operation": "a loss scaler that is switched off"}
                stream.tell(stream.make("call", self._off, heard, said))
            stream.tell(stream.make("state", where, heard, values))


def _is_multiplied(node: Any) -> bool:
    """Whether what backward is called on was multiplied by something last, as scaling does."""
    while kind_of(node) in _BETWEEN and node.next_functions[0][0] is not None:
        node = node.next_functions[0][0]
    return kind_of(node) == "Mul"


def _casts_parameters(root: Any) -> bool:
    """Whether a parameter in float32 is cast to float16 near the end of a graph."""
    torch: Any = sys.modules["torch"]
    waiting, seen = [root], {root}
    while waiting and len(seen) < _MOST_NODES:
        node = waiting.pop(0)
        made = getattr(node, "_input_metadata", ())
        cast = kind_of(node) == "ToCopy" and any(one.dtype == torch.float16 for one in made)
        for below, _ in node.next_functions:
            if below is None or below in seen:
                continue
            variable = getattr(below, "variable", None)
            if cast and variable is not None and variable.dtype == torch.float32:
                return True
            seen.add(below)
            waiting.append(below)
    return False
