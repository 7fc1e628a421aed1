"""What an object holds: its tensors, and whether a call has changed them or what trains of them.

Read from the dictionaries of objects, so that nothing of the user's runs. A tensor counts as
changed if its version is another, or another tensor stands in its place: no data is read, so that a
write past torch's own count of versions is not seen, and one that writes what was there is.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

from tcstatic.runtime.probes.summaries import PLAIN, Brief

MOST_TENSORS: Final = 128  # of one object
MOST_ATTRIBUTES: Final = 4  # of it that are told of one by one
SIMPLE: Final = (bool, int, float, str, bytes, type(None))
DEPTH: Final = 3  # objects within one another
DICT: Final[Any] = object.__getattribute__
_NOTHING: Final[AbstractContextManager[Any]] = nullcontext()
# By place: the tensor (its ``id``), its version, and whether it requires a gradient.
Holding = tuple[tuple[int, int, bool], ...]
Parts = list[tuple[str, Holding]]


def unseen() -> AbstractContextManager[Any]:
    """Within it, attributes of tensors are read past a mode that sees all functions of torch."""
    torch: Any = sys.modules["torch"]
    watched = torch._C._is_torch_function_mode_enabled()
    found: AbstractContextManager[Any] = torch._C.DisableTorchFunction() if watched else _NOTHING
    return found


def holding_of(thing: Any, depth: int = DEPTH) -> Holding:
    """The tensors of a module, an optimizer, or a plain object; () where it has none."""
    torch: Any = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "optim"):
        return ()
    with unseen():
        return _read(torch, thing, depth)


def parts_of(thing: Any) -> Parts:
    """The tensors of a plain object by the attributes that hold some; of any other all together,
    under no name."""
    torch: Any = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "optim"):
        return []
    whole = (torch.nn.Module, torch.optim.Optimizer, torch.Tensor, list, tuple, dict)
    held: Any = None if issubclass(type(thing), whole) else _attributes(thing)
    if held is None:
        holding = holding_of(thing)
        return [("", holding)] if holding else []
    found: Parts = []
    left = MOST_TENSORS
    for name, value in held.items():
        if type(value) not in SIMPLE and left > 0:
            holding = holding_of(value, DEPTH - 1)[:left]
            left -= len(holding)
            found += [(str(name), holding)] if holding else []
    return found


def _read(torch: Any, thing: Any, depth: int) -> Holding:
    plain = {torch.Tensor, torch.nn.Parameter}
    is_plain: Callable[[Any], bool] = plain.__contains__
    found = []
    for tensor in _tensors(torch, thing, is_plain, depth, set()):
        try:
            found.append((id(tensor), tensor._version, tensor.requires_grad))
        except RuntimeError:  # an inference tensor has no version
            continue
        if len(found) >= MOST_TENSORS:
            break
    return tuple(found)


def _tensors(
    torch: Any, thing: Any, is_plain: Callable[[Any], bool], depth: int, seen: set[int]
) -> Iterator[Any]:
    kind = type(thing)
    if is_plain(kind):
        yield thing
        return
    if not depth or id(thing) in seen:
        return
    seen.add(id(thing))
    inner: Any
    if kind in (list, tuple):
        inner = thing[:MOST_TENSORS]
    elif kind is dict:
        inner = [*thing.values()][:MOST_TENSORS]
    else:
        inner = _inner(torch, thing, kind)
        # the modules of a module lie at any depth
        depth += issubclass(kind, torch.nn.Module)
    for one in inner:
        yield from _tensors(torch, one, is_plain, depth - 1, seen)


def _inner(torch: Any, thing: Any, kind: type) -> list[Any]:
    held = _attributes(thing)
    if held is None:
        return []
    if issubclass(kind, torch.nn.Module):
        names = ("_parameters", "_buffers", "_modules")
        parts = [held[name] for name in names if type(held.get(name)) is dict]
        return [one for part in parts for one in part.values() if one is not None]
    if issubclass(kind, torch.optim.Optimizer):
        groups = held.get("param_groups")
        return [one.get("params") for one in groups] if type(groups) is list else []
    return [one for one in held.values() if type(one) not in SIMPLE]


def _attributes(thing: Any) -> dict[str, Any] | None:
    try:
        held = DICT(thing, "__dict__")
    except AttributeError:
        return None
    return held if type(held) is dict else None


def is_changed(before: Holding, after: Holding) -> bool:
    """Whether a tensor was written to, or another one stands in its place."""
    return [one[:2] for one in before] != [one[:2] for one in after]


def trained(before: Holding, after: Holding) -> str:
    """Whether `fewer`, `more`, or the `same` number of tensors require a gradient."""
    fewer, more = sum(one[2] for one in before), sum(one[2] for one in after)
    return "same" if fewer == more else "fewer" if more < fewer else "more"


def told_after(name: str, before: Parts, after: Parts) -> list[tuple[str, Brief]]:
    """What a call has done to an object that it was given, as fields of its event."""
    held, holds = _whole(before), _whole(after)
    told: list[tuple[str, Brief]] = [
        (f"after_{name}_changed", (PLAIN, bool, is_changed(held, holds))),
        (f"after_{name}_trainable", (PLAIN, str, trained(held, holds))),
    ]
    if name == "self" and len(before) > 1:
        now = dict(after)
        for attribute, part in before[:MOST_ATTRIBUTES]:
            changed = is_changed(part, now.get(attribute, ()))
            told.append((f"after_{name}_{attribute}_changed", (PLAIN, bool, changed)))
    return told


def _whole(parts: Parts) -> Holding:
    return tuple(one for _, holding in parts for one in holding)
