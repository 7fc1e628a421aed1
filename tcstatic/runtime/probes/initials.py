"""Where the first values of parameters were written: by a call, by an assignment, by loading them,
or where the layer that holds them was made."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final, final

from tcstatic.model import Location, Site
from tcstatic.runtime.probes import measure
from tcstatic.runtime.probes.ownership import Ownership
from tcstatic.runtime.probes.roles import MODULE, TENSOR, role_of
from tcstatic.runtime.probes.stream import Stream

_MOST_MAPS: Final = 64  # looks for who holds some memory, each over all parameters
_MOST_LOADS: Final = 64
_MOST_MADE: Final = 20_000
_DRAWS: Final = frozenset(
    """normal_ uniform_ trunc_normal_ orthogonal_ sparse_ xavier_uniform_ xavier_normal_
    kaiming_uniform_ kaiming_normal_""".split()
)
_MOST_VAIN: Final = 64  # times that a call writes to something else before it is left alone

_Written = tuple[int, Location]


@final
class Initials:
    """Follows the writes of one process to parameters before the first step of an optimizer.

    State: `_turn` counts them; `_written` the last one by a parameter's number, and `_begun` the
    parameters that are trained by now; `_loads` the modules that a state was loaded into;
    `_given` the parameters that a state, or another tensor, was copied into; `_holders` whose
    memory begins where, for one version of all structure, and `_maps` how often that was looked up;
    `_vain` how often a site wrote to anything else, `left` those which nobody
    has to see any more; `_drawn` the turn in which a parameter was last drawn at random, `_unused`
    the loads after which no model was called.
    """

    def __init__(self, stream: Stream, ownership: Ownership) -> None:
        self._stream = stream
        self._ownership = ownership
        self._turn = 0
        self._written: dict[int, _Written] = {}
        self._loads: list[tuple[int, weakref.ref[Any], Location]] = []
        self._holders: tuple[int, dict[int, int]] = (-1, {})
        self._maps = 0
        self._begun: set[int] = set()
        self._given: set[int] = set()
        self._vain: Counter[int] = Counter()
        self.left: list[int] = []
        self._drawn: dict[int, int] = {}
        self._unused: list[tuple[int, weakref.ref[Any], Location]] = []

    def begins(self, parameters: Iterable[Any]) -> None:
        """The first step of those who train these parameters is about to begin."""
        self.used()
        self._begun.update(map(self._stream.registry.known, parameters))

    def used(self) -> None:
        """A model is about to be called: was all that was loaded drawn anew since?"""
        unused, self._unused = self._unused, []
        for turn, known, where in unused:
            module = known()
            parameters = [] if module is None else list(module.parameters())
            numbers = [self._stream.registry.known(one) for one in parameters if one.dim() > 1]
            if numbers and all(self._drawn.get(one, -1) > turn for one in numbers):
                place = self._written[numbers[0]][1]
                values = {"loaded_in_vain": True, "at": f"{place.file}:{place.line}"}
                subjects = {"model": (self._stream.registry.number(module),)}
                self._stream.tell_of_run(where, subjects, values)

    def registered(self, parameter: Any) -> None:
        """A parameter was set on a module, which is what makes a layer."""
        if self._turn >= _MOST_MADE or measure.is_lazy(parameter) or parameter.dim() < 2:
            return
        frame = self._stream.locator.frame(2)
        if frame is not None:
            self._note(self._stream.registry.known(parameter), self._stream.locator.place(frame))

    def filled(self, value: Any, site: Site) -> None:
        """A call has written to a tensor in place, and gives it back."""
        if self.wrote(value, site.location, given=site.callee.endswith("copy_")):
            number, drawn = self._held_by(value), site.callee.rpartition(".")[2] in _DRAWS
            self._drawn[number] = self._turn if drawn else -1
        else:
            self._vain[site.number] += 1
            if self._vain[site.number] == _MOST_VAIN:
                self.left.append(site.number)

    def wrote(self, value: Any, where: Location, *, given: bool = True) -> bool:
        """A tensor was written to, or its data is about to be set, by values that were `given`;
        whether that is noted."""
        number = self._held_by(value) if role_of(value) == TENSOR and value.dim() else 0
        wanted = number > 0 and number not in self._begun
        if wanted:
            self._note(number, where)
            self._given |= {number} if given else set()
        return wanted

    def loaded(self, module: Any, where: Location) -> None:
        """A state is about to be loaded."""
        if role_of(module) == MODULE and len(self._loads) < _MOST_LOADS:
            self._turn += 1
            self._loads.append((self._turn, weakref.ref(module), where))
            self._unused.append(self._loads[-1])
            self._given.update(map(self._stream.registry.number, module.parameters()))

    def was_given(self, parameter: Any) -> bool:
        """Tell whether a parameter was given its values by a state, by a copy, or by a training of
        this program."""
        number = self._stream.registry.known(parameter)
        return number in self._given or number in self._begun

    def was_loaded(self, parameter: Any) -> bool:
        """Tell whether a state was loaded into a module that holds a parameter."""
        modules = [module for _, known, _ in self._loads if (module := known()) is not None]
        return any(one is parameter for module in modules for one in module.parameters())

    def of(self, parameter: Any) -> Location | None:
        """Return where the values that a parameter began with were written."""
        found = [self._written.get(self._stream.registry.known(parameter))]
        for turn, known, where in self._loads:
            module = known()
            if module is not None and any(one is parameter for one in module.parameters()):
                found.append((turn, where))
        written = [one for one in found if one is not None]
        return max(written, key=lambda one: one[0])[1] if written else None

    def _note(self, number: int, where: Location) -> None:
        if number:
            self._turn += 1
            self._written[number] = (self._turn, where)

    def _held_by(self, tensor: Any) -> int:
        """The number of the parameter that a tensor is, or whose memory it shares."""
        known = self._stream.registry.known
        for one in (tensor, tensor._base):
            if one is not None and (number := known(one)):
                return number
        address = _address(tensor)
        if not address:
            return 0
        version = self._ownership.version
        if self._holders[0] != version and self._maps < _MOST_MAPS:
            self._maps += 1
            everyone = self._ownership.everyone()
            self._holders = (version, {_address(one): known(one) for one in everyone})
        return self._holders[1].get(address, 0)


def _address(tensor: Any) -> int:
    """Where the memory begins that a plain tensor lies in; 0 for any other."""
    if not measure.pointer(tensor):
        return 0
    return int(tensor.untyped_storage().data_ptr())
