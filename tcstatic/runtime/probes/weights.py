"""Where the weights of a model come from: made at random here, or taken from elsewhere."""

from __future__ import annotations

import linecache
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Collection
from typing import Any, Final, final

from tcstatic.runtime.probes import measure
from tcstatic.runtime.probes.ownership import Ownership
from tcstatic.runtime.probes.stream import Stream
from tcstatic.runtime.probes.structure import Structure

_LOADS: Final = re.compile(r"load|from_pretrained|copy_\(|pretrain|checkpoint")
_COPIES: Final = re.compile(r"deepcopy|load_state_dict|copy_\(")


@final
class Held:
    """Who holds which parameters at one time, each looked up at once, however many there are.

    `places` of a parameter, by ``id``: number and root of each model that holds it, and the name
    there. Of those that are trained, not `starved`: `_models` that hold one by its name and shape,
    `_heads` the first part of its name by the others.
    """

    def __init__(self, roots: dict[int, Any], ownership: Ownership, starved: Collection[Any]):
        lost = set(map(id, starved))
        self.places: dict[int, list[tuple[int, Any, str]]] = defaultdict(list)
        self._models: dict[tuple[str, Any], set[int]] = defaultdict(set)
        self._heads: dict[tuple[str, Any], set[str]] = defaultdict(set)
        for number, root in roots.items():
            for name, one in ownership.parameters(root):
                self.places[id(one)].append((number, root, name))
                if id(one) not in lost and one.requires_grad and not measure.is_lazy(one):
                    first, _, rest = name.partition(".")
                    self._models[name, one.shape].add(number)
                    self._heads[rest, one.shape].add(first)

    def has_twin(self, parameter: Any) -> bool:
        """Whether a network of the same build is trained, which that of a parameter may follow."""
        for number, _, name in self.places.get(id(parameter), ()):
            first, _, rest = name.partition(".")
            if self._models.get((name, parameter.shape), set()) - {number}:
                return True
            if rest and self._heads.get((rest, parameter.shape), set()) - {first}:
                return True
        return False


@final
class Weights:
    """Answers for one process. State: `_spoken` whether the program's own files speak of loading,
    and of copying, once they are read."""

    def __init__(
        self,
        stream: Stream,
        ownership: Ownership,
        structure: Structure,
        roots: Callable[[], dict[int, Any]],
    ) -> None:
        self._stream = stream
        self._ownership = ownership
        self._structure = structure
        self._roots = roots
        self._spoken: tuple[bool, bool] | None = None

    def models(self) -> list[Any]:
        """The models whose forward was seen."""
        return list(self._roots().values())

    def name_of(self, parameter: Any) -> str:
        """The name under which a model holds a parameter."""
        return self._ownership.name_of(parameter) or "a tensor"

    def held(self, starved: Collection[Any]) -> Held:
        """Return who holds which parameters now."""
        return Held(self._roots(), self._ownership, starved)

    def is_fresh(self, parameter: Any, held: Held) -> bool:
        """Whether a parameter is what a layer of torch's or of the program's own was made with.

        What is loaded, or follows another network, stays as it is on purpose.
        """
        born = self._structure.born.get(self._stream.registry.known(parameter))
        loads, copies = self._speaks_of()
        if born != parameter._version and loads:
            return False
        for _, root, name in held.places.get(id(parameter), ()):
            if self._is_foreign(root, name):
                return False
        return not (copies and held.has_twin(parameter))

    def _is_foreign(self, root: Any, name: str) -> bool:
        """Whether one of the modules that hold a parameter is of a library's making."""
        module = root
        for part in ["", *name.split(".")[:-1]]:
            module = getattr(module, part) if part else module
            home = type(module).__module__
            file = getattr(sys.modules.get(home), "__file__", None) or ""
            if home.partition(".")[0] != "torch" and not self._stream.locator.is_users(file):
                return True
        return False

    def _speaks_of(self) -> tuple[bool, bool]:
        """Whether the program's own files speak of loading, and of copying."""
        if self._spoken is None:
            files = {getattr(one, "__file__", None) for one in list(sys.modules.values())}
            mine = sorted(f for f in files if f and self._stream.locator.is_users(f))
            text = "".join("".join(linecache.getlines(file)) for file in mine)
            self._spoken = bool(_LOADS.search(text)), bool(_COPIES.search(text))
        return self._spoken
