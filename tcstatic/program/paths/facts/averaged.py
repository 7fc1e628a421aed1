"""Losses that are averaged first, and weighted or masked after that: one number for the batch.

What is looked at is the text: a loss that is called without ``reduction="none"``, and what is done
to the name that it is given. A mask that multiplies one number, and is divided out again, does
nothing; a probability that is computed from the average is that of no sample.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tcstatic.program.paths import wording
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import Module, statements_in, title_around
from tcstatic.program.paths.tree import Block
from tcstatic.program.paths.values import Place
from tcstatic.program.source import syntax

_WORTH: Final = re.compile(r"_loss|cross_entropy|Loss\(")
_FUNCTIONAL: Final = frozenset(
    """cross_entropy nll_loss binary_cross_entropy binary_cross_entropy_with_logits mse_loss l1_loss
    smooth_l1_loss huber_loss""".split()
)
_CLASSES: Final = frozenset(
    """CrossEntropyLoss NLLLoss BCELoss BCEWithLogitsLoss MSELoss L1Loss SmoothL1Loss
    HuberLoss""".split()
)
_ENTROPIES: Final = re.compile(r"cross_?entropy|nll|bce", re.IGNORECASE)
_HOLDERS: Final = frozenset({"F", "functional", "torch.nn.functional", "nn.functional", ""})
_OLD: Final = frozenset({"reduce", "size_average", "reduction"})
_MASKS: Final = re.compile(r"(?<![a-z])(mask\w*|valid\w*|\w*weights?|w|ws|importance\w*)$")
_SHARED: Final = re.compile(r"^(self|args|cfg|config|opt|opts|hp|hparams)\.|^[A-Z_]+$|lambda|coef")
# One number for one of several losses.
_OF_A_LOSS: Final = re.compile(
    r"(?<![a-z])(task|loss|aux|term|head|scale|level|layer|reg|kl|domain)_?w(eight)?$"
)
_ONE: Final = re.compile(r"\.unsqueeze\(0\)|\[None")
_LISTED: Final = re.compile(r"^(enumerate\()?zip\(|\.items\(\)\)*$|^[\[(]")
_BATCHES: Final = re.compile(r"split|chunk|loader|batch|iter\(", re.IGNORECASE)
_REDUCES: Final = frozenset({"sum", "mean"})
_DEFINES: Final = (syntax.FunctionDef, syntax.AsyncFunctionDef)
_Found = tuple[syntax.expr, str, str]


@surveys
def averaged(m: Machine, block: Block) -> None:
    """``averaged_first`` of a weight, a mask or a focus that a loss gets once it is one number."""
    for module, (node, loss, what) in wording.found(block, _WORTH, _in_module):
        place = Place(module, node, title_around(module.tree, node.lineno))
        tell(block, "averaged_first", place, name=loss, meant=what)


def _in_module(module: Module) -> Iterator[_Found]:
    made: dict[str, list[syntax.expr]] = {}
    for one in statements_in(module.tree):
        for name, value in wording.pairs(one):
            made.setdefault(name, []).append(value)
    reduced = {name for name, values in made.items() if all(map(_is_reducing, values))}
    for node in (module.tree, *statements_in(module.tree)):
        if isinstance(node, (syntax.Module, *_DEFINES)):
            for value, loss, what in _in_function(list(wording.own(node.body)), reduced):
                # How a layer reduces its losses is said where it is made.
                known = made.get(wording.name(getattr(value, "func", None)), [])
                yield known[0] if len(known) == 1 else value, loss, what


def _is_reducing(made: Any) -> bool:
    """Whether a loss that is made gives one number for a batch."""
    known = isinstance(made, syntax.Call) and wording.called(made) in _CLASSES
    return known and _is_default(made)


def _is_default(call: syntax.Call) -> bool:
    """Whether a call says nothing of how its losses are put together, or asks for their mean."""
    told = {one.arg: one.value for one in call.keywords}
    if None in told or {"reduce", "size_average"} & told.keys():
        return False
    if any(isinstance(one, syntax.Starred) for one in call.args):
        return False
    asked = getattr(told.get("reduction"), "value", None)
    return len(call.args) <= _plain(call) and ("reduction" not in told or asked == "mean")


def _plain(call: syntax.Call) -> int:
    """How many arguments by position say nothing of that."""
    return 1 if wording.called(call) in _CLASSES else 2


def _is_one_number(value: Any, reduced: set[str]) -> bool:
    """Whether a value is a loss of a whole batch."""
    if not isinstance(value, syntax.Call):
        return False
    holder = wording.name(getattr(value.func, "value", None))
    if wording.called(value) in _FUNCTIONAL and holder in _HOLDERS:
        return _is_default(value)
    if isinstance(value.func, syntax.Call):
        return _is_reducing(value.func)
    return wording.name(value.func) in reduced and len(value.args) == 2 and not value.keywords


def _in_function(statements: list[syntax.stmt], reduced: set[str]) -> Iterator[_Found]:
    losses: dict[str, syntax.expr] = {}
    chances: dict[str, str] = {}
    for one in statements:
        for part in wording.expressions(one):
            if isinstance(part, syntax.Call):
                for found in _weighted(part, losses, reduced):
                    if not _is_for_one(found[0], found[2], part, statements):
                        yield found
            elif isinstance(part, syntax.BinOp):
                yield from _focused(part, losses, chances)
        pairs = dict(wording.pairs(one))
        for name in wording.bound(one):
            value = pairs.get(name)
            chance = _chance(value, losses)
            losses.pop(name, None)
            chances.pop(name, None)
            if chance:
                chances[name] = chance
            elif value is not None and _is_one_number(value, reduced):
                losses[name] = value


def _is_for_one(
    value: syntax.expr, weight: str, where: syntax.Call, statements: list[syntax.stmt]
) -> bool:
    """Whether a loss is that of one example, or its weight one of several that a loop goes through
    beside as many losses: there is nothing that it could tell apart."""
    if _ONE.search(syntax.unparse(value)):
        return True
    for one in statements:
        if isinstance(one, syntax.For) and one.lineno <= where.lineno <= (one.end_lineno or 0):
            listed = syntax.unparse(one.iter)
            if _LISTED.search(listed) and not _BATCHES.search(listed):
                bound = {wording.name(part) for part in syntax.walk(one.target)}
                if weight in bound:
                    return True
    return False


def _chance(value: Any, losses: Mapping[str, syntax.expr]) -> str:
    """The loss of which a value is the probability, ``exp(-loss)``."""
    given: Any = None
    if wording.called(value) == "exp":
        holder = wording.name(value.func.value) if hasattr(value.func, "value") else ""
        given = value.args[0] if holder in ("torch", "math", "np") and value.args else None
        given = given if given is not None else getattr(value.func, "value", None)
    if isinstance(given, syntax.UnaryOp) and isinstance(given.op, syntax.USub):
        name = wording.name(given.operand)
        known = losses.get(name)
        if known is not None and _ENTROPIES.search(syntax.unparse(known) + name):
            return name
    return ""


def _focused(
    product: syntax.BinOp, losses: Mapping[str, syntax.expr], chances: Mapping[str, str]
) -> Iterator[_Found]:
    """``(1 - pt) ** gamma``, where `pt` comes from the average."""
    base: Any = product.left if isinstance(product.op, syntax.Pow) else None
    if not isinstance(base, syntax.BinOp) or not isinstance(base.op, syntax.Sub):
        return
    loss = chances.get(wording.name(base.right)) or _chance(base.right, losses)
    if loss and getattr(base.left, "value", None) in (1, 1.0):
        yield losses.get(loss, product), loss, "the focus on hard samples"


def _weighted(
    call: syntax.Call, losses: Mapping[str, syntax.expr], reduced: set[str]
) -> Iterator[_Found]:
    """``(loss * mask).sum()``, ``torch.mean(loss * weights)``."""
    if wording.called(call) not in _REDUCES or not isinstance(call.func, syntax.Attribute):
        return
    given: Any = call.func.value
    if wording.name(given) == "torch":
        given = call.args[0] if call.args else None
    if not isinstance(given, syntax.BinOp) or not isinstance(given.op, syntax.Mult):
        return
    for loss, mask in ((given.left, given.right), (given.right, given.left)):
        known = losses.get(wording.name(loss))
        text = wording.name(_bare(mask))
        if known is None and not _is_one_number(loss, reduced):
            continue
        told = _SHARED.search(text) or _OF_A_LOSS.search(text.lower())
        if text and _MASKS.search(text.lower()) and not told:
            shown = wording.name(loss) or syntax.unparse(loss)
            yield (known if known is not None else loss), shown, text


def _bare(value: Any) -> Any:
    """A mask without what changes its type or adds a dimension."""
    while wording.called(value) in ("float", "unsqueeze", "to", "view", "squeeze", "type_as"):
        value = getattr(value.func, "value", None)
    return value
