"""Parameters that a loss was made with and that no gradient ever reaches: where the graph is cut.

An optimizer whose first steps find parameters without a gradient has one round of its training
looked at closely (`Lineage`), later another one or two. What is found is told at the end of the
run, since a cut that is mended in time (a warm-up, a phase) is no fault.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, final

from tcstatic.model import Location
from tcstatic.runtime.probes.lineage import Cut, Lineage, is_swift, may_follow, mode_of
from tcstatic.runtime.probes.optimizers import Optimizer, Snapshot
from tcstatic.runtime.probes.readings import Norms
from tcstatic.runtime.probes.stream import HEARD, Stream
from tcstatic.runtime.probes.weights import Weights

# Steps of an optimizer after which it is looked at, if there is a reason: at first all that is
# missing is a gradient; one that is there and zero is missing for good only after a few steps.
DUE: Final = (1, 3, 16)
_SETTLED: Final = 3
_MOST_WINDOWS: Final = 12
_MOST_OTHERS: Final = 16  # steps: a critic may take a few before a generator does
_MOST_SUSPECTS: Final = 4_096
_MOST_TOLD: Final = 16
_MOST_NAMED: Final = 4
_LOOKED_AT: Final = 1_024  # elements of a gradient, in a step that nobody watches


@final
@dataclass(slots=True)
class _Window:
    """A round that is looked at: of which optimizer, which is `thing` while it lives, with which
    parameters in question; `others` the steps of other ones in it; `paused` while the mode is off
    the stack."""

    mode: Any
    number: int
    thing: Callable[[], Any]
    positions: list[int]
    parameters: list[Any]
    others: int = 0
    paused: bool = False


@final
@dataclass(slots=True)
class _Starved:
    """A parameter behind a cut, as it was when that was seen; `shared` where several losses were
    made past the cut. A gradient of zero may leave the values, and moves their `version`, which is
    -1 then."""

    cut: Cut
    shared: bool
    name: str
    fresh: bool
    parameter: weakref.ref[Any]
    version: int
    norm: float = -1.0


@final
@dataclass(slots=True)
class _Case:
    """What is known of one optimizer, which is `thing` while it lives: `first` the norms of its
    first steps, `last` of the last, both no longer than they are asked for; `windows` how often a
    look at a round began, `tries` how often it ended with a loss; `starved` by position; `trained`
    whether a gradient was seen that is not zero; `told` whether its cut was named for a failing
    step."""

    thing: Callable[[], Any]
    first: list[Norms] = field(default_factory=list)
    last: Norms | None = None
    tries: int = 0
    windows: int = 0
    starved: dict[int, _Starved] = field(default_factory=dict)
    steps: int = 0
    trained: bool = False
    title: str = ""
    told: bool = False

    @property
    def open(self) -> bool:
        """Whether another round may be looked at."""
        return self.tries < len(DUE)


@final
class Cuts:
    """Finds the cuts of one process.

    State: `_cases` by optimizer; `window` the round that is looked at, `left` the modes that could
    not be taken off torch's stack yet.
    """

    def __init__(self, stream: Stream, weights: Weights) -> None:
        self._stream = stream
        self._weights = weights
        self._cases: dict[int, _Case] = {}
        self.window: _Window | None = None
        self.left: list[Any] = []

    # -- one round --------------------------------------------------------------------------------

    def loss(self, tensor: Any, where: Location) -> None:
        """A backward from this tensor is about to be called: nothing is looked at in it."""
        window = self.window
        if window is not None and window.mode.lineage is not None and not window.paused:
            window.mode.lineage.loss(tensor, where)
            window.paused = _is_on_top(window.mode)
            if window.paused:
                _overrides()._pop_mode()

    def backward_over(self) -> None:
        """The backward has returned: look on."""
        window = self.window
        if window is not None and window.paused:
            window.paused = False
            if _overrides()._get_current_function_mode() is None:
                window.mode.__enter__()
            else:
                self.window = None

    def calls(self, module: Any) -> None:
        """A model is about to be called: an evaluation is none of a round of training."""
        if self.window is None or module.training or sys.modules["torch"].is_grad_enabled():
            return
        held = set(map(id, self.window.parameters))
        if any(id(p) in held for p in module.parameters()) or is_swift(module):
            self.leave()

    def step_begins(self, optimizer: Optimizer) -> None:
        """An optimizer is about to step: its round is over, or one that does not come back."""
        if self.left:
            self.left = [mode for mode in self.left if not _taken_off(mode)]
        window = self.window
        if window is not None and window.number != optimizer.number:
            window.others += 1
            if window.others > _MOST_OTHERS or window.thing() is None:
                self.leave()
        elif window is not None:
            lineage = window.mode.lineage
            if lineage is None or lineage.losses:
                self._close(window, optimizer)

    def leave(self) -> None:
        """Stop looking, whatever was seen."""
        window, self.window = self.window, None
        if window is not None and window.mode.lineage is not None:
            window.mode.lineage.end()
        if window is not None and not window.paused and not _taken_off(window.mode):
            self.left.append(window.mode)

    def _close(self, window: _Window, optimizer: Optimizer) -> None:
        self.leave()
        lineage, case = window.mode.lineage, self._cases[optimizer.number]
        window.mode.lineage = None
        if lineage is None or not lineage.losses:
            return
        case.tries += 1
        held = self._weights.held(window.parameters)
        for place, parameter in enumerate(window.parameters):
            found = lineage.cut_of(place)
            if found is None and not _has_gradient(parameter):
                withheld = lineage.withheld_from(place)
                found = withheld and (withheld, False)
            if found is not None and len(case.starved) < _MOST_SUSPECTS:
                cut, shared = found
                name = self._weights.name_of(parameter)
                fresh = self._weights.is_fresh(parameter, held)
                version = -1 if parameter.grad is not None else parameter._version
                one = _Starved(cut, shared, name, fresh, weakref.ref(parameter), version)
                case.starved[window.positions[place]] = one

    # -- steps ------------------------------------------------------------------------------------

    def is_asked(self, optimizer: Optimizer) -> bool:
        """Whether anything is to be done after a step of this optimizer."""
        case = self._cases.get(optimizer.number)
        if case is None:
            return optimizer.steps < DUE[-1] and not optimizer.manual
        return bool(case.starved) or case.open or self.window is not None

    def stepped(self, optimizer: Optimizer, snapshot: Snapshot, norms: Norms) -> None:
        """A step is read and about to be counted."""
        if self.window is not None and self.window.number == optimizer.number:
            self._close(self.window, optimizer)
        case = self._cases.get(optimizer.number)
        if case is None:
            self._let_go()
            case = _Case(optimizer.thing, title=optimizer.title)
            self._cases[optimizer.number] = case
        case.steps = optimizer.steps + 1
        if case.open and len(case.first) < _SETTLED:
            case.first.append(norms)
        if case.starved and case.last is not None:
            self._disprove(case, snapshot, case.last)
        case.last = norms
        self._look(case, optimizer, snapshot)
        if not case.open:
            case.first = []
            case.last = case.last if case.starved else None

    def _let_go(self) -> None:
        """Drop what is kept for optimizers that are no more, but for what is to be told of them."""
        for number, case in list(self._cases.items()):
            if case.thing() is None:
                case.first, case.last = [], None
                if not (case.starved and case.trained):
                    del self._cases[number]

    def _disprove(self, case: _Case, snapshot: Snapshot, last: Norms) -> None:
        """Who had a gradient at the last step, or has other values now, is not starved."""
        gradients, norms = last.of_gradients(), last.of_parameters()
        if gradients is None or norms is None or len(norms) != len(snapshot.parameters):
            return
        case.trained = case.trained or any(gradients)
        for position, one in list(case.starved.items()):
            moved = one.version not in (-1, snapshot.parameters[position]._version)
            moved = moved or (one.norm >= 0.0 and norms[position] != one.norm)
            if gradients[position] or moved:
                del case.starved[position]
            one.norm = norms[position]

    def passed(self, optimizer: Optimizer) -> None:
        """A step went by unwatched: look at one parameter behind each cut."""
        case = self._cases.get(optimizer.number)
        if case is None or not case.starved:
            return
        cuts = {id(one.cut): one for one in reversed(case.starved.values())}
        mended = [key for key, one in cuts.items() if _is_fed(one)]
        if mended:
            left = {p: one for p, one in case.starved.items() if id(one.cut) not in mended}
            case.starved = left

    def _look(self, case: _Case, optimizer: Optimizer, snapshot: Snapshot) -> None:
        """Begin to look at the next round, if there is a reason."""
        tries = min(case.tries, len(DUE) - 1)
        if not case.open or case.steps < DUE[tries] or case.windows >= _MOST_WINDOWS:
            return
        wanted = self._suspects(case, snapshot)
        if not wanted:
            if case.steps >= _SETTLED:
                case.tries = len(DUE)
            return
        if self.window is not None or self.left or not may_follow(self._weights.models()):
            return
        parameters = [snapshot.parameters[position] for position in wanted]
        mode = mode_of(Lineage(parameters, self._stream.locator))
        case.windows += 1
        self.window = _Window(mode, optimizer.number, optimizer.thing, wanted, parameters)
        mode.__enter__()

    def _suspects(self, case: _Case, snapshot: Snapshot) -> list[int]:
        """The parameters without a gradient; after some steps those whose gradients are zero."""
        zero = self._always_zero(case)
        found = []
        for position, parameter in enumerate(snapshot.parameters):
            if not parameter.requires_grad or position in case.starved:
                continue
            missing = not snapshot.gradients[position]
            if missing or position in zero:
                found.append(position)
        return found[:_MOST_SUSPECTS]

    def _always_zero(self, case: _Case) -> set[int]:
        """The positions whose gradients were there and zero in all of the first steps."""
        read = [one.of_gradients() for one in case.first]
        known = [norms for norms in read if norms is not None]
        if len(known) < _SETTLED or len(set(map(len, known))) > 1:
            return set()
        columns = enumerate(zip(*known, strict=True))
        return {position for position, norms in columns if not any(norms) and 0.0 in norms}

    # -- what is told -----------------------------------------------------------------------------

    def name(self, optimizer: Optimizer, *, others: bool) -> bool:
        """Tell the cut that keeps all gradients from an optimizer, and whether it is known; where
        `others` are trained, one that is theirs as well is none."""
        case = self._cases.get(optimizer.number)
        known = [] if case is None else list(case.starved.values())
        if case is None or not known or (others and known[0].shared):
            return False
        if not case.told:
            case.told = True
            cut = known[0].cut
            values = {"operation": cut.operation}
            self._stream.tell_of_run(cut.where, {HEARD: (optimizer.heard,)}, values)
        return True

    def settle(self) -> None:
        """The run ends: tell the cuts that nothing has disproved."""
        self.leave()
        for number, case in self._cases.items():
            if case.steps < _SETTLED or not case.trained:
                continue
            found: dict[tuple[str, int], list[_Starved]] = {}
            for one in case.starved.values():
                if one.fresh:
                    key = (one.cut.where.file, one.cut.where.line)
                    found.setdefault(key, []).append(one)
            for several in list(found.values())[:_MOST_TOLD]:
                cut = several[0].cut
                names = [one.name for one in several[:_MOST_NAMED]]
                values = {
                    "withheld" if cut.function else "cut_off": True,
                    "type": case.title,
                    "operation": cut.operation,
                    "parameters": len(several),
                    "names": ", ".join(names),
                }
                self._stream.tell_of_run(cut.where, {"optimizer": (number,)}, values)


def _is_fed(one: _Starved) -> bool:
    """Whether a parameter has a gradient, or other values than it had."""
    parameter = one.parameter()
    if parameter is None:
        return False
    if one.version >= 0:
        return parameter.grad is not None or parameter._version != one.version
    return _has_gradient(parameter)


def _has_gradient(parameter: Any) -> bool:
    """Whether a parameter has a gradient that is not zero."""
    gradient = parameter.grad
    if gradient is None:
        return False
    # To ask a device would be to wait for it.
    return gradient.device.type != "cpu" or bool(gradient.flatten()[:_LOOKED_AT].any())


def _taken_off(mode: Any) -> bool:
    """Take a mode off torch's stack, if it lies on top; otherwise it only hands on."""
    on_top = _is_on_top(mode)
    if on_top:
        _overrides()._pop_mode()
    mode.lineage = mode.lineage if on_top else None
    return on_top


def _is_on_top(mode: Any) -> bool:
    return _overrides()._get_current_function_mode() is mode


def _overrides() -> Any:
    return sys.modules["torch.overrides"]
