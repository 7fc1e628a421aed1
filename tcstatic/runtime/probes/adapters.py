"""Low-rank additions to layers that are frozen while they add nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import permutations
from typing import Any, Final, final

from tcstatic.model import Location
from tcstatic.runtime.probes import measure
from tcstatic.runtime.probes.roles import TENSOR, role_of
from tcstatic.runtime.probes.stream import Stream

_LEAST_STEPS: Final = 3
_MOST_PARTS: Final = 8  # matrices of one module
# The dimensions over which a product of two matrices sums: of layers, the first is applied last.
_OF_LAYERS: Final = ((1, 0),)
_OF_ANY: Final = ((1, 0), (0, 1))


@final
class Adapters:
    """Looks at the models of one process. State: `_found` by model, the modules whose matrices are
    frozen at a place, one of a pair all zeros, as far as was seen."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._found: dict[int, dict[Location, str]] = {}

    def look(
        self, models: Mapping[int, Any], frozen: Mapping[int, Location], born: Mapping[int, int]
    ) -> None:
        """See which pairs of matrices add nothing, whatever else is trained of a model."""
        if self._stream.step < _LEAST_STEPS:
            return
        for number, model in models.items():
            if model is not None:
                self._found[number] = self._of_model(model, frozen, born)

    def _of_model(
        self, model: Any, frozen: Mapping[int, Location], born: Mapping[int, int]
    ) -> dict[Location, str]:
        stream, found = self._stream, dict[Location, str]()
        if not any(_has_moved(stream, one, born) for one in model.parameters()):
            return found
        low = [(module, *pair) for module in model.modules() for pair in _pairs(module)]
        if any(one.requires_grad or other.requires_grad for _, one, other in low):
            return found
        for module, one, _ in low:
            where = frozen.get(stream.registry.known(one))
            if where is not None and not one.any():
                found.setdefault(where, type(module).__name__)
        return found

    def changed(self) -> None:
        """``requires_grad`` is about to be set: what was seen holds no more."""
        self._found = {}

    def settle(self) -> None:
        """The run ends: tell of what was seen."""
        told: set[Location] = set()
        for number, found in self._found.items():
            for where, title in found.items():
                if where not in told:
                    told.add(where)
                    values = {"type": title, "adds_nothing": True}
                    self._stream.tell_of_run(where, {"model": (number,)}, values)


def _has_moved(stream: Stream, parameter: Any, born: Mapping[int, int]) -> bool:
    if not parameter.requires_grad or parameter.is_inference():
        return False
    before = born.get(stream.registry.known(parameter))
    return parameter.grad is not None or (before is not None and parameter._version > before)


def _pairs(module: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the matrices that a module itself holds, or its layers do, whose product is of lower
    rank than it might be, each with the other."""
    if type(module).__module__.partition(".")[0] == "torch":
        return
    layers = [getattr(child, "weight", None) for child in module.children()]
    own = list(module.parameters(recurse=False))
    for held, ways in ((layers, _OF_LAYERS), (own, _OF_ANY)):
        matrices: list[Any] = [one for one in held if role_of(one) == TENSOR and _is_matrix(one)][
            :_MOST_PARTS
        ]
        for one, other in permutations(matrices, 2):
            for inner, its in ways:
                rank = one.shape[inner]
                outer = min(one.shape[1 - inner], other.shape[1 - its])
                if rank == other.shape[its] and rank < outer:
                    yield one, other


def _is_matrix(parameter: Any) -> bool:
    """Whether a parameter is a matrix that is here: not sharded, nor made later."""
    whole = not hasattr(parameter, "to_local") and not measure.is_lazy(parameter)
    return whole and bool(parameter.dim() == 2)
