"""What is another on each rank, as the text of one function tells: the rank, and what is reckoned
from it."""

from __future__ import annotations

import re
from typing import Any, Final

from tcstatic.program.paths import wording
from tcstatic.program.paths.facts.scopes import Scope
from tcstatic.program.source import syntax

_RANK: Final = re.compile(
    r"(my|global|world|dist|ddp|dp|data_parallel|proc|process|self)?_?rank|process_index",
    re.IGNORECASE,
)
_LOCAL: Final = re.compile(r"local_?rank", re.IGNORECASE)
_VARIABLES: Final = frozenset({"RANK", "LOCAL_RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK"})
_WORLD: Final = re.compile(
    r"((my|global|dist|ddp|dp|n|num)_?)?(world(_?size)?|n_?ranks|num_?(ranks|replicas|processes))"
    r"|get_world_size",
    re.IGNORECASE,
)
_PLAIN: Final = frozenset({"int", "abs", "getenv", "get"})
_DEPTH: Final = 5
# Any other remainder, or whole part, may be the same on several ranks.
_LARGE: Final = 1000


def is_rank(node: Any) -> bool:
    """Whether an expression is the rank itself, of one node at least."""
    last = wording.name(node).rpartition(".")[2]
    if last:
        return bool(_RANK.fullmatch(last) or _LOCAL.fullmatch(last))
    if isinstance(node, syntax.Call):
        if wording.called(node) in ("get_rank", "get_local_rank"):
            return True
        return wording.called(node) in ("getenv", "get") and _reads(node.args[:1])
    return isinstance(node, syntax.Subscript) and _reads([node.slice])


def _reads(given: list[syntax.expr]) -> bool:
    return any(getattr(one, "value", None) in _VARIABLES for one in given)


def is_world(node: Any) -> bool:
    """Whether an expression is the number of ranks."""
    if isinstance(node, syntax.Call):
        if wording.called(node) in ("int", "float") and len(node.args) == 1:
            return is_world(node.args[0])
        return wording.called(node) == "get_world_size" and not node.args
    if isinstance(node, syntax.Subscript):
        return getattr(node.slice, "value", None) == "WORLD_SIZE"
    return bool(_WORLD.fullmatch(wording.name(node).rpartition(".")[2]))


def touches_rank(scope: Scope, node: Any, line: int, depth: int = 0) -> bool:
    """Whether the rank may be behind a value in any way."""
    for one in syntax.walk(node):
        if is_rank(one):
            return True
        name = wording.name(one)
        value = scope.bound(name, line) if name and depth < _DEPTH else None
        if value is not None and touches_rank(scope, value, value.lineno, depth + 1):
            return True
    return False


def differs(scope: Scope, node: Any, line: int, depth: int = 0) -> bool:
    """Whether a number is surely another one on each rank: the rank, with something added to it or
    multiplied with it."""
    if is_rank(node):
        # ``seed = 3`` may be called rank by nobody, but what is bound is looked at.
        value = scope.bound(wording.name(node), line) if wording.name(node) else None
        return not isinstance(value, syntax.Constant)
    if isinstance(node, syntax.BinOp):
        return _reckoned(scope, node, line, depth)
    if isinstance(node, syntax.Call) and wording.called(node) in _PLAIN and len(node.args) == 1:
        return differs(scope, node.args[0], line, depth)
    name = wording.name(node)
    value = scope.bound(name, line) if name and depth < _DEPTH else None
    return value is not None and differs(scope, value, value.lineno, depth + 1)


def _reckoned(scope: Scope, node: syntax.BinOp, line: int, depth: int) -> bool:
    left, right = (differs(scope, one, line, depth) for one in (node.left, node.right))
    if isinstance(node.op, syntax.Mod):
        whole = isinstance(node.right, syntax.BinOp | syntax.Name)
        number = getattr(node.right, "value", 0)
        large = isinstance(number, int) and number > _LARGE
        return left and (large or (whole and not is_world(node.right)))
    if isinstance(node.op, syntax.Add | syntax.Sub | syntax.Mult | syntax.BitXor):
        return left != right
    return False
