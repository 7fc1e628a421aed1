"""Which module holds a parameter, under which name, and since when.

Torch's registration hooks tell of every parameter and submodule that is set on a module,
wherever it happens; what bypasses them (FSDP's flattening, deepcopy) is found by looking at the
modules that the program's own sites return.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any, final

from tcstatic.runtime.probes.registry import Registry


@final
class Ownership:
    """Owners of parameters, past and present.

    State: `_owners` parameter number -> [(weak module, name)]; `version` grows with each change of
    any module's structure; `_trees` caches the parameters of a root for one version, by its number,
    and keeps none of them alive; `shared` whether some parameter was ever held under two names.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._owners: dict[int, list[tuple[weakref.ref[Any], str]]] = {}
        self._trees: dict[int, tuple[int, list[tuple[str, weakref.ref[Any]]]]] = {}
        self._everyone: tuple[int, list[weakref.ref[Any]]] = (-1, [])
        self.version = 0
        self.shared = False

    def registered(self, module: Any, name: str, parameter: Any) -> None:
        """A parameter was set on a module."""
        self.version += 1
        owners = self._owners.setdefault(self._registry.number(parameter), [])
        if not any(ref() is module and known == name for ref, known in owners):
            self.shared = self.shared or bool(owners)
            owners.append((weakref.ref(module), name))

    def changed(self) -> None:
        """A module's structure changed in a way that needs no further note."""
        self.version += 1

    def adopt(self, root: Any) -> list[int]:
        """Record owners for all parameters under `root`; return the numbers seen first now."""
        fresh = []
        for module in root.modules():
            for name, parameter in module._parameters.items():
                if parameter is None:
                    continue
                if not self._registry.known(parameter):
                    fresh.append(self._registry.number(parameter))
                self.registered(module, name, parameter)
        return fresh

    def had_owner(self, parameter: Any) -> bool:
        """Tell whether any module ever held `parameter`."""
        return bool(self._owners.get(self._registry.known(parameter)))

    def has_owner(self, parameter: Any) -> bool:
        """Tell whether a live module holds `parameter` now."""
        for reference, name in self._owners.get(self._registry.known(parameter), ()):
            module = reference()
            if module is not None and _held(module, name) is parameter:
                return True
        return False

    def name_of(self, parameter: Any) -> str:
        """Return the name under which a module held `parameter` last ('' if none did)."""
        owners = self._owners.get(self._registry.known(parameter), ())
        for reference, name in reversed(list(owners)):
            module = reference()
            if module is not None:
                return f"{type(module).__name__}.{name}"
        return owners[-1][1] if owners else ""

    def parameters(self, root: Any) -> list[tuple[str, Any]]:
        """Return (qualified name, parameter) under `root`, each parameter once."""
        number = self._registry.number(root)
        known = self._trees.get(number)
        if known is None or known[0] != self.version:
            found = [(name, weakref.ref(p)) for name, p in root.named_parameters()]
            trees = self._trees.items()
            self._trees = {other: tree for other, tree in trees if tree[0] == self.version}
            self._trees[number] = known = (self.version, found)
        return [(name, p) for name, one in known[1] if (p := one()) is not None]

    def everyone(self) -> list[Any]:
        """Return the parameters that any live module holds now."""
        if self._everyone[0] != self.version:
            found = []
            for number in list(self._owners):
                parameter = self._registry.thing(number)
                if parameter is None:
                    del self._owners[number]
                elif self.has_owner(parameter):
                    found.append(weakref.ref(parameter))
            self._everyone = (self.version, found)
        return [p for reference in self._everyone[1] if (p := reference()) is not None]

    def parameters_of(self, roots: Iterable[Any]) -> list[tuple[str, Any]]:
        """Return the parameters of several roots, each once."""
        seen: set[int] = set()
        found = []
        for root in roots:
            for name, parameter in self.parameters(root):
                if id(parameter) not in seen:
                    seen.add(id(parameter))
                    found.append((name, parameter))
        return found


def _held(module: Any, name: str) -> Any | None:
    return module._parameters.get(name)
