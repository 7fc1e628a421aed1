"""Values given to calls, and their results -> plain scalars: never data, never a device's answer.

A value becomes a `Brief` first, a hashable tuple that is made in a microsecond; the fields that an
event carries are made of it once for all calls alike.
"""

from __future__ import annotations

import functools
import re
import sys
import weakref
from collections.abc import Callable, Iterator
from typing import Any, Final

# What kind of brief it is, then what is kept of the value.
Brief = tuple[Any, ...]
Scalar = bool | int | float | str | None

PLAIN, TYPE, SIZED, TENSOR, MODULE, PARTS, KEYED = range(7)
LONGEST: Final = 32  # characters of a text that is kept as it is
_WORDS: Final = re.compile(r"[\w .,+*=<>-]{0,15}|[^\W\d][^\W\d .-]*")
_SECRET: Final = re.compile(r"(?i)token|pass|secret|key|auth|cred|login|user")
MOST_PARTS: Final = 3  # of a tuple
MOST_KEYS: Final = 6  # of a dict
_KEY: Final = re.compile(r"[^\W\d]\w{0,23}")
MOST_TENSORS: Final = 1_024  # different shapes and types, of which the briefs are kept
_HIGHEST: Final = (1 << 63) - 1
_DEVICES: Final = ("cuda", "cpu")
_SIZED: Final = (list, tuple, dict, set, frozenset, bytes)

_NAME: Final[Any] = type.__dict__["__name__"]
_Reader = Callable[[Any], tuple[Brief, str]]
_name_of: Callable[[type], str] = _NAME.__get__  # its metaclass is not asked
# By ``id``: a class of the user's may say itself how it is hashed. It is not kept alive: what is
# known of it ends with it.
_readers: dict[int, _Reader] = {}
_classes: dict[int, weakref.ref[type]] = {}


def know_own_classes(name: Callable[[type], str]) -> None:
    """Name each class as `name` says: one of the user's by a base that other programs have."""
    global _name_of
    _name_of = name
    _readers.clear()
    _classes.clear()


def brief_of(value: Any) -> Brief:
    """What is kept of a value. Runs nothing of the user's."""
    return brief_and_role(value)[0]


def brief_and_role(value: Any) -> tuple[Brief, str]:
    """What is kept of a value, and its role if it is a module, an optimizer or a tensor."""
    read = _readers.get(id(type(value)))
    return read(value) if read is not None else _found(type(value))(value)


def _found(kind: type) -> _Reader:
    read = _reader(kind)
    if "torch" in sys.modules:
        key = id(kind)
        _readers[key] = read
        _classes[key] = weakref.ref(
            kind, lambda _: (_readers.pop(key, None), _classes.pop(key, None))
        )
    return read


def _role(kind: type) -> str:
    torch: Any = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "optim"):
        return ""
    bases = ((torch.Tensor, "tensor"), (torch.nn.Module, "model"))
    for base, role in (*bases, (torch.optim.Optimizer, "optimizer")):
        if issubclass(kind, base):
            return role
    return ""


def brief_of_result(value: Any) -> tuple[Brief, str]:
    """What is kept of a result, or of a tuple or a dict that is given, and its role: of its first
    parts what is kept of each, and the keys of a dict where all are plain words."""
    kind = type(value)
    if kind is tuple and value:
        return (PARTS, len(value), tuple(map(brief_of, value[:MOST_PARTS]))), ""
    if kind is dict and 0 < len(value) <= MOST_KEYS:
        keys = tuple(key for key in value if type(key) is str and _KEY.fullmatch(key))
        if len(keys) == len(value) and not _SECRET.search(" ".join(keys)):
            return (KEYED, len(value), keys, tuple(map(brief_of, value.values()))), ""
    return brief_and_role(value)


def autocast_reader(torch: Any) -> Callable[[], str]:
    """What tells the type that autocast computes in at a moment, '' where it is off."""
    any_enabled: Callable[[], bool] = torch._C._is_any_autocast_enabled
    enabled: Callable[[str], bool] = torch.is_autocast_enabled
    dtype: Callable[[str], Any] = torch.get_autocast_dtype

    def autocast_dtype() -> str:
        if not any_enabled():
            return ""
        for device in _DEVICES:
            if enabled(device):
                return _word(dtype(device))
        return "on"

    return autocast_dtype


