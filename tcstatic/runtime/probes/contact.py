"""Whether ranks train together: what brings them together from a forward to the step.

Ranks that try several settings, or draw several chains, on the same data from the same weights have
the same gradient at first, and are to part with the first step. What tells that ranks train one
model is a wrapper, a parameter in parts, or a collective over more than a single number on the way
from the forward to the step; what is gathered or sent out between steps does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, final


@final
class Contact:
    """Follows one rank. State: `met` whether a collective came since the forward, or at any time
    before the first one; `_over` whether a step came since."""

    def __init__(self) -> None:
        self.met = False
        self._over = True

    def model_begins(self) -> None:
        """A model is about to be called: the first time since a step, an update begins."""
        if self._over:
            self.met = self._over = False

    def brings(self, value: Any) -> None:
        """A collective is about to be given a tensor, or several."""
        tensors = [value] if hasattr(value, "numel") else value
        if isinstance(tensors, Sequence):
            self.met |= any(getattr(one, "numel", int)() > 1 for one in tensors)

    def step_ends(self) -> None:
        """A step is over."""
        self._over = True


def in_parts(parameters: Iterable[Any]) -> bool:
    """Whether some of the parameters know themselves that ranks hold parts of them."""
    marks = ("placements", "_unpadded_unsharded_size")
    return any(hasattr(one, mark) for one in parameters for mark in marks)


def keeps_apart(roots: Iterable[Any]) -> bool:
    """Whether a backward leaves its gradients on this rank on purpose (``no_sync()``)."""
    return any(not getattr(root, "require_backward_grad_sync", True) for root in roots)


def joins(roots: Iterable[Any]) -> bool:
    """Whether ranks whose data are over wait for the others (``join()``): from now on they are no
    longer at the same update."""
    configs = (getattr(root, "_join_config", None) for root in roots)
    return any(getattr(one, "enable", False) for one in configs)


def declared(wrappers: Sequence[Any], dist: Any) -> tuple[int, ...]:
    """Return the ranks among which wrappers average all gradients, none where one does not.

    What a communication hook does with the gradients is its own affair (local SGD averages
    among some ranks only, or none).
    """
    groups = {
        ()
        if getattr(one, "_comm_hooks", ())
        else tuple(dist.get_process_group_ranks(one.process_group))
        for one in wrappers
    }
    return groups.pop() if len(groups) == 1 else ()
