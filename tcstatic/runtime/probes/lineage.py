"""Where the graph of one round of training is cut: which values reach a loss without a gradient.

For the time between two steps each operation of torch is seen once, in torch's own way
(`TorchFunctionMode`): it changes nothing of what it sees. Sets are bits of a number: one for each
parameter that is asked about, one for each cut. What a tensor with a graph was made of is noted at
its node, so that nothing lives longer than the program lets it.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any, Final, final

from tcstatic.model import Location
from tcstatic.runtime.probes.handing import Handing
from tcstatic.runtime.probes.locate import Locator
from tcstatic.runtime.probes.nested import numbers_in, tensors_in
from tcstatic.runtime.probes.nodes import FLAT

_NOTE: Final = "tcstatic.lineage"
_MOST_CUTS: Final = 256
_MOST_NODES: Final = 4_096
# What hands the numbers of a tensor on to Python or numpy.
_EXPORTS: Final = frozenset("item tolist numpy __array__ __float__".split())
_IMPORTS: Final = frozenset("tensor as_tensor asarray".split())
# Attributes of a tensor that are its numbers; of all others, nothing is computed.
_VIEWS: Final = frozenset("data T mT H mH real imag".split())
# Only the first argument gives numbers, the others a shape, a type or a device.
_OF_FIRST: Final = frozenset(
    "to type_as view_as expand_as reshape_as resize_as_ masked_fill masked_fill_".split()
)
_SHAPED: Final = ("_like", "new_tensor", "new_zeros", "new_ones", "new_full", "new_empty")
# Whose derivative is zero everywhere, though the graph goes on; by torch's other names, too.
_FLAT: Final = FLAT | {"fix", "heaviside"}
# A cut that nobody makes without knowing that gradients end there comes before one that only
# compares or counts.
_PLAIN: Final = frozenset("detach detach_ data item tolist numpy __float__ tensor".split())
# Which take another way than the layers they are made of where no gradients are wanted, unless a
# mode of torch's is entered.
_SWIFT: Final = frozenset({"MultiheadAttention", "TransformerEncoderLayer", "TransformerEncoder"})
_DECORATED: Final = "decorate_context"  # what torch wraps a function with ``@no_grad()`` in

State = tuple[int, int]
_NOTHING: Final[State] = (0, 0)


@final
@dataclass(slots=True)
class Cut:
    """A place where gradients end: `behind` the parameters that the value before it was made of;
    `sure` where no other use than keeping gradients back is likely; `function` a function of the
    program's own whose backward hands nothing back."""

    where: Location
    operation: str
    sure: bool
    behind: int = 0
    function: str = ""


