"""What an object holds: its tensors, and whether a call has changed them or what trains of them.

Read from the dictionaries of objects, so that nothing of the user's runs. A tensor counts as
changed if its version is another, or another tensor stands in its place: no data is read, so that a
write past torch's own count of versions is not seen, and one that writes what was there is.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any, Final

MOST_TENSORS: Final = 128  # of one object
DEPTH: Final = 3  # objects within one another
_DICT: Final[Any] = object.__getattribute__
# By place: the tensor (its ``id``), its version, and whether it requires a gradient.
Holding = tuple[tuple[int, int, bool], ...]


def holding_of(thing: Any) -> Holding:
    """The tensors of a module, an optimizer, or a plain object; () where it has none."""
    torch: Any = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "optim"):
        return ()
    if torch._C._is_torch_function_mode_enabled():
        with torch._C.DisableTorchFunction():
            return _read(torch, thing)
    return _read(torch, thing)


def _read(torch: Any, thing: Any) -> Holding:
    plain = {torch.Tensor, torch.nn.Parameter}
    is_plain: Callable[[Any], bool] = plain.__contains__
    found = []
    for tensor in _tensors(torch, thing, is_plain, DEPTH, set()):
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
    try:
        held = _DICT(thing, "__dict__")
    except AttributeError:
        return []
    if type(held) is not dict:
        return []
    if issubclass(kind, torch.nn.Module):
        names = ("_parameters", "_buffers", "_modules")
        parts = [held[name] for name in names if type(held.get(name)) is dict]
        return [one for part in parts for one in part.values() if one is not None]
    if issubclass(kind, torch.optim.Optimizer):
        groups = held.get("param_groups")
        return [one.get("params") for one in groups] if type(groups) is list else []
    simple = (bool, int, float, str, bytes, type(None))
    return [one for one in held.values() if type(one) not in simple]


def is_changed(before: Holding, after: Holding) -> bool:
    """Whether a tensor was written to, or another one stands in its place."""
    return [one[:2] for one in before] != [one[:2] for one in after]


def trained(before: Holding, after: Holding) -> str:
    """Whether `fewer`, `more`, or the `same` number of tensors require a gradient."""
    fewer, more = sum(one[2] for one in before), sum(one[2] for one in after)
    return "same" if fewer == more else "fewer" if more < fewer else "more"
