"""Values given to calls, and their results -> plain scalars: never data, never a device's answer.

A value becomes a `Brief` first, a hashable tuple that is made in a microsecond; the fields that an
event carries are made of it once for all calls alike.
"""

from __future__ import annotations

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
_HIGHEST: Final = (1 << 63) - 1
_PLAIN: Final = frozenset(map(id, (bool, float, type(None))))
_SIZED: Final = (list, tuple, dict, set, frozenset, bytes)

_NAME: Final[Any] = type.__dict__["__name__"]
_Reader = Callable[[Any], Brief]
_name_of: Callable[[type], str] = _NAME.__get__  # its metaclass is not asked
# By ``id``: a class of the user's may say itself how it is hashed; and it is not kept alive.
_readers: dict[int, tuple[weakref.ref[type], _Reader, str]] = {}


def know_own_classes(name: Callable[[type], str]) -> None:
    """Name each class as `name` says: one of the user's by a base that other programs have."""
    global _name_of
    _name_of = name
    _readers.clear()


def brief_of(value: Any) -> Brief:
    """What is kept of a value. Runs nothing of the user's."""
    return brief_and_role(value)[0]


def brief_and_role(value: Any) -> tuple[Brief, str]:
    """What is kept of a value, and its role if it is a module, an optimizer or a tensor."""
    kind = type(value)
    key = id(kind)
    if key in _PLAIN:
        return (PLAIN, kind, value), ""
    known = _readers.get(key)
    if known is None or known[0]() is not kind:
        known = (weakref.ref(kind), _reader(kind), _role(kind))
        if "torch" in sys.modules:
            _readers[key] = known
    return known[1](value), known[2]


def _role(kind: type) -> str:
    torch: Any = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "optim"):
        return ""
    bases = ((torch.Tensor, "tensor"), (torch.nn.Module, "model"))
    for base, role in (*bases, (torch.optim.Optimizer, "optimizer")):
        if issubclass(kind, base):
            return role
    return ""


def brief_of_result(value: Any) -> Brief:
    """What is kept of a result, or of a tuple or a dict that is given: of its first parts what is
    kept of each, and the keys of a dict where all are plain words."""
    if type(value) is tuple and value:
        return (PARTS, len(value), tuple(map(brief_of, value[:MOST_PARTS])))
    if type(value) is dict and 0 < len(value) <= MOST_KEYS:
        keys = tuple(key for key in value if type(key) is str and _KEY.fullmatch(key))
        if len(keys) == len(value) and not _SECRET.search(" ".join(keys)):
            return (KEYED, len(value), keys, tuple(map(brief_of, value.values())))
    return brief_of(value)


def autocast_dtype() -> str:
    """The type that autocast computes in at this moment, '' where it is off."""
    torch: Any = sys.modules.get("torch")
    if torch is None or not torch._C._is_any_autocast_enabled():
        return ""
    for device in ("cuda", "cpu"):
        if torch.is_autocast_enabled(device):
            return str(torch.get_autocast_dtype(device)).removeprefix("torch.")
    return "on"


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
    named = _name_of(kind)
    for base in _SIZED:
        if issubclass(kind, base):
            length = base.__len__
            return lambda value: (SIZED, named, length(value))
    if torch is None or not hasattr(torch, "nn"):
        return lambda value: (TYPE, named)
    words = (torch.dtype, torch.device, torch.layout, torch.memory_format)
    if any(kind is one for one in words):
        return lambda value: (PLAIN, str, str(value).removeprefix("torch."))
    if issubclass(kind, torch.nn.Module):
        return _module(named)
    plain = (torch.Tensor, torch.nn.Parameter, getattr(torch.nn, "Buffer", None))
    if any(kind is one for one in plain):
        return _tensor(torch, named)
    return lambda value: (TYPE, named)


def _integer(value: int) -> Brief:
    return (PLAIN, int, value) if -_HIGHEST <= value <= _HIGHEST else (TYPE, "int")


def _text(value: str) -> Brief:
    """A word that chooses something; not a path, an address or what may be a key to something."""
    if len(value) <= LONGEST and _WORDS.fullmatch(value):
        return (PLAIN, str, value)
    return (SIZED, "str", len(value))


def _module(named: str) -> _Reader:
    def read(value: Any) -> Brief:
        # Not by attribute, which a class of the user's may answer by its own code.
        training = object.__getattribute__(value, "__dict__").get("training")
        return (MODULE, named, training) if type(training) is bool else (TYPE, named)

    return read


def _tensor(torch: Any, named: str) -> _Reader:
    """The reader of torch's own tensors: of a subclass, each attribute may be code of the user's.

    A mode that sees all functions of torch sees attributes of tensors too: it must not see ours.
    """
    watched: Callable[[], bool] = torch._C._is_torch_function_mode_enabled
    unseen: Any = torch._C.DisableTorchFunction

    def read(value: Any) -> Brief:
        if watched():
            with unseen():
                return metadata(value)
        return metadata(value)

    def metadata(value: Any) -> Brief:
        shape: tuple[int, ...] | None = None
        try:
            size = value.shape
            rows, width = (size[0], size[-1]) if size else (0, 0)
            second = size[1] if len(size) > 2 else 0
            if type(rows) is int and type(width) is int and type(second) is int:
                shape = (len(size), rows, width, second)
        except RuntimeError:  # nested: its rows have lengths of their own
            pass
        return (TENSOR, named, value.dtype, value.device.type, value.requires_grad, shape)

    return read