@final
class Lineage:
    """Follows what the values of one round are made of.

    State: `cuts` in the order in which they were met, `_known` their bits by place and operation;
    `reached` what the losses so far were made of, `losses` the cuts past which they were, by where
    their backward was called, the last one last; `_plain` tensors without a graph by ``id``;
    `_numbers` and `_arrays` what left torch, by value or by shape; `_off` where gradients were
    turned off.
    """

    def __init__(self, parameters: Sequence[Any], locator: Locator) -> None:
        torch: Any = sys.modules["torch"]
        self._tensor = torch.Tensor
        self._enabled: Callable[[], bool] = torch.is_grad_enabled
        self._apply = getattr(torch.autograd.Function.apply, "__code__", None)
        self._locator = locator
        self._bits = {id(p): (p, 1 << place) for place, p in enumerate(parameters)}
        self.cuts: list[Cut] = []
        self._known: dict[tuple[str, int, str], int] = {}
        self._plain: dict[int, tuple[weakref.ref[Any], int]] = {}
        self._numbers: dict[float, int] = {}
        self._arrays: dict[tuple[int, ...], int] = {}
        self._off: tuple[int, CodeType, Location, bool] | None = None
        self._handing = Handing(locator)
        self.reached = 0
        self.losses: dict[Location | None, int] = {}

    def end(self) -> None:
        """Its round is over: what backwards hand on from here on is none of it."""
        self._handing.over = True

    def loss(self, tensor: Any, where: Location | None) -> None:
        """A backward is about to begin at a tensor."""
        reached, through = self._state(tensor)
        self.reached |= reached
        self.losses[where] = self.losses.pop(where, 0) | through
        if tensor.grad_fn is not None:
            self._handing.watch(tensor.grad_fn, self._behind)

    def cut_of(self, place: int) -> tuple[Cut, bool] | None:
        """The cut behind which a parameter lies that the losses were made with, and did not reach;
        and whether losses of several places were made past it. That of the last loss alone comes
        first."""
        bit = 1 << place
        if self.reached & bit:
            return None
        found = []
        last = next(reversed(self.losses.values()), 0)
        for number, cut in enumerate(self.cuts):
            times = sum(through >> number & 1 for through in self.losses.values())
            if cut.behind & bit and times:
                ranked = (times > 1 or not last >> number & 1, not cut.sure, number)
                found.append((ranked, cut, times > 1))
        return min(found, key=lambda one: one[0])[1:] if found else None

    def withheld_from(self, place: int) -> Cut | None:
        """The function of the program's own that kept all gradients from a parameter that has
        none, though the losses were made of it."""
        for one in self._handing.withheld:
            if one.behind >> place & 1:
                return Cut(one.where, f"{one.function}.backward", True, one.behind, one.function)
        return None

    def before(self, func: Any, args: Any, kwargs: Any) -> tuple[str, State] | None:
        """Return the name of an operation and what its inputs are made of; None where it gives
        nothing of them on."""
        name = getattr(func, "__name__", "")
        if name == "__get__":
            name = getattr(func.__self__, "__name__", "")
            if name not in _VIEWS:
                return None
        elif name == "backward":
            self.loss(args[0], self._locator.here(1))
            return None
        elif name == "_set_grad_enabled":
            self._switched(enabled=bool(args[0]))
            return None
        elif name.endswith(_SHAPED) or name in ("__set__", "requires_grad_", "__bool__"):
            return None
        live, past = 0, 0
        given = args[:1] if name in _OF_FIRST else (args, kwargs)
        for one in tensors_in(given, self._tensor):
            mine, cut = self._state(one)
            live |= mine
            past |= cut
        if self._numbers:
            past |= self._of_numbers(given)
        if self._arrays and name in _IMPORTS:
            past |= self._of_array(args[0] if args else None)
        return (name, (live, past)) if live or past else None

    def after(self, given: tuple[str, State], args: Any, output: Any) -> None:
        """An operation is done: note what its results are made of."""
        name, (live, past) = given
        if name in _EXPORTS:
            self._exported(name, live, past, output)
            return
        cut = -1
        results = args[0] if output is None and args else output
        for one in tensors_in((results,), self._tensor):
            ends = not one.requires_grad or name in _FLAT
            if live and ends and cut < 0:
                cut = self._cut(name, live)
            now = (0, past | max(cut, 0)) if ends else (live, past)
            self._note(one, now)

    def _note(self, tensor: Any, state: State) -> None:
        node = tensor.grad_fn if tensor.requires_grad else None
        if node is not None:
            node.metadata[_NOTE] = state
        elif state[1]:
            key, plain = id(tensor), self._plain
            plain[key] = (weakref.ref(tensor, lambda _: plain.pop(key, None)), state[1])

    def _state(self, tensor: Any) -> State:
        node = tensor.grad_fn if tensor.requires_grad else None
        if node is not None:
            noted: State = node.metadata.get(_NOTE) or self._from_graph(node)
            return noted
        held = self._bits.get(id(tensor))
        live = held[1] if held is not None and tensor.requires_grad else 0
        known = self._plain.get(id(tensor))
        if known is not None and known[0]() is tensor:
            return live, known[1]
        if self._arrays and tensor.dim() and tensor.is_floating_point() and not live:
            return live, self._arrays.get(tuple(tensor.shape), 0)
        return (live, 0) if live else _NOTHING

    def _behind(self, node: Any) -> int:
        leaf = getattr(node, "variable", None)
        if leaf is not None:
            return self._state(leaf)[0]
        noted: State = node.metadata.get(_NOTE) or self._from_graph(node)
        return noted[0]

    def _from_graph(self, root: Any) -> State:
        """What the value of a node is made of that no operation of torch's own gave."""
        live, past, waiting, seen = 0, 0, [root], {root}
        while waiting and len(seen) < _MOST_NODES:
            node = waiting.pop()
            noted = node.metadata.get(_NOTE)
            if noted is not None:
                live, past = live | noted[0], past | noted[1]
                continue
            leaf = getattr(node, "variable", None)
            if leaf is not None:
                mine = self._state(leaf)
                live, past = live | mine[0], past | mine[1]
            following = [one for one, _ in node.next_functions if one is not None]
            waiting += [one for one in following if one not in seen]
            seen.update(following)
        root.metadata[_NOTE] = (live, past)
        return live, past

    # -- what leaves torch, and comes back --------------------------------------------------------

    def _exported(self, name: str, live: int, past: int, output: Any) -> None:
        if live:
            past |= max(self._cut(name, live), 0)
        if isinstance(output, float):
            self._numbers[output] = self._numbers.get(output, 0) | past
        elif isinstance(output, list):
            for one in numbers_in(output):
                self._numbers[one] = self._numbers.get(one, 0) | past
        elif hasattr(output, "shape") and output.shape:
            shape = tuple(output.shape)
            self._arrays[shape] = self._arrays.get(shape, 0) | past

    def _of_numbers(self, given: Any) -> int:
        """The cuts that numbers among the arguments come from; 0, 1 and the like are anyone's."""
        found = 0
        for one in numbers_in(given):
            if one not in (0.0, 1.0, -1.0):
                found |= self._numbers.get(one, 0)
        return found

    def _of_array(self, data: Any) -> int:
        shape = getattr(data, "shape", None)
        return self._arrays.get(tuple(shape), 0) if shape else 0

    # -- places -----------------------------------------------------------------------------------

    def _cut(self, name: str, live: int) -> int:
        """Note a cut here, and return its bit; -1 where no line of the program's own is."""
        off = not self._enabled()
        where = self._place(off=off)
        if where is None:
            return -1
        key = (where.file, where.line, name)
        bit = self._known.get(key)
        if bit is None:
            if len(self.cuts) >= _MOST_CUTS:
                return -1
            bit = self._known[key] = 1 << len(self.cuts)
            words = "no_grad()" if off else f".{name}" if name == "data" else f"{name}()"
            self.cuts.append(Cut(where, words, self._is_sure(name, off=off)))
        self.cuts[bit.bit_length() - 1].behind |= live
        return bit

    def _is_sure(self, name: str, *, off: bool) -> bool:
        """Whether a cut is one that somebody wrote: not an update in place of other weights, or
        the reading of a state."""
        if off:
            return not name.endswith("_")
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame.f_code.co_filename == __file__:
            frame = frame.f_back
        mine = frame is not None and self._locator.is_users(frame.f_code.co_filename)
        return name in _PLAIN and mine

    def _switched(self, *, enabled: bool) -> None:
        if enabled:
            self._off = None
        elif self._enabled():
            frame = self._locator.frame(1)
            if frame is not None:
                decorated = _is_decorated(frame)
                place = self._locator.place(frame)
                self._off = (id(frame), frame.f_code, place, decorated)

    def _applied(self, frame: FrameType) -> FrameType | None:
        """The user's frame that applied a function whose own forward is in progress: nothing is
        recorded in that, and in checkpoints, which are such functions."""
        found: FrameType | None = None
        inner: FrameType | None = frame
        while inner is not None:
            if inner.f_code is self._apply:
                found = inner.f_back
            inner = inner.f_back
        while found is not None and not self._locator.is_users(found.f_code.co_filename):
            found = found.f_back
        return found

    def _place(self, *, off: bool) -> Location | None:
        """The user's line; under ``no_grad()``, that within the function which wrote it."""
        nearest = frame = self._locator.frame(1)
        if frame is None:
            return None
        if not off:
            return self._locator.place(frame)
        if self._off is None:
            return self._locator.place(self._applied(frame) or frame)
        number, code, place, decorated = self._off
        inner: FrameType = frame
        while frame is not None:
            if id(frame) == number and frame.f_code is code:
                if decorated and inner is not frame:
                    return _first_line(inner.f_code, self._locator)
                return self._locator.place(frame)
            if self._locator.is_users(frame.f_code.co_filename):
                inner = frame
            frame = frame.f_back
        return place if nearest is not None else None


