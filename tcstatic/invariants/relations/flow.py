"""`flow`: a value from one operation reaches, or must not reach, an argument of another.

``{from: [softmax], into: [cross_entropy.input], through: [shape]}``: no value that `from` makes
arrives at `into` through operations of the families named. An operation is named as torch names it
(``softmax``, ``detach``), whether it is written as a function, a method or a module; `into` is an
operation and one of its arguments, by name or position, or an event kind and a position
(``loss.backward.0``).

While training runs, the autograd graph of a loss tells what made its input, past changes of shape:
each ``loss.forward`` event names the loss and what it was `made_by`. What has another argument or
family in it is decided by the source alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar, Final, final

from tcstatic.invariants.relations.base import Params, check_keys, observed, register
from tcstatic.invariants.relations.reading import Reads, exactly
from tcstatic.model import Event, Hypothesis, Needs, Observation, Vocabulary

FAMILIES: Final = ("shape", "arithmetic", "reduction", "loss", "any")
SEEN: Final = "loss.forward"
_INPUT: Final = ".input"


@final
class _FlowMonitor:
    """Judges what the graph of a loss shows of its input."""

    def __init__(self, params: Params) -> None:
        self._from = frozenset(params["from"])
        self._into = _losses(params)

    def feed(self, event: Event) -> Iterable[Observation]:
        if event.kind != SEEN or event.values.get("loss") not in self._into:
            return ()
        made_by = event.values.get("made_by")
        return (observed(event, (), holds=made_by not in self._from),)

    def reads(self) -> Reads:
        """The loss, and what it is made by."""
        return Reads({"loss": exactly, "made_by": exactly})


def _losses(params: Params) -> frozenset[str]:
    """Return the operations whose input is spoken of."""
    return frozenset(one.removesuffix(_INPUT) for one in params["into"] if one.endswith(_INPUT))


@final
@register
class Flow:
    """Where values come from; see the module's text."""

    name: ClassVar[str] = "flow"

    def check(self, params: Params) -> None:
        """Raise ValueError for a missing list, or an unknown family of operations."""
        check_keys(params, ("from", "into", "through"), ("from", "into"))
        for key in ("from", "into"):
            listed = params[key]
            if not isinstance(listed, list | tuple) or not listed:
                raise ValueError(f"{key}: expected a list of operations")
        for target in params["into"]:
            if "." not in str(target):
                raise ValueError(f"into: {target!r} names no argument; expected operation.argument")
        for family in params.get("through", ()):
            if family not in FAMILIES:
                raise ValueError(f"through: {family!r} is not one of {', '.join(FAMILIES)}")

    def needs(self, params: Params) -> Needs:
        """Return the losses whose input is spoken of; nothing where source alone decides."""
        return Needs(frozenset({SEEN}) if _losses(params) else frozenset())

    def monitor(self, params: Params) -> _FlowMonitor:
        """Return a fresh monitor."""
        return _FlowMonitor(params)

    def propose(self, vocabulary: Vocabulary) -> Iterator[Hypothesis]:
        """Return nothing: what a loss must not be made of, no healthy run shows."""
        return iter(())
