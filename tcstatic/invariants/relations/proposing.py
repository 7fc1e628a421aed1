"""What relations ask of a vocabulary when they propose hypotheses, and the limits that they keep.

Without limits the pairs and triples of a trace explode; each is named here, with what it bounds.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from tcstatic.model import FieldSeen, Group, Scalar

# A value is proposed if it makes up this share of what its field was, at least this often.
LEAST_SHARE: Final = 0.2
LEAST_TIMES: Final = 5
# Values proposed of one field, and fields of one kind of events (calls: of one function).
MOST_VALUES: Final = 3
MOST_FIELDS: Final = 80
# Two fields are proposed to be equal if they are so in this share of the events that have both.
EQUAL_SHARE: Final = 0.9
# An event is proposed to lie between two others, or not to, if it does in this share of the cases.
ORDER_SHARE: Final = 0.9
# Fields that describe the subject of an event, or what led to it, and not what it does: healthy
# programs have them either way. A precondition may ask them, and nothing is proposed about them.
DESCRIBING: Final = frozenset(
    "type stock manual wrapped trainable frozen representable how fresh sensitive "
    "sensitive_in_train trained_before trained_by_this left_in_train reached "
    "others_reached observed untracked_moves ever_changed loss made_by shapes "
    "quantity scheduled_too_often replaced stepping bounded nothing_to_clip "
    "cleared_other_optimizer discarded_bad_loss loss_zero".split()
)
# Fields of an event that sum up what its members say one by one, each under its own rate. Whether a
# step finds any gradient at all is another matter than whether each parameter has one.
_SUMMED: Final = frozenset({"changed", "idle", "starved"})
# What one backward pass reaches, another one of its round may complete: the step sums it up.
_IN_ROUND: Final = frozenset({"loss.backward"})
# What members, and optimizers, have in turn: branches, experts and phases leave some of them out.
_IN_TURN: Final = frozenset({"has_gradient", "gradient_nonzero", "changed"})
# Fields that tell where or when, and what counts up as time goes by.
_PASSING: Final = frozenset("step optimizer_step epoch rank name role lasted home maker".split())
_PASSING_ENDS: Final = ("since", "rounds", "unchanged_for", "_step", "_epoch")


@lru_cache(maxsize=4096)  # asked of each field of each event
def is_passing(name: str) -> bool:
    """Whether a field tells time or place: no invariant is about it, and no precondition."""
    return name in _PASSING or name.endswith(_PASSING_ENDS)


def is_argument(name: str) -> bool:
    """Whether a field of a call is something that the call was given."""
    return name.startswith("arg_")


def scope_of(group: Group) -> str:
    """The condition that an event is of this group and not only of its kind."""
    return f"name == {group.name!r}" if group.name else ""


def judged_fields(group: Group, *, members: bool = False) -> Iterator[tuple[str, FieldSeen]]:
    """The fields of a group of events that something can be said of, by name."""
    if group.kind in _IN_ROUND:
        return
    fields = group.members if members else group.fields
    left = DESCRIBING | (_IN_TURN if members else _SUMMED)
    named = sorted(name for name in fields if not is_passing(name) and name not in left)
    for name in named[:MOST_FIELDS]:
        yield name, fields[name]


def usual_values(seen: FieldSeen, runs: int) -> list[Scalar]:
    """The values that a field usually has: flags and short words."""
    total = seen.total
    usual = [
        (-times, str(value), value)
        for value, times in seen.values.items()
        if times >= max(LEAST_TIMES, LEAST_SHARE * total) and _is_sayable(value, seen, runs)
    ]
    return [value for _, _, (_, value) in sorted(usual, key=lambda one: one[:2])][:MOST_VALUES]


def _is_sayable(value: tuple[str, Scalar], seen: FieldSeen, runs: int) -> bool:
    kind, _ = value
    # A word that only one program uses is its own; how many there are of something has bounds.
    shared = kind == "str" and (runs == 1 or seen.runs.get(value, 0) > 1)
    return kind in ("bool", "NoneType") or shared


def bounds(seen: FieldSeen) -> tuple[int, int] | None:
    """The least and the greatest whole number that a field was; None if it was anything else."""
    numbers = [value for kind, value in seen.values if kind == "int" and isinstance(value, int)]
    if not numbers or len(numbers) != len(seen.values) or seen.total < LEAST_TIMES:
        return None
    return min(numbers), max(numbers)