def mode_of(lineage: Lineage) -> Any:
    """Return a mode of torch's that shows a lineage each operation while it is entered; its
    `lineage` may be set to None, and is so once something of ours raises."""
    from torch._C import _is_tracing
    from torch._C._functorch import peek_interpreter_stack
    from torch.overrides import TorchFunctionMode

    class Mode(TorchFunctionMode):
        def __init__(self) -> None:
            super().__init__()
            self.lineage: Lineage | None = lineage
            self.problem = ""

        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            kwargs = kwargs or {}
            seen = self.lineage
            if seen is None or peek_interpreter_stack() is not None or _is_tracing():
                return func(*args, **kwargs)
            try:
                given = seen.before(func, args, kwargs)
            except Exception as error:
                given, self.lineage, self.problem = None, None, repr(error)
            output = func(*args, **kwargs)
            if given is not None:
                try:
                    seen.after(given, args, output)
                except Exception as error:
                    self.lineage, self.problem = None, repr(error)
            return output

    return Mode()


def _is_decorated(frame: FrameType) -> bool:
    """Whether torch turned gradients off around a function that `frame` calls."""
    inner: FrameType | None = sys._getframe(1)
    while inner is not None and inner is not frame:
        if inner.f_code.co_name == _DECORATED:
            return True
        inner = inner.f_back
    return False


def _first_line(code: CodeType, locator: Locator) -> Location:
    """Where a function begins: at its first decorator."""
    line = code.co_firstlineno
    return Location(locator.relative(code.co_filename), line, 1, line, 1, code.co_qualname)


def is_swift(module: Any) -> bool:
    """Whether a model may take another way than the layers it is made of."""
    return any(not one.training and type(one).__name__ in _SWIFT for one in module.modules())


def may_follow(models: Iterable[Any]) -> bool:
    """Whether torch's operations may be looked at: one process, no mode of the program's own,
    nothing compiled, and no layer that takes another way then."""
    from torch._C import _len_torch_function_stack

    torch: Any = sys.modules["torch"]
    counters = getattr(sys.modules.get("torch._dynamo.utils"), "counters", {})
    compiled = "frames" in counters
    alone = not (torch.distributed.is_available() and torch.distributed.is_initialized())
    return (
        alone
        and not compiled
        and _len_torch_function_stack() == 0
        and not any(map(is_swift, models))
    )
