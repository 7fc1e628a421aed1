"""Events: occurrences of sites, or of hooks inside torch, while a program trains.

They are tuples, not dataclasses, because several are made in each step of the user's program: a
frozen dataclass takes three times as long to make.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple, final

from tcstatic.model.sites import Location

# The closed list of kinds: extend it here first.
EVENT_KINDS: Final = frozenset(
    """
    model.new model.forward model.train model.eval model.move model.mutate model.freeze
    model.load model.save
    optimizer.new optimizer.zero_grad optimizer.step optimizer.load optimizer.save
    scheduler.new scheduler.step
    loss.forward loss.backward
    grad.clip grad.write scaler.scale scaler.unscale scaler.step scaler.update
    loader.new loader.next sampler.new sampler.set_epoch
    wrap.new dist.init dist.collective
    region.enter region.exit
    loop.step loop.epoch gap
    state call end
    """.split()
)

Scalar = bool | int | float | str | None
_EMPTY: Final[Mapping[str, Any]] = MappingProxyType({})


@final
class Context(NamedTuple):
    """What a precondition may ask about.

    `inferred` names the fields that were neither declared nor observed: a finding whose
    precondition rests on one of them is a warning at most.
    """

    fields: Mapping[str, Scalar] = _EMPTY
    inferred: frozenset[str] = frozenset()


@final
class Member(NamedTuple):
    """One object of a set that an event is about, e.g. one parameter of an optimizer."""

    number: int
    name: str
    fields: Mapping[str, Scalar]


@final
class Event(NamedTuple):
    """One occurrence. `subjects` maps a role (optimizer, model, ...) to object numbers.

    `step` is the 0-based index of the optimizer step in progress when the event happened (of the
    optimizer concerned where there is one, else of the run), `epoch` the 0-based iteration of the
    loop around the step loop. `values` are plain scalars or tuples of them; `members` the objects
    of the set that the event is about, each with its own fields.
    """

    kind: str
    sequence: int
    where: Location | None
    subjects: Mapping[str, tuple[int, ...]] = _EMPTY
    values: Mapping[str, Any] = _EMPTY
    context: Context = Context()
    members: tuple[Member, ...] = ()
    step: int = 0
    epoch: int | None = None
    rank: int = 0


# All fields in one tuple: without the Python function that named tuples are called through.
quick_context: Final[Callable[[tuple[Any, ...]], Context]] = functools.partial(
    tuple.__new__, Context
)
quick_event: Final[Callable[[tuple[Any, ...]], Event]] = functools.partial(tuple.__new__, Event)
