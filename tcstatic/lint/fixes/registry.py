"""The names of fixes, what each does, and whether it is safe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, final

from tcstatic.lint.fixes import orders, spots
from tcstatic.lint.fixes.blocks import Place, place_of
from tcstatic.model import Edit, Finding, Fix


@final
@dataclass(frozen=True, slots=True)
class FixKind:
    """One way to mend. `safe`: a correct program's behaviour cannot change by it."""

    title: str
    edits: Callable[[Place], tuple[Edit, ...]]
    safe: bool = False


# What these change is what training computes: none of them is safe.
FIXES: Final[Mapping[str, FixKind]] = {
    "assign-it": FixKind("assign the value", spots.assign_it),
    "assign-result": FixKind("assign the result to the name", spots.assign_result),
    "call-it": FixKind("call the method", spots.call_it),
    "deepcopy-it": FixKind("keep a deep copy", spots.deepcopy_it),
    "group-the-sum": FixKind("put the sum in parentheses", spots.group_the_sum),
    "insert-zero-grad": FixKind("clear the gradients after the step", orders.insert_zero_grad),
    "move-clip": FixKind("clip between backward and step", orders.move_clip),
    "move-scheduler": FixKind("step the scheduler after the optimizer", orders.move_scheduler),
    "move-zero-grad": FixKind("clear the gradients after the step", orders.move_zero_grad),
    "spell-requires-grad": FixKind("write requires_grad", spots.spell_requires_grad),
    "swap-arguments": FixKind("swap the two arguments", spots.swap_arguments),
    "unscale-first": FixKind("unscale the gradients before they are clipped", orders.unscale_first),
}


def fix_for(name: str, finding: Finding, source: bytes) -> Fix | None:
    """Return the fix that a rule names, for one finding; None where the code is not that simple."""
    kind = FIXES.get(name)
    place = place_of(finding.where, source) if kind else None
    edits = kind.edits(place) if kind and place else ()
    return Fix(kind.title, kind.safe, edits) if kind and edits else None
