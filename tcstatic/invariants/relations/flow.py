"""`flow`: a value from one operation reaches, or must not reach, an argument of another.

``{from: [softmax], into: [cross_entropy.input], through: [shape]}``: no value that `from` makes
arrives at `into` through operations of the families named. An operation is named as torch names it
(``softmax``, ``detach``), whether it is written as a function, a method or a module; `into` is an
operation and one of its arguments, by name or position, or an event kind and a position
(``loss.backward.0``). Source text alone decides it: nothing is observed while training runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar, Final, final

from tcstatic.invariants.relations.base import Params, check_keys, register
from tcstatic.model import Event, Hypothesis, Needs, Observation, Vocabulary

FAMILIES: Final = ("shape", "arithmetic", "reduction", "loss", "any")


@final
class _Silent:
    """No event of a run says where a value came from."""

    def feed(self, event: Event) -> Iterable[Observation]:
        return ()


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
        """Return nothing: it is decided from source."""
        return Needs(frozenset())

    def monitor(self, params: Params) -> _Silent:
        """Return a monitor that has nothing to say."""
        return _Silent()

    def propose(self, vocabulary: Vocabulary) -> Iterator[Hypothesis]:
        """Return nothing: no trace says where a value came from."""
        return iter(())