@functools.cache
def _word(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")


def fields_of(prefix: str, brief: Brief) -> Iterator[tuple[str, Scalar]]:
    """The fields of an event that tell of a value, by names that begin with `prefix`."""
    kind = brief[0]
    if kind == PLAIN:
        if brief[1] is str and _SECRET.search(prefix):
            yield f"{prefix}_type", "str"
        else:
            yield prefix, brief[2]
    elif kind == PARTS:
        yield f"{prefix}_type", "tuple"
        yield f"{prefix}_length", brief[1]
        for index, part in enumerate(brief[2]):
            yield from fields_of(f"{prefix}_{index}", part)
    elif kind == KEYED:
        yield f"{prefix}_type", "dict"
        yield f"{prefix}_length", brief[1]
        yield f"{prefix}_keys", " ".join(brief[2])
        for key, part in zip(brief[2], brief[3], strict=True):
            yield from fields_of(f"{prefix}_{key}", part)
    else:
        yield f"{prefix}_type", brief[1]
        if kind == SIZED:
            yield f"{prefix}_length", brief[2]
        elif kind == MODULE:
            yield f"{prefix}_training", brief[2]
        elif kind == TENSOR:
            yield from _tensor_fields(prefix, brief)


def _tensor_fields(prefix: str, brief: Brief) -> Iterator[tuple[str, Scalar]]:
    _, _, dtype, device, grad, shape = brief
    yield f"{prefix}_dtype", str(dtype).removeprefix("torch.")
    yield f"{prefix}_device", device
    yield f"{prefix}_requires_grad", grad
    if shape is None:
        return
    yield f"{prefix}_ndim", shape[0]
    if shape[0]:
        yield f"{prefix}_rows", shape[1]
        yield f"{prefix}_width", shape[2]
    if shape[0] > 2:
        yield f"{prefix}_second", shape[3]


def _reader(kind: type) -> _Reader:
    """How values of a type are read; decided once for each."""
    torch: Any = sys.modules.get("torch")
    if kind is int:
        return _integer
    if kind is str:
        return _text
    if kind is bool or kind is float or kind is type(None):
        return lambda value: ((PLAIN, kind, value), "")
    named, role = _name_of(kind), _role(kind)
    for base in _SIZED:
        if issubclass(kind, base):
            length = base.__len__
            return lambda value: ((SIZED, named, length(value)), role)
    alone: Brief = (TYPE, named)
    if torch is None or not hasattr(torch, "nn"):
        return lambda value: (alone, role)
    words = (torch.dtype, torch.device, torch.layout, torch.memory_format)
    if any(kind is one for one in words):
        return lambda value: ((PLAIN, str, _word(value)), role)
    if issubclass(kind, torch.nn.Module):
        return _module(named, role)
    plain = (torch.Tensor, torch.nn.Parameter, getattr(torch.nn, "Buffer", None))
    if any(kind is one for one in plain):
        return _tensor(torch, named, role)
    return lambda value: (alone, role)


def _integer(value: int) -> tuple[Brief, str]:
    return ((PLAIN, int, value) if -_HIGHEST <= value <= _HIGHEST else (TYPE, "int")), ""


def _text(value: str) -> tuple[Brief, str]:
    """A word that chooses something; not a path, an address or what may be a key to something."""
    if len(value) <= LONGEST and _WORDS.fullmatch(value):
        return (PLAIN, str, value), ""
    return (SIZED, "str", len(value)), ""


def _module(named: str, role: str) -> _Reader:
    on, off = ((MODULE, named, True), role), ((MODULE, named, False), role)
    neither = ((TYPE, named), role)

    def read(value: Any) -> tuple[Brief, str]:
        # Not by attribute, which a class of the user's may answer by its own code.
        training = object.__getattribute__(value, "__dict__").get("training")
        return on if training is True else off if training is False else neither

    return read


def _tensor(torch: Any, named: str, role: str) -> _Reader:
    """The reader of torch's own tensors: of a subclass, each attribute may be code of the user's.

    A mode that sees all functions of torch sees attributes of tensors too: it must not see ours.
    """
    watched: Callable[[], bool] = torch._C._is_torch_function_mode_enabled
    unseen: Any = torch._C.DisableTorchFunction
    kept: dict[Any, tuple[Brief, str]] = {}

    def read(value: Any) -> tuple[Brief, str]:
        if watched():
            with unseen():
                return metadata(value)
        try:
            return kept[value.shape, value.dtype, value.device, value.requires_grad]
        # not seen before; or nested, or of symbolic sizes, which have no hash
        except (KeyError, RuntimeError, TypeError):
            return metadata(value)

    def metadata(value: Any) -> tuple[Brief, str]:
        dtype, device, grad = value.dtype, value.device, value.requires_grad
        shape: tuple[int, ...] | None = None
        fixed = False
        try:
            size = value.shape
            rows, width = (size[0], size[-1]) if size else (0, 0)
            second = size[1] if len(size) > 2 else 0
            if type(rows) is int and type(width) is int and type(second) is int:
                shape = (len(size), rows, width, second)
                fixed = all([type(one) is int for one in size])
        except RuntimeError:  # nested: its rows have lengths of their own
            pass
        told = (TENSOR, named, dtype, device.type, grad, shape), role
        if fixed:
            if len(kept) >= MOST_TENSORS:
                kept.clear()
            kept[size, dtype, device, grad] = told
        return told

    return read
