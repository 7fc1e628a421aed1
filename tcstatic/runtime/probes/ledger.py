"""What happens to an optimizer's gradients, seen through identity and version alone.

A gradient tensor that is the same object at the same version as after the last step was neither
cleared nor touched since; one that is gone, new or moved on was. Reading this costs no kernel.
"""

from __future__ import annotations

import operator
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Final, final

# Read in one call each for all parameters of an optimizer, many times in each step.
GRADIENT: Final[Callable[[Any], Any]] = operator.attrgetter("grad")
VERSION: Final[Callable[[Any], int]] = operator.attrgetter("_version")
NONE: Final = type(None)
_NONE_ALONE: Final = {NONE}

Mark = tuple["weakref.ref[Any] | None", int]
NOTHING: Mark = (None, 0)


def mark(gradient: Any) -> Mark:
    """Return an identity that does not keep the gradient alive."""
    if gradient is None:
        return NOTHING
    try:
        return weakref.ref(gradient), gradient._version
    except (RuntimeError, TypeError):
        return NOTHING


def marks_of(gradients: Sequence[Any]) -> list[Mark]:
    """Return the marks of several gradients."""
    try:
        if NONE not in map(type, gradients):
            return list(zip(map(weakref.ref, gradients), map(VERSION, gradients), strict=True))
        return [NOTHING if g is None else (weakref.ref(g), g._version) for g in gradients]
    except (RuntimeError, TypeError):
        return [mark(gradient) for gradient in gradients]


def version_of(gradient: Any) -> int:
    """Return a tensor's version counter; -1 for a missing one."""
    return -1 if gradient is None else int(gradient._version)


def same(gradient: Any, seen: Mark) -> bool:
    """Tell whether `gradient` is untouched since it was marked (never for a missing one)."""
    reference, version = seen
    if gradient is None or reference is None or reference() is not gradient:
        return False
    return version_of(gradient) == version


def _moved(before: Sequence[tuple[Any, int]], gradients: Sequence[Any]) -> set[int]:
    """Return the positions of gradients that are new, or moved on."""
    found: set[int] = set()
    for index, gradient in enumerate(gradients):
        if gradient is None:
            continue
        old: Any
        old, version = before[index] if index < len(before) else (None, -1)
        if gradient is not old or gradient._version > version:
            found.add(index)
    return found


def _cleared(before: Sequence[Mark], gradients: Sequence[Any]) -> bool:
    """Tell whether all gradients that were there are gone, or zero by a write to them."""
    held = [(g, mark) for g, mark in zip(gradients, before, strict=False) if mark[0] is not None]
    left = [(g, mark) for g, mark in held if g is not None]
    written = left[:1] and not same(*left[0])
    return bool(held) and (not left or bool(written and not left[0][0].any()))


def _zero(gradients: Sequence[Any]) -> bool:
    """Tell whether all gradients are there, and zero."""
    return all(
        g is not None and not (g.is_sparse or hasattr(g, "to_local") or bool(g.any()))
        for g in gradients
    )


@final
class Ledger:
    """The gradients of one optimizer between its steps.

    State, reset by `stepped`: `after_step` marks right after the last step; `before_backward` the
    gradients that a backward finds, with their versions, where there are any; `after_backward`
    marks right after the last backward that reached any; `touched` the positions that a backward
    reached since the last step; `observed_before` the marks to go on from where a step is noticed
    only after the user may have cleared; `cleared` whether they were cleared since the last step.
    """

    def __init__(self) -> None:
        self.after_step: list[Mark] = []
        self.before_backward: list[tuple[Any, int]] = []
        self.observed_before: list[Mark] = []
        self.after_backward: list[Mark] = []
        self.touched: set[int] = set()
        self.ever_touched: set[int] = set()
        self.cleared = False
        self.backwards = 0

    def backward_begins(self, parameters: Sequence[Any]) -> bool:
        """Note the gradients before a backward; return whether they were cleared since."""
        gradients = list(map(GRADIENT, parameters))
        self.before_backward = []
        if set(map(type, gradients)) != _NONE_ALONE:
            self.before_backward = [(g, -1 if g is None else g._version) for g in gradients]
        return self._observe_clearing(gradients)

    def observe(self, parameters: Sequence[Any]) -> bool:
        """Look for clearing that nobody announced; return whether there was any just now."""
        marks = self.after_backward or self.after_step
        if not marks:
            return False
        if parameters:
            gradient, (kept, version) = parameters[0].grad, marks[0]
            held = gradient is not None and kept is not None and kept() is gradient
            if held and gradient._version == version:
                return False
        return self._observe_clearing(list(map(GRADIENT, parameters)))

    def backward_ends(self, parameters: Sequence[Any]) -> set[int]:
        """Return the positions whose gradient this backward made or added to."""
        gradients = list(map(GRADIENT, parameters))
        before, self.before_backward = self.before_backward, []
        if before or NONE in map(type, gradients):
            reached = _moved(before, gradients)
        else:
            reached = set(range(len(gradients)))
        if reached:
            self.after_backward = marks_of(gradients)
            self.backwards += 1
        self.touched |= reached
        self.ever_touched |= reached
        return reached

    def fresh(self, parameters: Sequence[Any]) -> bool:
        """Tell whether there are gradients that were made or written since the last step."""
        marks = self.after_step or [NOTHING] * len(parameters)
        return any(
            parameter.grad is not None and not same(parameter.grad, seen)
            for parameter, seen in zip(parameters, marks, strict=False)
        )

    def announce_clearing(self) -> None:
        """The user's own call cleared all gradients."""
        self.cleared = True
        self.after_step = []
        self.after_backward = []

    def stepped(self, parameters: Sequence[Any], *, stock: bool = True) -> None:
        """Start a new period: the step is done. One that is not torch's own may have cleared."""
        seen, self.observed_before = self.observed_before, []
        gradients = list(map(GRADIENT, parameters))
        if not stock and not seen and _cleared(self.after_backward, gradients):
            seen = self.after_backward
        self.after_step = seen or marks_of(gradients)
        self.after_backward = []
        self.touched = set()
        self.cleared = False
        self.backwards = 0

    def forget(self) -> None:
        """Drop what was seen: the steps in between were not watched."""
        self.after_step = []
        self.before_backward = []
        self.after_backward = []
        self.touched = set()
        self.cleared = False
        self.backwards = 0

    def _observe_clearing(self, gradients: Sequence[Any | None]) -> bool:
        """Compare with the last marks; a gradient that is gone, new or moved on was cleared."""
        marks = self.after_backward or self.after_step
        if not marks:
            return False
        held = [(g, seen) for g, seen in zip(gradients, marks, strict=False) if seen[0] is not None]
        if not held:
            return False
        if set(map(type, gradients)) == _NONE_ALONE:
            return self._is_cleared()
        if any(same(gradient, seen) for gradient, seen in held):
            # Writes through ``.data`` move no version.
            self.cleared = not self.after_backward and _zero(gradients)
            if self.cleared:
                self.after_step = []
            return self.cleared
        gone = [g for g, seen in held if g is None or (seen[0] is not None and seen[0]() is not g)]
        moved_since_step = not self.after_backward and len(gone) < len(held)
        if not gone and not moved_since_step:
            return False  # clipped, unscaled or scaled in place after a backward
        return self._is_cleared()

    def _is_cleared(self) -> bool:
        self.cleared = True
        self.after_step, self.after_backward = [], []
        return True
