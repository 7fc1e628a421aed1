"""What is called -> whether its calls are recorded, under which name, with which parameters.

Asked of the object itself, without running anything of the user's: only plain functions, methods,
classes, modules and what torch is built of are known; all else is not wanted.
"""

from __future__ import annotations

import functools
import os
import sys
import weakref
from collections.abc import Iterable
from dataclasses import dataclass, replace
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    MethodDescriptorType,
    MethodType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any, Final, final

from tcstatic.model import Location
from tcstatic.runtime.probes.locate import Locator
from tcstatic.runtime.probes.making import OPTIMIZER_MADE, options_of
from tcstatic.runtime.probes.provenance import MOVING
from tcstatic.runtime.probes.roles import MODULE, OPTIMIZER, TENSOR
from tcstatic.runtime.probes.signatures import (
    defaults,
    documented,
    looked_up,
    parameters,
    returning,
    unwrapped,
)

# The namespaces whose functions are known by the names that they have there.
_SPACES: Final = (
    "torch.nn.functional",
    "torch.nn.init",
    "torch.nn.utils",
    "torch.nn.utils.rnn",
    "torch.nn.utils.parametrize",
    "torch.nn.utils.parametrizations",
    "torch.nn.utils.prune",
    "torch.amp",
    "torch.cuda.amp",
    "torch.distributed",
)
_WITHIN: Final = ("torch.distributed.", "torch.nn.utils.", "torch.amp.", "torch.cuda.amp.")
_DICT: Final[Any] = type.__dict__["__dict__"]
_NAME: Final[Any] = type.__dict__["__name__"]
_Builtin = (BuiltinFunctionType, MethodDescriptorType, WrapperDescriptorType)


@final
@dataclass(frozen=True, slots=True)
class Callee:
    """What is called: its dotted name, the names of its parameters from the first that is given by
    position, and the object that it is called on, under the name of that parameter.

    `own`: it is the user's own function, whose name says nothing to another program; `role` is then
    what it overrides, by the name that a library gave it, if it does. `defaults` are parameters
    that need not be given, with what stands for them; `home` where it is defined; a class `makes`
    objects; what only is `moving` data is in no event.
    """

    name: str
    parameters: tuple[str, ...] = ()
    on: str = ""
    own: bool = False
    role: str = ""
    defaults: tuple[tuple[str, Any], ...] = ()
    home: Location | None = None
    makes: bool = False
    moving: bool = False


_MOVING: Final = Callee("", moving=True)


