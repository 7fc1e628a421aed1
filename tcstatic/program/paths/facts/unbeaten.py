"""A best value that begins where nothing is better, or is compared the wrong way round.

What is looked at is the text: where the best is given its first value, and that each other value
is given to it only where a comparison holds which cannot hold, whatever is measured.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, final

from tcstatic.program.paths import wording
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import Module, statements_in, title_around
from tcstatic.program.paths.tree import Block
from tcstatic.program.paths.values import Place
from tcstatic.program.source import syntax

_BEST: Final = re.compile(r"(?<![a-z])(best|lowest|highest|min|minimum|max|maximum|top)(?![a-z])")
# What is never below nought, and better the lower, or the higher, it is.
_LOW: Final = re.compile(
    r"(?<![a-z])(loss|losses|err|error|mse|rmse|mae|mape|ppl|perplexity|wer|cer)(?![a-z])"
)
_HIGH: Final = re.compile(
    r"(?<![a-z])(acc|acc1|accuracy|f1|auc|auroc|iou|miou|dice|bleu|precision|recall|map)(?![a-z])"
)
_SIGNED: Final = re.compile(
    r"neg|log|elbo|reward|return|energy|critic|diff|delta|gap|gain|(?<![a-z])[dg]_"
)
# Losses that have a bound below which they do not go, and words about others.
_BOUNDED: Final = re.compile(
    r"cross_?entropy|mse_?loss|(?<!\w)(smooth_)?l1_?loss|huber_?loss|nll_?loss|BCE|\w\.loss\b",
    re.IGNORECASE,
)
_UNBOUNDED: Final = re.compile(
    r"elbo|log_?prob|log_?(abs_)?det|wasserstein|critic|energy|reward|gaussian_?nll|gaussiannll"
    r"|cosine_?(similarity|embedding)|log_?likelihood|logsumexp|si_?s[nd]r|policy|actor"
    r"|discriminator|(return|loss\w* *[+*-]?=) *\(?-(?!\d)|loss\w* *-="
    r"|loss\w* *= *\w[\w.(), *]* - |\* *-1\b|-1(\.0)? *\*|-\s*torch\.(mean|sum)"
    r"|poisson|mutual|correlation|diversity|-= *[\w.]*loss|entropy_?(coef|bonus|weight)|dice",
    re.IGNORECASE,
)
_STEPS: Final = re.compile(r"delta|eps|tol|thresh", re.IGNORECASE)
_FLIPPED: Final[dict[type[Any], str]] = {
    syntax.Lt: ">",
    syntax.LtE: ">=",
    syntax.Gt: "<",
    syntax.GtE: "<=",
}
_AS_IS: Final[dict[type[Any], str]] = {
    syntax.Lt: "<",
    syntax.LtE: "<=",
    syntax.Gt: ">",
    syntax.GtE: ">=",
}
_NOT: Final = {"<": ">=", "<=": ">", ">": "<=", ">=": "<"}
_WORTH: Final = re.compile(r"best|lowest|highest|min|max|top", re.IGNORECASE)
_DEFINES: Final = (syntax.FunctionDef, syntax.AsyncFunctionDef)
_SCOPES: Final = (syntax.Module, syntax.ClassDef, *_DEFINES)


@final
@dataclass(frozen=True, slots=True)
class Test:
    """That something is compared with the best so far: ``measured sign best``; the first may be
    taken `anyway`, without being compared."""

    measured: str
    sign: str
    node: syntax.expr
    anyway: bool = False


@final
@dataclass(frozen=True, slots=True)
class Unbeaten:
    """A best that keeps its first value: where to mend that, and how it is compared."""

    at: syntax.expr | syntax.stmt
    name: str
    start: str
    test: Test
    bounded: bool


@surveys
def unbeaten(m: Machine, block: Block) -> None:
    """``never_beaten`` of the first value of a best, or of the comparison with it."""
    modules = wording.modules(m, block)
    found = [(module, one) for module in modules for one in wording.once(module, _in_module)]
    text = "\n".join(module.text.text for module in modules) if found else ""
    for module, one in found:
        if one.bounded and (_UNBOUNDED.search(text) or not _BOUNDED.search(text)):
            continue
        line = getattr(one.at, "lineno", 1)
        compared = f"{one.test.measured} {one.test.sign} {one.name}"
        effect = (
            "holds for worse values alone: the worst epoch is taken for the best"
            if one.test.anyway
            else "never holds: no epoch is ever the best one"
        )
        place = Place(module, one.at, title_around(module.tree, line))
        told: dict[str, Any] = {"name": one.name, "start": one.start, "effect": effect}
        tell(block, "never_beaten", place, compared=compared, **told)


def _in_module(module: Module) -> tuple[Unbeaten, ...]:
    if not _WORTH.search(module.text.text):
        return ()
    return tuple(
        one
        for node in (module.tree, *statements_in(module.tree))
        if isinstance(node, _SCOPES)
        for one in _Scope.of(node, module).found()
    )


@final
@dataclass(slots=True)
class _Scope:
    """The names of one function or module, or the attributes of `self` in one class: `first` has
    what each is given as a plain number, `tests` the comparisons under which it is given another,
    and `spoilt` are names that are given values otherwise."""

    is_class: bool
    shared: frozenset[str]
    flags: dict[str, list[syntax.expr]] = field(default_factory=dict)
    first: dict[str, list[tuple[syntax.stmt, float]]] = field(default_factory=dict)
    tests: dict[str, list[Test]] = field(default_factory=dict)
    spoilt: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, node: Any, module: Module) -> _Scope:
        """All that is bound in a function, a module or a class."""
        is_class = isinstance(node, syntax.ClassDef)
        scope = cls(is_class, _shared(module, node))
        bodies = [one.body for one in node.body if isinstance(one, _DEFINES)] if is_class else []
        for body in bodies or ([] if is_class else [node.body]):
            for one in wording.own(body):
                for name, value in _pairs(one):
                    scope.flags.setdefault(name, []).append(value)
        for body in bodies or ([] if is_class else [node.body]):
            scope._walk(body, ())
        return scope

    def found(self) -> Iterator[Unbeaten]:
        """The bests that keep their first value."""
        for name, tests in self.tests.items():
            firsts = self.first.get(name, [])
            if name in self.spoilt | self.shared or not firsts:
                continue
            starts = {value for _, value in firsts}
            told = [_dead(one, value) for one in tests for value in starts]
            if not all(told) or len(starts) != 1:
                continue
            statement, start = firsts[0]
            right = tests[0].anyway or _is_right(tests[0].measured, start)
            at = tests[0].node if right else statement
            said = syntax.unparse(getattr(statement, "value", statement))
            shown = f"{start:g}" if "," in said else said
            yield Unbeaten(at, name, shown, tests[0], abs(start) <= 1)

    def _walk(self, body: list[syntax.stmt], under: tuple[tuple[syntax.expr, bool], ...]) -> None:
        """Go through statements that run `under` some conditions, each with whether it holds."""
        for one in body:
            if isinstance(one, (*_DEFINES, syntax.ClassDef)):
                continue
            if isinstance(one, syntax.If):
                self._walk(one.body, (*under, (one.test, True)))
                self._walk(one.orelse, (*under, (one.test, False)))
                continue
            self._bind(one, under)
            for part in ("body", "orelse", "finalbody"):
                self._walk(getattr(one, part, None) or [], under)
            for handler in getattr(one, "handlers", ()):
                self._walk(handler.body, under)
            for case in getattr(one, "cases", ()):
                self._walk(case.body, under)

    def _bind(self, one: syntax.stmt, under: tuple[tuple[syntax.expr, bool], ...]) -> None:
        pairs = dict(_pairs(one))
        for name in wording.bound(one) | pairs.keys():
            if not _BEST.search(name.rpartition(".")[2].lower()):
                continue
            if name.startswith("self.") != self.is_class:
                continue
            value = pairs.get(name)
            number = _number(value)
            test = self._test(name, under) or _kept(name, value) or self._chosen(name, value)
            if number is not None and test is None:
                self.first.setdefault(name, []).append((one, number))
            elif test is not None:
                self.tests.setdefault(name, []).append(test)
            else:
                self.spoilt.add(name)

    def _chosen(self, name: str, value: Any) -> Test | None:
        """The test of ``best = loss if loss < best else best``."""
        if isinstance(value, syntax.IfExp) and wording.name(value.orelse) == name:
            return self._test(name, ((value.test, True),))
        return None

    def _test(self, name: str, under: tuple[tuple[syntax.expr, bool], ...]) -> Test | None:
        """The comparison with a name that one of some conditions is, or has as one part of all."""
        for condition, holds in reversed(under):
            for part in self._parts(condition, holds):
                told = _compared(part, name, holds)
                if told is not None:
                    return Test(*told, part)
            if holds and isinstance(condition, syntax.BoolOp | syntax.Name):
                besides = self._besides_first(condition, name)
                if besides is not None:
                    return besides
        return None

    def _besides_first(self, condition: syntax.expr, name: str) -> Test | None:
        """The comparison of a condition that holds for the first value anyway."""
        known = self.flags.get(wording.name(condition), [condition])
        for one in syntax.walk(known[0]) if len(known) == 1 else ():
            if not isinstance(one, syntax.BoolOp) or isinstance(one.op, syntax.And):
                continue
            rest = [part for part in one.values if not _is_unset(part)]
            told = _compared(rest[0], name, True) if len(rest) == 1 else None
            if told is not None:
                return Test(*told, rest[0], anyway=True)
        return None

    def _parts(self, condition: syntax.expr, holds: bool) -> Iterator[syntax.expr]:
        if isinstance(condition, syntax.BoolOp):
            if isinstance(condition.op, syntax.And) == holds:
                for one in condition.values:
                    yield from self._parts(one, holds)
            return
        known = self.flags.get(wording.name(condition), [])
        if len(known) == 1 and not isinstance(known[0], syntax.Name):
            yield from self._parts(known[0], holds)
        yield condition


def _is_unset(test: syntax.expr) -> bool:
    """Whether a condition asks whether something is None still, or the first of its kind."""
    if not isinstance(test, syntax.Compare) or len(test.ops) != 1:
        return False
    other = getattr(test.comparators[0], "value", test)
    if isinstance(test.ops[0], syntax.Is):
        return other is None
    return isinstance(test.ops[0], syntax.Eq) and other == 0 and type(other) is int


def _shared(module: Module, scope: Any) -> frozenset[str]:
    """Names that do not belong to a scope alone: others bind them too, or give them values."""
    given = syntax.walk(scope.args) if isinstance(scope, _DEFINES) else ()
    names = {one.arg for one in given if isinstance(one, syntax.arg)}
    for one in statements_in(module.tree):
        if isinstance(one, syntax.Global | syntax.Nonlocal):
            names.update(one.names)
        for name in wording.bound(one):
            holder, _, last = name.rpartition(".")
            if holder not in ("", "self"):
                names.add(f"self.{last}")
    return frozenset(names)


def _pairs(one: syntax.stmt) -> Iterator[tuple[str, syntax.expr]]:
    if isinstance(one, syntax.AnnAssign) and one.value is not None:
        yield wording.name(one.target), one.value
    elif not isinstance(one, syntax.For):
        yield from wording.pairs(one)


def _number(value: Any) -> float | None:
    """What number an expression is, if it is a plain one or infinite."""
    if isinstance(value, syntax.UnaryOp) and isinstance(value.op, syntax.USub):
        inner = _number(value.operand)
        return -inner if inner is not None else None
    if isinstance(value, syntax.Constant):
        number = value.value
        plain = isinstance(number, int | float) and not isinstance(number, bool)
        return float(number) if plain else None  # type: ignore[arg-type]
    if wording.name(value) in ("math.inf", "np.inf", "np.Inf", "numpy.inf", "torch.inf"):
        return float("inf")
    if wording.called(value) == "float" and len(value.args) == 1:
        text = getattr(value.args[0], "value", None)
        if not isinstance(text, str):
            return _number(value.args[0])
        if text.strip().lower().lstrip("+-") in ("inf", "infinity"):
            return float("-inf" if text.strip().startswith("-") else "inf")
    return None


def _compared(node: Any, name: str, holds: bool) -> tuple[str, str] | None:
    """What is compared with a best, and how it stands to that where the comparison holds, or
    where it does not."""
    if not isinstance(node, syntax.Compare) or len(node.ops) != 1:
        return None
    left, right, kind = node.left, node.comparators[0], type(node.ops[0])
    if kind not in _AS_IS:
        return None
    for measured, best, signs in ((left, right, _AS_IS), (right, left, _FLIPPED)):
        sign = signs[kind] if holds else _NOT[signs[kind]]
        wanted = "-" if sign in ("<", "<=") else "+"
        if _is_best(best, name, wanted) and wording.name(_plain(measured)):
            return wording.name(_plain(measured)), sign
    return None


def _is_best(node: syntax.expr, name: str, wanted: str) -> bool:
    """Whether an expression is the best, or that and a step to get past it, or most of it."""
    if isinstance(node, syntax.BinOp):
        op = {syntax.Sub: "-", syntax.Add: "+", syntax.Mult: "*"}.get(type(node.op), "")
        number = _number(node.right)
        positive = (
            number > 0 if number is not None else bool(_STEPS.search(wording.name(node.right)))
        )
        return op in (wanted, "*") and positive and wording.name(node.left) == name
    return wording.name(node) == name


def _plain(node: Any) -> Any:
    """What is measured, without what makes a plain number of it."""
    while True:
        if isinstance(node, syntax.Call) and wording.called(node) in ("item", "cpu", "detach"):
            node = getattr(node.func, "value", None)
        elif wording.called(node) == "float" and len(node.args) == 1:
            node = node.args[0]
        elif isinstance(getattr(getattr(node, "slice", None), "value", None), str):
            return syntax.Name(id=node.slice.value, ctx=syntax.Load())
        else:
            return node


def _kept(name: str, value: Any) -> Test | None:
    """``best = min(best, loss)``, as the comparison that it makes."""
    kind = wording.called(value)
    if kind not in ("min", "max") or len(getattr(value, "args", ())) != 2:
        return None
    given = [wording.name(_plain(one)) for one in value.args]
    others = [one for one in given if one and one != name]
    if name not in given or len(others) != 1:
        return None
    return Test(others[0], "<" if kind == "min" else ">", value)


def _dead(test: Test, start: float) -> bool:
    """Whether a comparison with the first value cannot hold."""
    name = test.measured.rpartition(".")[2].lower()
    if test.anyway:
        return start == (float("inf") if test.sign in (">", ">=") else float("-inf"))
    positive = (_LOW.search(name) or _HIGH.search(name)) and not _SIGNED.search(name)
    bounded = _HIGH.search(name) is not None and not _LOW.search(name)
    if test.sign in (">", ">="):
        return start == float("inf") or (bounded and start >= 1000)
    if start == float("-inf"):
        return True
    return bool(positive) and (-1 <= start < 0 or (start == 0 and test.sign == "<"))


def _is_right(measured: str, start: float) -> bool:
    """Whether a first value is right for what is measured, so that the comparison is not."""
    name = measured.rpartition(".")[2].lower()
    low, high = _LOW.search(name) is not None, _HIGH.search(name) is not None
    return (low and not high and start > 1) or (high and not low and start <= 0)
