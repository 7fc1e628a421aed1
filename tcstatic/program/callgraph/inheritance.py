"""Which methods a library calls of the program's objects: inherited ones, and those handed over."""

from __future__ import annotations

from collections.abc import Iterable

MODULES = ("children", "modules", "named_children", "named_modules")
"""Methods that give the modules inside a module."""
_OF_MODULES = (*MODULES, "apply", "add_module", "register_module")
_VISITS = ("visit", "visit_*", "generic_visit")

_CALLED: dict[str, dict[str, tuple[str, ...]]] = {
    "Function": {"apply": ("forward", "setup_context", "backward", "jvp")},
    "Thread": {"start": ("run",)},
    "Timer": {"start": ("run",)},
    "Process": {"start": ("run",)},
    "NodeVisitor": {"visit": _VISITS[1:], "generic_visit": _VISITS},
    "NodeTransformer": {"visit": _VISITS[1:], "generic_visit": _VISITS},
    "Handler": {"handle": ("emit",)},
    "Formatter": {"format": ("formatTime", "formatException", "format_field", "get_value")},
    "HTMLParser": {"feed": ("handle_*",), "close": ("handle_*",)},
    "Cmd": {"cmdloop": ("do_*", "default", "precmd", "postcmd"), "onecmd": ("do_*", "default")},
    "JSONEncoder": {"encode": ("default",), "iterencode": ("default",)},
    "LRScheduler": {"step": ("get_lr",), "__init__": ("get_lr", "step")},
    "_LRScheduler": {"step": ("get_lr",), "__init__": ("get_lr", "step")},
}
"""Class of a library -> a method of it that objects inherit -> what it calls of theirs."""

_HANDED: dict[str, tuple[str, ...]] = {
    "Handler": ("emit",),
    "Formatter": ("format",),
    "Filter": ("filter",),
    "JSONEncoder": ("default",),
    "Action": ("__call__",),
}
"""Class of a library -> what the library calls of objects that it is handed, or makes itself of
a class that it is handed."""

_PROTOCOLS = (("__call__",), ("__getitem__", "__len__"), ("__iter__",))
"""Whoever is handed an object with all of these methods may call them."""


def is_module(path: str) -> bool:
    """Return whether a class of a library is a module of torch, or one that builds on it."""
    return path.startswith("torch.nn.") or path.rpartition(".")[2] in ("Module", "LightningModule")


def inherited(path: str, method: str) -> tuple[str, ...]:
    """Return what a method of a library's class calls of the object that inherits it."""
    if method in _OF_MODULES and is_module(path):
        return (method,)
    return _CALLED.get(path.rpartition(".")[2], {}).get(method, ())


def handed(bases: Iterable[str]) -> list[tuple[str, ...]]:
    """Return what a library may call of an object with these bases that it is handed: all
    methods of a group, if the object has all of them."""
    return [*_PROTOCOLS, *instantiated(bases)]


def instantiated(bases: Iterable[str]) -> list[tuple[str, ...]]:
    """Return what a library calls of the objects that it makes of a class with these bases."""
    named = (_HANDED.get(base.rpartition(".")[2]) for base in bases)
    return [found for found in named if found]