@final
class Callees:
    """Knows callees. `locator` tells the user's files from others, `libraries` are packages whose
    functions other programs know, whoever's files they lie in; `named` are
    functions whose calls are told of wherever they are defined, and the only ones if there are any.

    State: what was found, by ``id`` of what is held with it (a class weakly), of `_instances` by
    that of their class; the `_public` names of torch's functions, by ``id``, once torch is
    there."""

    def __init__(
        self,
        files: Iterable[str],
        locator: Locator,
        libraries: Iterable[str] = (),
        named: frozenset[str] = frozenset(),
    ) -> None:
        self._files = frozenset(map(os.path.realpath, files))
        self._locator = locator
        self._libraries = frozenset(name.partition(".")[0] for name in libraries)
        self._named_only = named
        self._known: dict[int, tuple[Any, Callee | None]] = {}
        self._instances: dict[int, tuple[weakref.ref[type], Callee | None]] = {}
        self._builtins: dict[str, Callee] = {}
        self._own: dict[str, bool] = {}
        self._public: dict[int, tuple[Any, str]] = {}

    def of(self, called: Any) -> tuple[Callee | None, Any]:
        """The callee, None where it is not wanted, and the object that it is called on."""
        kind = type(called)
        known = self._instances.get(id(kind))
        if known is not None and known[0]() is kind:
            return known[1], called
        if kind is MethodType:
            inner, owner = called.__func__, called.__self__
            if type(inner) is not FunctionType:
                return None, owner
            return self._of_function(inner, 1, owner), owner
        if kind is BuiltinFunctionType:
            return self._builtin(called)
        if kind is FunctionType:
            return self._of_function(called, 0), None
        if issubclass(kind, type):
            return self._of_class(called, 0), None
        if kind is functools.partial:
            found, owner = self.of(called.func)
            if found is not None and called.args:
                found = replace(found, parameters=found.parameters[len(called.args) :])
            return found, owner
        callee = self._of_class(kind, 1)
        self._instances[id(kind)] = (weakref.ref(kind), callee)
        return callee, called

    def _of_function(self, function: Any, bound: int, owner: Any = None) -> Callee | None:
        """Functions that are made anew, as closures are, share their code."""
        held = function
        if id(function) not in self._names():
            plain = unwrapped(function)
            held = function if plain is None else plain.__code__
        key = id(held) * 4 + bound
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = (held, self._function(function, bound, owner))
        return known[1]

    def _of_class(self, kind: type, instance: int) -> Callee | None:
        key = id(kind) * 4 + 2 + instance
        known = self._known.get(key)
        if known is None or known[0]() is not kind:
            found = self._instance(kind) if instance else self._class(kind)
            known = self._known[key] = (weakref.ref(kind), found)
        return known[1]

    def _builtin(self, called: Any) -> tuple[Callee | None, Any]:
        owner = called.__self__
        if _is_role(type(owner), TENSOR):
            name = called.__name__
            if not name.endswith("_") or name.endswith("__"):
                return (_MOVING, owner) if name in MOVING else (None, None)
            # A method that is bound is a new object each time.
            key = f"torch.Tensor.{name}"
            return self._named(key, getattr(sys.modules["torch"].Tensor, name, None)), owner
        name = self._public_name(called)
        if not name:
            name = called.__name__
            in_place = name.endswith("_") and not name.endswith("__")
            of_torch = type(owner) in (type, ModuleType) and "torch" in str(owner.__name__)
            if name in MOVING and getattr(sys.modules.get("torch"), name, None) is called:
                return _MOVING, None
            name = f"torch.{name}" if in_place and (of_torch or owner is None) else ""
        return (self._named(name, called) if name else None), None

    def _named(self, name: str, builtin: Any) -> Callee:
        known = self._builtins.get(name)
        if known is None:
            names = tuple(documented(builtin))
            known = self._builtins[name] = Callee(name, names, "self")
        return known

    def _function(self, function: Any, skipped: int, owner: Any) -> Callee | None:
        name = self._public_name(function)
        plain = unwrapped(function)
        if plain is None:
            return Callee(name) if name else None
        file = plain.__code__.co_filename
        if not name:
            within = function.__module__ if type(function.__module__) is str else ""
            name = _dotted(within, function.__qualname__)
            watched = self._is_watched(file) or within.startswith(_WITHIN)
            if not (watched or name in self._named_only):
                return None
        names = parameters(plain)
        role = self._overridden(owner, function.__name__, name) if skipped else ""
        found = Callee(
            name,
            names[skipped:],
            names[0] if skipped and names else "",
            own=self._locator.is_users(file) and not self._is_of_library(name),
            role=role,
            defaults=defaults(plain),
            home=self._home(plain.__code__),
        )
        return found if self._is_asked_for(found) else None

    def _class(self, kind: Any) -> Callee | None:
        made = _made_by_torch(kind)
        name = self._public_name(kind) or made
        within = _module_of(kind)
        if not name:
            name = _dotted(within, type.__getattribute__(kind, "__qualname__"))
            if not (self._is_watched_module(within) or name in self._named_only):
                return None
        maker = looked_up(kind, "__init__") or looked_up(kind, "__new__")
        own = self._is_own_class(kind)
        free = () if made else defaults(maker)
        found = Callee(name, parameters(maker)[1:], own=own, defaults=free, makes=True)
        return found if self._is_asked_for(found) else None

    def _instance(self, kind: Any) -> Callee | None:
        """Calls of an object: of the user's classes, and of the modules that torch is made of."""
        module = _is_role(kind, MODULE)
        method = looked_up(kind, "forward" if module else "__call__")
        if method is None or _is_role(kind, TENSOR) or _is_role(kind, OPTIMIZER):
            return None
        within = _module_of(kind)
        qualified = type.__getattribute__(kind, "__qualname__")
        if module and within.startswith("torch.nn."):
            torch: Any = sys.modules["torch"]
            public = torch.nn.__dict__.get(qualified) is kind
            name = f"torch.nn.{qualified}" if public else f"{within}.{qualified}"
            found = Callee(name, parameters(method)[1:], "self", defaults=defaults(method))
            return found if self._is_asked_for(found) else None
        said = "forward" if module else "__call__"
        name = _dotted(within, f"{qualified}.{said}")
        if not (self._is_watched_module(within) or name in self._named_only):
            return None
        plain = unwrapped(method)
        found = Callee(
            name,
            parameters(method)[1:],
            "self",
            own=self._is_own_class(kind),
            role=self._overridden_in(kind, said, name),
            defaults=defaults(method),
            home=self._home(plain.__code__) if plain is not None else None,
        )
        return found if self._is_asked_for(found) else None

    def _is_asked_for(self, callee: Callee) -> bool:
        """Whether calls are told of at all: of one that has no role yet, its site may tell."""
        named = self._named_only
        unknown = callee.own and not callee.role
        return not named or unknown or callee.name in named or callee.role in named

    def _overridden(self, owner: Any, method: str, name: str) -> str:
        kind = owner if issubclass(type(owner), type) else type(owner)
        return self._overridden_in(kind, method, name)

    def _overridden_in(self, kind: type, method: str, name: str) -> str:
        """What a method overrides, by its first name in a library: a package that is included, or
        else torch; '' where that is its own name."""
        bases = [
            base
            for base in type.__getattribute__(kind, "__mro__")
            if base is not object and method in _DICT.__get__(base) and not self._is_own_class(base)
        ]
        included = [base for base in bases if self._is_watched_module(_module_of(base))]
        torch = [base for base in bases if _module_of(base).startswith("torch.")]
        for first in (*included[-1:], *torch[-1:]):
            within, qualified = _module_of(first), str(_NAME.__get__(first))
            if within.startswith("torch.nn.") and hasattr(sys.modules["torch"].nn, qualified):
                within = "torch.nn"
            role = f"{within}.{qualified}.{method}"
            if role != name:
                return role
        return ""

    def _home(self, code: CodeType) -> Location | None:
        """The line of a user's function that gives its result, where there is one; else its own."""
        if not self._locator.is_users(code.co_filename):
            return None
        line = returning(code)
        file = self._locator.relative(code.co_filename)
        return Location(file, line, 1, line, 1, code.co_qualname)

    def _is_of_library(self, name: str) -> bool:
        return name.partition(".")[0] in self._libraries

    def _is_own_class(self, kind: type) -> bool:
        if self._is_of_library(_module_of(kind)):
            return False
        module = sys.modules.get(_module_of(kind))
        file = module.__dict__.get("__file__") if type(module) is ModuleType else None
        return isinstance(file, str) and self._locator.is_users(file)

    def foreign_name(self, kind: type) -> str:
        """The name of a class, or of the first of its bases that is not of the user's making."""
        bases = type.__getattribute__(kind, "__mro__")
        known = next((base for base in bases if not self._is_own_class(base)), kind)
        return str(_NAME.__get__(known))

    def _is_watched_module(self, name: str) -> bool:
        module = sys.modules.get(name)
        file = module.__dict__.get("__file__") if type(module) is ModuleType else None
        return isinstance(file, str) and self._is_watched(file)

    def _is_watched(self, file: str) -> bool:
        known = self._own.get(file)
        if known is None:
            known = self._own[file] = os.path.realpath(file) in self._files
        return known

    def _names(self) -> dict[int, tuple[Any, str]]:
        if not self._public and "torch" in sys.modules:
            torch: Any = sys.modules["torch"]
            for space in _SPACES:
                for name, thing in vars(sys.modules.get(space, ModuleType(""))).items():
                    if not name.startswith("_") and _is_of_torch(thing):
                        self._public.setdefault(id(thing), (thing, f"{space}.{name}"))
            autocast = getattr(torch, "autocast", None)
            self._public[id(autocast)] = (autocast, "torch.amp.autocast")
        return self._public

    def _public_name(self, thing: Any) -> str:
        return self._names().get(id(thing), (None, ""))[1]


