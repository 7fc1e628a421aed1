"""What making one of torch's own objects has come to: the options of a module, and which
parameters of an optimizer decay. Read from what was made, so that what was left to its default is
told as well; of itself it says nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from tcstatic.runtime.probes.holdings import DICT, unseen
from tcstatic.runtime.probes.signatures import defaults, looked_up
from tcstatic.runtime.probes.summaries import PLAIN, Brief

OPTIMIZER_MADE: Final = "torch.optim.Optimizer.__init__"
MODULE_MADE: Final = "torch.nn."
_DICT: Final[Any] = type.__dict__["__dict__"]
_options: dict[str, tuple[tuple[str, bool], ...]] = {}


def is_made_alone(name: str, makes: bool) -> bool:
    """Whether of a call nothing is told but what it has made."""
    return makes and name.startswith("torch.") and name.endswith(".__init__")


def options_of(kind: type) -> tuple[tuple[str, bool], ...]:
    """The flags that a module of torch keeps as it was given them, with what stands for each."""
    name = kind.__name__
    known = _options.get(name)
    if known is None:
        constants = looked_up(kind, "__constants__")
        kept = constants if isinstance(constants, list) else ()
        free: dict[str, Any] = {}
        for base in type.__getattribute__(kind, "__mro__"):
            for option, value in defaults(_DICT.__get__(base).get("__init__")):
                free.setdefault(option, value)
        flags = (one for one in kept if type(free.get(one)) is bool and one != "inplace")
        known = tuple((one, free[one]) for one in flags)
        _options[name] = known
    return known


def made(name: str, thing: Any) -> Iterator[tuple[str, Brief]]:
    """What is told of an object that was made, by names of arguments."""
    if name.startswith(MODULE_MADE):
        held = DICT(thing, "__dict__")
        for option, usual in options_of(type(thing)):
            if type(held.get(option)) is bool:
                yield f"{option}_set", (PLAIN, bool, held[option] is not usual)
        return
    groups = DICT(thing, "__dict__").get("param_groups")
    decays = [one for one in groups if one.get("weight_decay")] if type(groups) is list else []
    if decays:
        with unseen():
            vectors = any(p.ndim < 2 for one in decays for p in one["params"])
        yield "vectors_decay", (PLAIN, bool, vectors)
