"""Where the weights of a model come from: made at random here, or taken from elsewhere."""

from __future__ import annotations

import linecache
import re
import sys
from collections.abc import Callable, Collection
from typing import Any, Final, final

from tcstatic.runtime.probes.ownership import Ownership
from tcstatic.runtime.probes.stream import Stream
from tcstatic.runtime.probes.structure import Structure

_LOADS: Final = re.compile(r"load|from_pretrained|copy_\(|pretrain|checkpoint")
_COPIES: Final = re.compile(r"deepcopy|load_state_dict|copy_\(")


@final
class Weights:
    """Answers for one process. State: `_spoken` what the program's own files say, once read."""

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
        self._spoken: str | None = None

    def models(self) -> list[Any]:
        """The models whose forward was seen."""
        return list(self._roots().values())

    def name_of(self, parameter: Any) -> str:
        """The name under which a model holds a parameter."""
        return self._ownership.name_of(parameter) or "a tensor"

    def is_fresh(self, parameter: Any, starved: Collection[Any]) -> bool:
        """Whether a parameter is what a layer of torch's or of the program's own was made with.

        What is loaded, or follows another network, stays as it is on purpose.
        """
        born = self._structure.born.get(self._stream.registry.known(parameter))
        if born != parameter._version and _LOADS.search(self._text()):
            return False
        for root in self.models():
            named = self._ownership.parameters(root)
            for name, one in named:
                if one is parameter and (self._is_foreign(root, name)):
                    return False
        return not (_COPIES.search(self._text()) and self._has_twin(parameter, starved))

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

    def _has_twin(self, parameter: Any, starved: Collection[Any]) -> bool:
        """Whether a network of the same build is trained, which this one may follow."""
        lost = set(map(id, starved))
        named = [
            (number, name, one)
            for number, root in self._roots().items()
            for name, one in self._ownership.parameters(root)
        ]
        for number, name, one in named:
            if one is not parameter:
                continue
            for other, second, two in named:
                if id(two) in lost or two.shape != one.shape or not two.requires_grad:
                    continue
                mine, its = name.partition("."), second.partition(".")
                if (other != number and name == second) or (
                    mine[2] and mine[0] != its[0] and mine[2] == its[2]
                ):
                    return True
        return False

    def _text(self) -> str:
        """All that the program's own files say."""
        if self._spoken is None:
            files = {getattr(one, "__file__", None) for one in list(sys.modules.values())}
            mine = sorted(f for f in files if f and self._stream.locator.is_users(f))
            self._spoken = "".join("".join(linecache.getlines(file)) for file in mine)
        return self._spoken
