"""Which operation made the first number that is not finite, read from the graph of a loss.

Looked at only once a loss, or a gradient, is known not to be finite: what the graph has saved for
its backward is read then, but for what a hook of the program would have to bring back.
"""

from __future__ import annotations

import math
import sys
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

from tcstatic.model import Location
from tcstatic.runtime.probes import codes
from tcstatic.runtime.probes.measure import Pending
from tcstatic.runtime.probes.nodes import kind_of, walk
from tcstatic.runtime.probes.stream import HEARD, Stream

_MOST_NODES: Final = 20_000
_MOST_PLACES: Final = 4
_HUGE: Final = 1e12  # from here on, numbers may have grown too large by themselves
_SAVED: Final = "_saved_"
_GIVEN: Final = "given"  # the kind of what was there before any operation of the graph
# Who is told of a cause, and the models that were called.
Around = tuple[tuple[int, ...], list[Any]]


@final
@dataclass(frozen=True, slots=True)
class _Operation:
    """How an operation is written, and what is wrong with what it was given, if anything."""

    names: frozenset[str]
    operators: frozenset[str]
    fault: Callable[[Mapping[str, Any]], str]


def _written(
    names: str, fault: Callable[[Mapping[str, Any]], str], operators: str = ""
) -> _Operation:
    return _Operation(frozenset(names.split()), frozenset(operators.split()), fault)


def _of_log(saved: Mapping[str, Any]) -> str:
    return "the logarithm of a number that is not above 0" if _any(saved, "self", "le") else ""


def _of_log1p(saved: Mapping[str, Any]) -> str:
    return "log1p of a number that is not above -1" if _any(saved, "self", "le", -1) else ""


def _of_division(saved: Mapping[str, Any]) -> str:
    return "a division by 0" if _any(saved, "other", "eq") else ""


def _of_mean(saved: Mapping[str, Any]) -> str:
    return "the mean of no numbers" if saved.get("self_sym_numel", 1) == 0 else ""


def _of_nll(saved: Mapping[str, Any]) -> str:
    return "a mean over labels that are all ignored" if _any(saved, "total_weight", "eq") else ""


def _of_power(saved: Mapping[str, Any]) -> str:
    base, exponent = saved.get("self"), saved.get("exponent")
    if base is None or exponent is None or _is_bad(base):
        return ""
    return "a power that is not finite" if _is_bad(base**exponent) else ""


def _of_result(words: str) -> Callable[[Mapping[str, Any]], str]:
    def fault(saved: Mapping[str, Any]) -> str:
        given, result = saved.get("self"), saved.get("result")
        if result is None or (given is not None and _is_bad(given)):
            return ""
        return words if _is_bad(result) else ""

    return fault


_OPERATIONS: Final[Mapping[str, _Operation]] = {
    "Log": _written("log", _of_log),
    "Log2": _written("log2", _of_log),
    "Log10": _written("log10", _of_log),
    "Log1P": _written("log1p", _of_log1p),
    "Div": _written("div divide true_divide div_", _of_division, "/"),
    "Reciprocal": _written("reciprocal", _of_result("the reciprocal of 0"), "/"),
    "Sqrt": _written("sqrt", _of_result("the square root of a negative number")),
    "Rsqrt": _written("rsqrt", _of_result("the reciprocal of the square root of 0")),
    "Exp": _written("exp", _of_result("an exponential that is too large")),
    "Expm1": _written("expm1", _of_result("an exponential that is too large")),
    "Pow": _written("pow float_power square", _of_power, "**"),
    "Mean": _written("mean", _of_mean),
    "Std": _written("std", _of_result("the deviation of a single number")),
    "Var": _written("var", _of_result("the variance of a single number")),
    "NllLoss": _written("cross_entropy nll_loss", _of_nll),
    "NllLoss2D": _written("cross_entropy nll_loss", _of_nll),
    "Softmax": _written("softmax", _of_result("a softmax over infinities alone")),
    "LogSoftmax": _written("log_softmax", _of_result("a log_softmax over infinities alone")),
}
# What makes numbers that are not finite of ordinary ones.
_HAZARDS: Final = ("Log", "Log2", "Log10", "Div", "Reciprocal", "Sqrt", "Rsqrt", "Std", "Var")
# Operations whose slope is infinite at 0 (at 1 for the last two), where their value is finite.
_STEEP: Final[Mapping[str, tuple[frozenset[str], frozenset[str]]]] = {
    "Sqrt": (frozenset({"sqrt"}), frozenset()),
    "Norm": (frozenset({"norm"}), frozenset()),
    "LinalgVectorNorm": (frozenset({"norm", "vector_norm"}), frozenset()),
    "Pow": (frozenset({"pow", "float_power"}), frozenset({"**"})),
    "Acos": (frozenset({"acos", "arccos"}), frozenset()),
    "Asin": (frozenset({"asin", "arcsin"}), frozenset()),
}


