"""Where a value came from: the judge of relation ``flow`` over a root's values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, final

from tcstatic.program.paths import Machine
from tcstatic.program.paths.lookup import key_of
from tcstatic.program.paths.operations import LOSS_PARAMETERS, LOSSES, SHAPE
from tcstatic.program.paths.tree import Happening
from tcstatic.program.paths.values import Const, Listing, Node, Phi, Unknown, Value

Answer = Literal["yes", "no", "unknown"]
_ARITHMETIC: Final = frozenset("+ - * / ** neg pos scale clamp clip mul div add sub float_".split())
_REDUCTION: Final = frozenset("mean sum nanmean nansum logsumexp max min norm".split())
_DEEPEST: Final = 60


@final
@dataclass(frozen=True, slots=True)
class Flowed:
    """Whether a value arrives at a sink, on all ways or some, and which operations made it."""

    answer: Answer
    always: bool
    sources: tuple[Node, ...]


def sinks(happening: Happening, into: tuple[str, ...]) -> Iterator[Value]:
    """The values of a happening at the arguments that `into` names."""
    operation = happening.values.get("operation", "")
    for target in into:
        name, _, argument = target.rpartition(".")
        if name in (operation, happening.kind):
            value = _argument(happening, argument)
            if value is not None:
                yield value


def _argument(happening: Happening, name: str) -> Value | None:
    if name in happening.keywords:
        return happening.keywords[name]
    if name.isdigit():
        index = int(name)
    elif operation_is_loss(happening) and name in LOSS_PARAMETERS:
        index = LOSS_PARAMETERS.index(name)
    else:
        return None
    return happening.arguments[index] if index < len(happening.arguments) else None


def operation_is_loss(happening: Happening) -> bool:
    """Whether a happening computes a loss of known meaning."""
    return happening.values.get("operation") in LOSSES


def flowed(m: Machine, value: Value, params: Mapping[str, Any]) -> Flowed:
    """Whether a value was made by one of the operations of `params`."""
    walk = _Walk(m, frozenset(params["from"]), _through(params.get("through", ())))
    answers = list(walk.answers(value, 0))
    sources = tuple(dict.fromkeys(walk.sources))
    if not sources:
        unknown = not answers or "unknown" in answers
        return Flowed("unknown" if unknown else "no", False, ())
    return Flowed("yes", all(one == "yes" for one in answers), sources)


def _through(families: tuple[str, ...]) -> frozenset[str] | None:
    found: set[str] = set()
    for family in families:
        if family == "any":
            return None
        found |= {
            "shape": SHAPE,
            "arithmetic": _ARITHMETIC,
            "reduction": _REDUCTION,
            "loss": LOSSES,
        }[family]
    return frozenset(found)


@final
class _Walk:
    """State: the values seen, and the sources found."""

    def __init__(self, m: Machine, wanted: frozenset[str], through: frozenset[str] | None) -> None:
        self._machine = m
        self._wanted = wanted
        self._through = through
        self._seen: set[int] = set()
        self.sources: list[Node] = []

    def answers(self, value: Value, depth: int) -> Iterator[Answer]:
        """One answer for each way that the value may have come."""
        if id(value) in self._seen or depth > _DEEPEST:
            return
        self._seen.add(id(value))
        if isinstance(value, Phi):
            for option in value.options:
                if not (isinstance(option, Const) and option.value is None):
                    yield from self.answers(option, depth + 1)
        elif isinstance(value, Node):
            yield from self._of_node(value, depth)
        else:
            yield "unknown" if isinstance(value, Unknown | Listing) else "no"

    def _of_node(self, value: Node, depth: int) -> Iterator[Answer]:
        if value.op in self._wanted:
            self.sources.append(value)
            yield "yes"
        elif value.op == "forward" and value.inputs and value.subject is not None:
            yield from self._of_forward(value, depth)
        elif value.op == "item" and len(value.inputs) == 2:
            yield from self._of_item(value, depth)
        elif self._through is None or value.op in self._through:
            for inner in value.inputs if self._through is None else value.inputs[:1]:
                yield from self.answers(inner, depth + 1)
        else:
            yield "unknown" if value.op.startswith("call") else "no"

    def _of_forward(self, value: Node, depth: int) -> Iterator[Answer]:
        """A model's output is what its ``forward`` returned."""
        if isinstance(value.subject, Unknown):
            yield "unknown"
        else:
            yield from self.answers(value.inputs[0], depth + 1)

    def _of_item(self, value: Node, depth: int) -> Iterator[Answer]:
        """One part of what a model returned as a tuple; which one is known where it is written."""
        holder, index = value.inputs
        while isinstance(holder, Node) and holder.op == "forward" and holder.inputs:
            holder = holder.inputs[0]
        if isinstance(holder, Listing) and isinstance(index, Const):
            part = self._machine.attribute(holder, key_of(index))
            if part is not None:
                yield from self.answers(part, depth + 1)
                return
        if isinstance(holder, Node) and self._through is not None and "item" in self._through:
            yield from self.answers(holder, depth + 1)
        else:
            yield "unknown"
