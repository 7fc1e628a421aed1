"""What a loss was made of, read from the autograd graph that its backward is about to use.

The graph tells what the source often does not: which operation made the input of a loss, through
any number of files and layers. Only its shape is read (the kinds of nodes, the sizes of what flows
between them), never a saved tensor, which hooks of the program may have to bring back. Nodes carry
the place of the call that made them, where a site has seen it, in torch's own notes about a node.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, final

from tcstatic.model import Location, Needs, Site
from tcstatic.runtime.probes.attending import misplaced, shape_of
from tcstatic.runtime.probes.blanks import Blanks
from tcstatic.runtime.probes.growth import Growth
from tcstatic.runtime.probes.nodes import NOTE, kind_of, signed
from tcstatic.runtime.probes.pairing import Pairing
from tcstatic.runtime.probes.products import Products
from tcstatic.runtime.probes.single import Single
from tcstatic.runtime.probes.stream import HEARD, Stream, listener

if TYPE_CHECKING:
    from tcstatic.runtime.probes.optimizers import Optimizer

_OWN: Final = "tcstatic.own"  # that an attribute of the program's module was called
_ATTRIBUTE: Final = re.compile(r"self\.\w+")
# Steps whose graphs are read, and then one in so many: what a loss is made of stays.
_FIRST_STEPS: Final = 8
_NOW_AND_THEN: Final = 64
_MOST_BACKWARDS: Final = 32  # of one step: more are a long accumulation, or nothing ever steps
_MOST_NODES: Final = 64
_WHOLE: Final = 2  # losses whose graphs are looked through as a whole
_MOST_TOLD: Final = 64
_MOST_PARTS: Final = 4
# What lies between a loss and the number that backward is called on, by the name of its node.
_TOP: Final = frozenset(
    "Add Sub Rsub Mul Div Neg Mean Sum Pow Abs Sqrt Stack Cat Gather NanToNum Where Square".split()
)
_SHAPE: Final = frozenset(
    """View UnsafeView ReshapeAlias Squeeze Unsqueeze Transpose T Permute Slice Select Split Unbind
    Clone ToCopy Alias AsStrided Index IndexSelect MaskedSelect Narrow Flatten Unflatten""".split()
)
_REDUCING: Final = frozenset(["Mean", "Sum"])
_LOSSES: Final = {
    "NllLoss": "nll_loss",
    "NllLoss2D": "nll_loss",
    "BinaryCrossEntropyWithLogits": "bce_with_logits",
    "BinaryCrossEntropy": "binary_cross_entropy",
    "MseLoss": "mse_loss",
    "SmoothL1Loss": "smooth_l1_loss",
    "HuberLoss": "huber_loss",
}
# Losses that are not symmetric, of targets that may need a gradient for all that torch asks.
_OF_LABELS: Final = frozenset({"bce_with_logits", "binary_cross_entropy"})
_MAKERS: Final = {
    "Softmax": "softmax",
    "SafeSoftmax": "softmax",
    "Sigmoid": "sigmoid",
    "LogSoftmax": "log_softmax",
    "LogSigmoid": "logsigmoid",
}
LAYERS: Final = frozenset(_MAKERS)  # which have the names of torch's layers
# What leaves the last dimension of rows where it is.
_KEEPS_LAST: Final = frozenset(
    "View UnsafeView ReshapeAlias Index IndexSelect Slice Clone ToCopy Alias".split()
)
# What makes scores, of any sign or none below zero: never log-probabilities.
_SCORES: Final = frozenset(
    "Addmm Mm Bmm Baddbmm Convolution Relu LeakyRelu Gelu Elu Tanh NativeBatchNorm".split()
)
# What changes the shape of a prediction on purpose, so that a difference of all pairs is meant.
_SPREAD: Final = _SHAPE - {"Clone", "ToCopy", "Alias"} | {"Expand", "Repeat"}


@final
@dataclass(frozen=True, slots=True)
class _Loss:
    """One loss within a graph: `made_by` the operation whose result it was given, at `made_at`;
    `shapes` where its input was spread against the targets, so that all pairs were compared;
    `over_batch` where log_softmax was taken over another dimension than that of the classes;
    `unnormalised` where it was given the result of a layer for log-probabilities, `swapped` where
    it was given that for the targets, and a constant for it."""

    name: str
    where: Location | None
    made_by: str = ""
    made_at: Location | None = None
    shapes: str = ""
    over_batch: bool = False
    unnormalised: bool = False
    swapped: bool = False


@final
class Graphs:
    """Reads the graphs of losses, and tells what is new in them.

    State: `_told` the losses that were told, `_looked` how many were looked through as a whole;
    `_backwards` how many were read in which step;
    `_layers` the places where layers without parameters were made, by operation.
    """

    def __init__(
        self, stream: Stream, needs: Needs, models: Callable[[], Iterable[Any]] = tuple
    ) -> None:
        self._stream = stream
        self._pairing = Pairing(stream, models)
        self._blanks, self._products = Blanks(stream, models), Products(stream)
        self._single = Single(stream, self._layer)
        self._growth = Growth(stream)
        self._wanted = "loss.forward" in needs.events
        self._told: dict[_Loss, None] = {}
        self._looked = 0
        self._backwards = (0, 0)
        self._layers: dict[str, list[Location]] = {}

    @property
    def due(self) -> bool:
        """Whether the graphs of this step are read."""
        turn, (last, backwards) = self._stream.rounds, self._backwards
        if last == turn and backwards >= _MOST_BACKWARDS:
            return False
        fresh = turn - self._stream.began < _FIRST_STEPS
        return self._wanted and (fresh or not turn % _NOW_AND_THEN)

    def made(self, site: Site, value: Any) -> None:
        """A call returned the result of an operation that may make a loss, or the input of one."""
        if "layer" in site.arguments:
            self._layers.setdefault(site.arguments["layer"], []).append(site.location)
        elif self.due:
            self.note(value, site.location)
            if site.callee.startswith(".") and _ATTRIBUTE.fullmatch(site.subject):
                self._note_own(value)

    def note(self, value: Any, where: Location | None) -> None:
        """Note where a tensor was made, at its node."""
        node = getattr(value, "grad_fn", None)
        if node is not None and where is not None:
            node.metadata.setdefault(NOTE, where)

    @staticmethod
    def _note_own(value: Any) -> None:
        node = getattr(value, "grad_fn", None)
        if node is not None:
            node.metadata[_OWN] = True

    def read(self, loss: Any, where: Location | None) -> bool:
        """Tell of the losses in the graph of a number whose backward begins; return whether more is
        to be read of this one."""
        if loss.grad_fn is None or not self._wanted:
            return self.due
        self._growth.read(loss.grad_fn, where)
        if not self.due:
            if self._single.suspects:
                self._single.clears(loss.grad_fn)
            return False
        turn, (last, backwards) = self._stream.rounds, self._backwards
        self._backwards = (turn, backwards + 1 if last == turn else 1)
        self._pairing.read(loss.grad_fn, where)
        self._blanks.read(loss.grad_fn, where)
        self._products.read(loss.grad_fn, where)
        for found in _losses(loss.grad_fn):
            made_at = found.made_at or self._layer(found.made_by)
            one = replace(found, where=found.where or where, made_at=made_at)
            if one not in self._told and len(self._told) < _MOST_TOLD:
                self._told[one] = None
                self._tell(one)
        self._single.read(loss.grad_fn, where)
        if self._looked < _WHOLE:
            self._looked += 1
            self._look(loss.grad_fn)
        return self.due

    def settle(self, live: Iterable[Optimizer]) -> None:
        """The run ends."""
        self._pairing.settle()
        self._blanks.settle()
        self._single.settle(live)
        self._growth.settle()

    def _look(self, root: Any) -> None:
        """Tell the weights of attention in a graph that sum to one over something else."""
        for node, over in misplaced(root):
            where = node.metadata.get(NOTE) or self._layer("softmax")
            if where is not None:
                self._stream.tell_of_run(where, {}, {"weighs_others": True, "over": over})

    def _layer(self, operation: str) -> Location | None:
        places = self._layers.get(operation)
        return places[-1] if places else None

    def _tell(self, one: _Loss) -> None:
        stream = self._stream
        subjects = {HEARD: (listener("loss", len(self._told)),)}
        if one.made_at is not None:
            stream.tell(stream.make("call", one.made_at, subjects, {"operation": one.made_by}))
        values = {
            "loss": one.name,
            "made_by": one.made_by,
            "spread": bool(one.shapes),
            "shapes": one.shapes,
            "over_batch": one.over_batch,
            "unnormalised": one.unnormalised,
            "swapped": one.swapped,
        }
        stream.tell(stream.make("loss.forward", one.where, subjects, values))


def _losses(root: Any) -> Iterator[_Loss]:
    """Yield the losses that a number was made of, from a bounded part of its graph."""
    # Where rows or columns of a table were taken together, it is meant to be one.
    waiting: list[tuple[Any, Location | None, bool]] = [(root, None, False)]
    seen: set[Any] = set()
    differences: list[_Loss] = []
    own_pairs = False
    while waiting and len(seen) < _MOST_NODES:
        node, above, meant = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        kind = kind_of(node)
        where = node.metadata.get(NOTE, above)
        if kind in _LOSSES:
            yield _loss(node, _LOSSES[kind], where)
        elif kind == "LogSoftmax":
            yield _made("cross_entropy", where, _below(node))
        elif kind in _TOP or kind in _SHAPE:
            meant = meant or (kind in _REDUCING and shape_of(node) != ())
            shapes = _spread(node) if kind == "Sub" and not meant else ""
            if shapes:
                differences.append(_Loss("difference", where, shapes=shapes))
            children = [child for child, _ in node.next_functions if child is not None]
            own_pairs = own_pairs or (kind == "Sub" and _of_pairs(node, children))
            waiting += [(child, where, meant or _compared(child, node)) for child in children]
    # An energy distance compares the predictions with one another, too.
    yield from () if own_pairs else differences


def _loss(node: Any, name: str, where: Location | None) -> _Loss:
    below = _below(node)
    if below is None and len(node.next_functions) > 1:
        target = _past(node.next_functions[1][0])
        learned = kind_of(target) in _MAKERS or _is_of_scores(target)
        return _Loss(name, where, swapped=name in _OF_LABELS and learned)
    if name == "nll_loss" and below is not None and kind_of(below) == "LogSoftmax":
        if _is_over_batch(node, below):
            made = replace(_made(name, where, below), over_batch=True)
            # The dimension of a layer is set where it is made.
            return replace(made, made_at=None) if below.metadata.get(_OWN) else made
        return _made("cross_entropy", where, _below(below))
    if name == "nll_loss" and _is_of_scores(below):
        return _Loss(name, where, unnormalised=True)
    if below is not None and kind_of(below) == "Expand":
        child = below.next_functions[0][0]
        shapes = _outer(shape_of(child), shape_of(below))
        return _Loss(name, where, shapes=shapes) if shapes else _made(name, where, _past(child))
    return _made(name, where, below)


def _made(name: str, where: Location | None, node: Any) -> _Loss:
    made_by = _MAKERS.get(kind_of(node), "") if node is not None else ""
    return _Loss(name, where, made_by, node.metadata.get(NOTE) if made_by else None)


def _is_of_scores(node: Any) -> bool:
    """Whether a value is what a layer has made, or several of them put together; a bias that was
    added by hand is a part of the layer."""
    if node is None or kind_of(node) in _SCORES:
        return node is not None
    children = [child for child, _ in node.next_functions if child is not None]
    if kind_of(node) in ("Cat", "Stack"):
        parts = [_past(child) for child in children[:_MOST_PARTS]]
        return all(part is not None and kind_of(part) in _SCORES for part in parts)
    made = [child for child in children if kind_of(child) != "AccumulateGrad"]
    is_biased = kind_of(node) == "Add" and len(made) == 1 < len(children)
    return is_biased and kind_of(_past(made[0])) in _SCORES


def _is_over_batch(loss: Any, softmax: Any) -> bool:
    """Whether log_softmax ran over another dimension than the last, which that of the classes is
    for a loss of rows; nothing between them may have turned the dimensions."""
    node = loss.next_functions[0][0]
    shape, rows = shape_of(softmax), shape_of(node)
    while node is not softmax and kind_of(node) in _KEEPS_LAST and node.next_functions:
        node = node.next_functions[0][0]
    dimension = getattr(softmax, "_saved_dim", None)
    if node is not softmax or not isinstance(dimension, int) or kind_of(loss) != "NllLoss":
        return False
    if len(shape) < 2 or len(rows) != 2 or rows[1] != shape[-1]:
        return False
    return signed(dimension) % len(shape) != len(shape) - 1


def _below(node: Any) -> Any:
    """Return the node that made the first input, past changes of shape; None for a leaf."""
    functions = node.next_functions
    return _past(functions[0][0]) if functions else None


def _past(node: Any) -> Any:
    for _ in range(_MOST_NODES):
        if node is None or kind_of(node) not in _SHAPE or not node.next_functions:
            break
        node = node.next_functions[0][0]
    return node


def _spread(node: Any) -> str:
    """Return the shapes of a difference of a prediction and something constant, where it has an
    element for each pair of theirs."""
    children = [child for child, _ in node.next_functions if child is not None]
    if len(children) != 1:
        return ""
    child = children[0]
    if kind_of(child) == "Expand":  # as torch's own l1_loss does before it takes the difference
        child, node = child.next_functions[0][0], child
    if child is None or kind_of(child) in _SPREAD:
        return ""
    return _outer(shape_of(child), shape_of(node))


def _compared(node: Any, above: Any) -> bool:
    """Whether differences are compared with given ones: those of all pairs are meant then."""
    return kind_of(node) == kind_of(above) == "Sub" and shape_of(node) == shape_of(above)


def _of_pairs(node: Any, children: list[Any]) -> bool:
    """Whether predictions are compared with predictions, each with each."""
    table = shape_of(node)
    if len(table) != 2 or min(table) < 2:
        return False
    return {shape_of(child) for child in children} == {(table[0], 1), (1, table[1])}


def _outer(given: tuple[int, ...], result: tuple[int, ...]) -> str:
    """Return both shapes where N numbers were spread to N x N, '' for any other change.

    A table for each row of a batch is meant: quantiles are compared like this.
    """
    if (
        len(result) < 2
        or result[-1] != result[-2]
        or result[-1] < 2
        or max(result[:-2], default=1) > 1
    ):
        return ""
    column = given == (*result[:-1], 1)
    row = len(result) == 2 and given == result[1:]
    return f"{_text(given)} to {_text(result)}" if column or row else ""


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