@final
class NonFinite:
    """Finds where the first number that is not finite was made.

    State: `_loss` the number whose backward began last; `_looked` whether one was looked at.
    """

    def __init__(self, stream: Stream, around: Callable[[], Around]) -> None:
        self._stream = stream
        self._around = around
        self._loss: Callable[[], Any] = _nothing
        self._looked = False

    def backward_begins(self, loss: Any, value: Pending) -> str:
        """A backward begins, and its graph is whole; return what is said of its loss."""
        self._loss = weakref.ref(loss)
        number = value.at_hand
        if self._looked or number is None or math.isfinite(number[0]) or loss.grad_fn is None:
            return ""
        self._looked = True
        torch: Any = sys.modules["torch"]
        with torch.no_grad():
            given = self._given()
            found = None if given else _first(_forward(loss.grad_fn))
        if found is None:
            return given
        kind, words = found
        operation = _OPERATIONS.get(kind)
        if operation is not None:
            return self._tell([(operation.names, operation.operators)], words)
        return (self._within_models() if kind == _GIVEN else "") or f": {words}"

    def _given(self) -> str:
        """Name a tensor of a function in progress that is not finite and was computed from no
        parameter, and the loop that gives it; return what is said of it."""
        stream = self._stream
        for name, value in stream.locator.held():
            if _is_tensor(value) and _is_readable(value) and _is_broken(value):
                if stream.loops and stream.loops[-1].batches:
                    heard, values = {HEARD: self._around()[0]}, {"operation": "data"}
                    stream.tell(stream.make("call", stream.loops[-1].where, heard, values))
                return f": {name} was not finite before the model was called"
        return ""

    def _within_models(self) -> str:
        """Name what may have made a number that is not finite of what a model was given, and of no
        parameter; return what is said of it."""
        code = codes.reachable(None, self._around()[1], self._stream.locator)
        written = [_OPERATIONS[kind] for kind in _HAZARDS]
        names = frozenset(name for one in written for name in one.names)
        operators = frozenset(name for one in written for name in one.operators)
        words = "computed from the input of the model, and not finite"
        return self._tell_at(codes.places(code, names, operators, self._stream.locator), words)

    def gradient_found(self, norms: Sequence[float], written: Location | None) -> str:
        """A step finds a gradient that is not finite, after a loss that was; `norms` are those of
        parameters and gradients, `written` where a gradient was written to since. Return what is
        said of it."""
        if self._looked or any(_HUGE < norm < math.inf for norm in norms):
            return ""
        self._looked = True
        loss = self._loss()
        kinds = set(_STEEP) - {"Pow"}  # most powers are squares
        if loss is not None:
            kinds = {kind_of(node) for node in _forward(loss.grad_fn)}
        wanted = [_STEEP[kind] for kind in sorted(kinds & _STEEP.keys())]
        words = "the slope of a root, a norm or an arc is infinite at the end of its range"
        if wanted or written is None:
            return self._tell(wanted, words) if wanted else ""
        subjects = {HEARD: self._around()[0]}
        self._stream.tell(self._stream.make("grad.write", written, subjects))
        return f": gradients were written to after backward, at {written.file}:{written.line}"

    def _tell(self, wanted: list[tuple[frozenset[str], frozenset[str]]], words: str) -> str:
        """Tell the places where one of the operations is written; the nearest one last."""
        locator = self._stream.locator
        models = self._around()[1]
        code = codes.reachable(locator.frame(1), models, locator)
        places: list[Location] = []
        for names, operators in wanted:
            places += codes.places(code, names, operators, locator)
        return self._tell_at(places, words) or f": {words}"

    def _tell_at(self, places: list[Location], words: str) -> str:
        stream, listeners = self._stream, self._around()[0]
        places = list({(one.file, one.line): one for one in places}.values())
        if not places or len(places) > _MOST_PLACES:
            return ""
        for place in reversed(places):
            values = {"operation": words, "sure": len(places) == 1}
            stream.tell(stream.make("call", place, {HEARD: listeners}, values))
        written = " or ".join(f"{place.file}:{place.line}" for place in places)
        return f": {words}" + (f", at {written}" if len(places) > 1 else "")


