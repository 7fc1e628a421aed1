"""Models that are made before the folds of a cross validation, and trained on in each of them.

What is looked at is the text of one function: a loop over the folds, what it does with the model,
and what the functions of the module do that it is handed to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, final

from tcstatic.program.paths import wording
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import Module, statements_in, title_around
from tcstatic.program.paths.tree import Block
from tcstatic.program.paths.values import Place
from tcstatic.program.source import syntax

_WORTH: Final = re.compile(r"\w(Fold|ShuffleSplit)\(")
_SPLITTERS: Final = re.compile(
    r"^((Repeated)?(Stratified)?(Group)?KFold|StratifiedGroupKFold|(Stratified|Group)?ShuffleSplit"
    r"|LeaveOneGroupOut|LeaveOneOut)$"
)
_WRAPS: Final = frozenset("enumerate list tqdm trange track".split())
_OPTIMIZERS: Final = re.compile(
    r"Adam|SGD|RMSprop|Adagrad|Adadelta|LBFGS|Rprop|Lion|Muon|optim", re.IGNORECASE
)
# What may give a model its first weights back, whatever it is called on.
_RESETS: Final = re.compile(
    r"load_state_dict|^load$|load_(model|weight|check|init|state)|restore|rebuild|^apply$|^copy_$"
    r"|reset_(?!index|peak|metric|stat)|re_?init|init_|_init$|functional_call|vector_to_parameters"
    r"|^(uniform|normal|trunc_normal|set)_$",
    re.IGNORECASE,
)
# What may do so if it is called on the model, or is given it.
_OF_MODEL: Final = re.compile(r"reset|init|clone|copy|fresh|new|type|getattr", re.IGNORECASE)
_MOVES: Final = frozenset("to cuda cpu train eval float double half requires_grad_".split())
_WRAPPERS: Final = frozenset("DataParallel DistributedDataParallel compile prepare".split())
_MEANT: Final = re.compile(
    r"warm|contin(ue|ual)|sequential|incremental|carr(y|ied)|on purpose|intention|deliberate"
    r"|across (all )?folds|client|task|chunk|federat|worker",
    re.IGNORECASE,
)
_MEASURES: Final = re.compile(r"eval|val|test|score|predict|accuracy|no_grad|inference", re.I)
_DEEP: Final = 3  # functions that are called by functions that are called by the loop
_Function = syntax.FunctionDef | syntax.AsyncFunctionDef
_Found = tuple[syntax.stmt, str, str, int]


@surveys
def folds(m: Machine, block: Block) -> None:
    """``one_for_all`` of what makes a model that each fold trains on."""
    for module, (made, function, name, line) in wording.found(block, _WORTH, _in_module):
        tell(block, "one_for_all", Place(module, made, function), name=name, line=line)


def _in_module(module: Module) -> Iterator[_Found]:
    every = list(statements_in(module.tree))
    methods = {part for one in every if isinstance(one, syntax.ClassDef) for part in one.body}
    functions = {
        one.name: one for one in every if isinstance(one, _Function) and one not in methods
    }
    values = [pair for one in every for pair in wording.pairs(one)]
    splitters = {name for name, value in values if _is_splitter(value, set())}
    splits = {name for name, value in values if _splits(value, splitters, set())}
    for node in (module.tree, *functions.values()):
        body = list(wording.own(node.body))
        for loop in body:
            if not isinstance(loop, syntax.For) or not _splits(loop.iter, splitters, splits):
                continue
            for made, name in _made_before(body, loop):
                if _is_meant(module, made, loop):
                    continue
                if _is_trained_on(loop, name, functions, body):
                    yield made, title_around(module.tree, made.lineno), name, loop.lineno


def _is_meant(module: Module, made: syntax.stmt, loop: syntax.For) -> bool:
    """Whether it is written that the model goes from part to part, or that parts are no folds."""
    spoken = wording.comments(module, made) + wording.comments(module, loop, loop.lineno)
    return _MEANT.search(f"{spoken} {syntax.unparse(loop.target)}") is not None


def _is_splitter(value: Any, known: set[str]) -> bool:
    """Whether an expression makes folds, or is the name of what does; of one fold alone, no."""
    if wording.name(value) in known:
        return True
    if not isinstance(value, syntax.Call) or not _SPLITTERS.match(wording.called(value)):
        return False
    counts = [*value.args[:1], *(one.value for one in value.keywords if one.arg == "n_splits")]
    return all(getattr(one, "value", 0) != 1 for one in counts)


def _splits(value: Any, splitters: set[str], splits: set[str]) -> bool:
    """Whether an expression goes over the folds."""
    while isinstance(value, syntax.Call) and wording.called(value) in _WRAPS and value.args:
        value = value.args[0]
    if wording.name(value) in splits:
        return True
    split = isinstance(value, syntax.Call) and wording.called(value) == "split"
    return split and _is_splitter(getattr(value.func, "value", None), splitters)


def _made_before(body: list[syntax.stmt], loop: syntax.For) -> Iterator[tuple[syntax.stmt, str]]:
    """The plain names that are bound before a loop to what a call makes, each with the statement
    that does so last, other than one that only moves or wraps what the name held."""
    made: dict[str, syntax.stmt] = {}
    for one in body[: body.index(loop)]:
        held = dict(wording.pairs(one))
        for name in wording.bound(one):
            inner = _inner(held.get(name))
            if wording.name(inner) != name:
                made.pop(name, None)
            if isinstance(inner, syntax.Call) and isinstance(one, syntax.Assign):
                made[name] = one
    for name, one in made.items():
        yield one, name


def _inner(value: Any) -> Any:
    """A model without what moves or wraps it."""
    while isinstance(value, syntax.Call):
        if wording.called(value) in _WRAPPERS and value.args:
            value = value.args[0]
        elif wording.called(value) in _MOVES and isinstance(value.func, syntax.Attribute):
            value = value.func.value
        else:
            break
    return value


@final
@dataclass(frozen=True, slots=True)
class _Part:
    """Statements that run in each fold, and the name that the model has there."""

    body: tuple[syntax.stmt, ...]
    name: str

    def nodes(self) -> Iterator[syntax.AST]:
        for one in self.body:
            yield from syntax.walk(one)

    def handed(self, functions: dict[str, _Function]) -> Iterator[_Part]:
        """The functions that are called, with the name of the model in each; those that are not
        handed it have none, unless they take it from around them."""
        for call in self.nodes():
            if not isinstance(call, syntax.Call) or not isinstance(call.func, syntax.Name):
                continue
            if (inner := functions.get(call.func.id)) is None:
                continue
            arguments = inner.args
            names = [one.arg for one in (*arguments.posonlyargs, *arguments.args)]
            given = dict(zip(names, call.args, strict=False))
            given.update({one.arg: one.value for one in call.keywords if one.arg})
            found = [name for name, value in given.items() if wording.name(value) == self.name]
            own = self.name not in [*names, *(one.arg for one in arguments.kwonlyargs)]
            yield _Part(tuple(inner.body), found[0] if found else self.name if own else "")


def _is_trained_on(
    loop: syntax.For, name: str, functions: dict[str, _Function], body: list[syntax.stmt]
) -> bool:
    """Whether a model goes from fold to fold, is trained in each, and measured on what the fold
    holds out."""
    parts = [_Part(tuple(loop.body), name)]
    level = parts
    for _ in range(_DEEP):
        level = list(dict.fromkeys(inner for one in level for inner in one.handed(functions)))
        parts += level
    if any(_may_reset(one) for one in parts) or _is_one_fold(loop, name):
        return False
    used = {name for one in loop.body for name in wording.names(one)}
    before = [one for one in body if one.lineno < loop.lineno and wording.bound(one) & used]
    optimized = [*parts, *(_Part((one,), name) for one in before if not hasattr(one, "body"))]
    called = {wording.called(node) for one in parts for node in one.nodes()}
    trained = "backward" in called and any(map(_is_optimized, optimized))
    return trained and _holds_out(loop) and any(map(_MEASURES.search, called))


def _is_optimized(part: _Part) -> bool:
    """Whether some optimizer is given the parameters of the model."""
    asked = (f"{part.name}.parameters", f"{part.name}.named_parameters")
    return bool(part.name) and any(
        isinstance(node, syntax.Call)
        and _OPTIMIZERS.search(syntax.unparse(node.func))
        and any(wording.name(inner) in asked for inner in syntax.walk(node))
        for node in part.nodes()
    )


def _may_reset(part: _Part) -> bool:
    """Whether the model may get its first weights back, or be another one in each fold."""
    for node in part.nodes():
        if isinstance(node, syntax.Call) and _is_reset(node, part.name):
            return True
        if isinstance(node, syntax.Attribute):
            stored = node.attr == "data" and isinstance(node.ctx, syntax.Store)
            if stored or node.attr == "__class__":
                return True
        if isinstance(node, syntax.Subscript) and _is_of_its_own(node, part.name):
            return True
        if isinstance(node, syntax.stmt) and part.name and part.name in wording.bound(node):
            held = dict(wording.pairs(node)).get(part.name)
            if wording.name(_inner(held)) != part.name:
                return True
    return False


def _is_of_its_own(node: syntax.Subscript, name: str) -> bool:
    """Whether a fold takes one of several models, or all of a tensor is written."""
    if isinstance(node.ctx, syntax.Store):
        return syntax.unparse(node.slice) in (":", "...")
    plain = isinstance(node.slice, syntax.Constant | syntax.Slice | syntax.UnaryOp)
    return bool(name) and wording.name(node.value) == name and not plain


def _is_reset(call: syntax.Call, name: str) -> bool:
    """Whether a call may give the model, by its name there, its first weights back."""
    called = wording.called(call)
    if _RESETS.search(called) or ".init." in f".{wording.name(call.func)}":
        return not wording.name(call.func).startswith(("wandb.", "mlflow."))
    if called == "deepcopy":
        return not any(wording.called(one) == "state_dict" for one in call.args)
    given = [*call.args, *(one.value for one in call.keywords)]
    given.append(getattr(call.func, "value", call))
    handed = name in map(wording.name, given)
    return handed and _OF_MODEL.search(called) is not None


def _is_one_fold(loop: syntax.For, name: str) -> bool:
    """Whether the loop goes on with one of the folds alone."""
    targets = wording.names(loop.target)
    for one in wording.own(loop.body):
        if isinstance(one, syntax.Break | syntax.Return) and one in loop.body:
            return True
        if isinstance(one, syntax.If) and targets & wording.names(one.test):
            leaves = any(isinstance(n, syntax.Break | syntax.Continue) for n in syntax.walk(one))
            if leaves or any(name in wording.names(inner) for inner in one.body):
                return True
    return False


def _holds_out(loop: syntax.For) -> bool:
    """Whether both things that a fold consists of are used."""
    target: Any = loop.target
    while isinstance(target, syntax.Tuple) and isinstance(target.elts[-1], syntax.Tuple):
        target = target.elts[-1]
    used = {name for one in loop.body for name in wording.names(one)}
    parts = target.elts[-2:] if isinstance(target, syntax.Tuple) else []
    return len(parts) == 2 and all(wording.name(one) in used - {"", "_"} for one in parts)