def _made_by_torch(kind: type) -> str:
    """The name of what makes an optimizer of torch, or a module that has options; else ''."""
    within, qualified = _module_of(kind), str(_NAME.__get__(kind))
    if within.startswith("torch.nn.modules.") and _is_role(kind, MODULE):
        if options_of(kind):
            return f"torch.nn.{qualified}.__init__"
    elif within.startswith("torch.optim.") and _is_role(kind, OPTIMIZER):
        return OPTIMIZER_MADE
    return ""


def _is_of_torch(thing: Any) -> bool:
    """Whether what a namespace of torch holds is a function or a class of torch."""
    if type(thing) is type:
        return str(thing.__module__).startswith("torch")
    return type(thing) in (FunctionType, *_Builtin)


def _is_role(kind: type, role: str) -> bool:
    """Whether objects of a class have a role; none is made."""
    torch: Any = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "optim"):
        return False
    bases = {MODULE: torch.nn.Module, OPTIMIZER: torch.optim.Optimizer, TENSOR: torch.Tensor}
    return issubclass(kind, bases[role])


def _module_of(kind: type) -> str:
    """The module of a class; '' where the class says something else than a name."""
    said = type.__getattribute__(kind, "__module__")
    return said if type(said) is str else ""


def _dotted(module: str, qualified: str) -> str:
    # What a spawned child calls the script.
    return f"{'__main__' if module == '__mp_main__' else module}.{qualified}"