def _nothing() -> None:
    return None


def _forward(root: Any) -> list[Any]:
    """Return the nodes of a graph in the order in which they were made; leaves come first."""
    return sorted(walk(root, _MOST_NODES), key=_order)


def _order(node: Any) -> int:
    return -1 if hasattr(node, "variable") else int(node._sequence_nr())


def _first(nodes: list[Any]) -> tuple[str, str] | None:
    """Return the first operation at which something is not finite, as its kind and what is said
    of it; the kind is '' where it was given that."""
    for node in nodes:
        variable = getattr(node, "variable", None)
        if variable is not None:
            if _is_readable(variable) and _is_bad(variable):
                return "", "a parameter was not finite before"
            continue
        kind, saved = kind_of(node), dict(_saved(node))
        operation = _OPERATIONS.get(kind)
        words = operation.fault(saved) if operation is not None else ""
        if words:
            return kind, words
        if any(_is_tensor(one) and bool(one.isnan().any()) for one in saved.values()):
            return _GIVEN, f"{kind} was given, or made, the first that was seen"
    return None


def _saved(node: Any) -> Iterator[tuple[str, Any]]:
    """Yield what a node has saved, but for what a hook would have to bring back."""
    for name in dir(node):
        if not name.startswith(_SAVED):
            continue
        raw = getattr(node, f"_raw{name}", None)
        if raw is not None and getattr(raw, "unpack_hook", raw) is not None:
            continue
        try:
            value = getattr(node, name)
        except RuntimeError:  # freed, or written to since
            continue
        if not _is_tensor(value) or _is_readable(value):
            yield name.removeprefix(_SAVED), value


def _is_tensor(value: Any) -> bool:
    return isinstance(value, sys.modules["torch"].Tensor)


def _is_readable(tensor: Any) -> bool:
    torch: Any = sys.modules["torch"]
    plain = type(tensor) in (torch.Tensor, torch.nn.Parameter)
    return bool(plain and tensor.layout == torch.strided and tensor.is_floating_point())


def _is_broken(tensor: Any) -> bool:
    """Whether a tensor that depends on no parameter is not finite; a mask may well be of -inf."""
    if tensor.requires_grad or tensor.grad_fn is not None:
        return False
    return bool(tensor.isnan().any() or tensor.isposinf().any())


def _is_bad(value: Any) -> bool:
    if not _is_tensor(value):
        return isinstance(value, float) and not math.isfinite(value)
    return not bool(value.isfinite().all())


def _any(saved: Mapping[str, Any], name: str, relation: str, limit: float = 0) -> bool:
    """Whether a saved tensor has numbers in this relation to a limit, and none that is not
    finite."""
    value = saved.get(name)
    if not _is_tensor(value) or _is_bad(value):
        return False
    return bool(getattr(value, relation)(limit).any())
