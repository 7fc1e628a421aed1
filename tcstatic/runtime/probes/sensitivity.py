"""Which modules compute something else in eval mode than in train mode."""

from __future__ import annotations

from typing import Any, Final

# What a forward names that hands its mode on: dropout, in any of its forms, or running statistics.
_TOLD: Final = ("drop", "batch_norm")
_forwards: dict[type, tuple[bool, tuple[str, ...]]] = {}


def is_sensitive(module: Any) -> bool:
    """Tell whether a module, without those in it, computes something else in eval mode."""
    kind = type(module)
    if "Dropout" in kind.__name__ and bool(getattr(module, "p", 0)):
        return True
    if hasattr(module, "track_running_stats"):
        return bool(module.track_running_stats) and "Norm" in kind.__name__
    tells, names = _told_the_mode(kind)
    if not tells or (_is_of_torch(kind) and getattr(module, "num_layers", 2) == 1):
        return False
    rates = [getattr(module, name, None) for name in names]
    numbers = [rate for rate in rates if isinstance(rate, int | float)]
    return any(numbers) if numbers else not any(map(_is_module, rates))


def _told_the_mode(kind: type) -> tuple[bool, tuple[str, ...]]:
    """Whether a forward hands its mode on, and the attributes that may be rates of dropout."""
    known = _forwards.get(kind)
    if known is None:
        code = getattr(getattr(kind, "forward", None), "__code__", None)
        names: tuple[str, ...] = getattr(code, "co_names", ())
        tells = "training" in names and any(told in name for name in names for told in _TOLD)
        rates = tuple(one for one in names if one == "p" or "drop" in one or "rate" in one)
        known = _forwards[kind] = (tells, rates)
    return known


def _is_of_torch(kind: type) -> bool:
    return kind.__module__.startswith("torch.nn.")


def _is_module(value: Any) -> bool:
    return hasattr(value, "named_parameters")
