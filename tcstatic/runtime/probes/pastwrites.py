"""What a program's own source does to weights and rates that is not seen while it runs.

Through ``.data`` and through an array that shares memory, a tensor changes while its version stays;
a learning rate is a plain number. Where a program does so anywhere, such a change is its own.
"""

from __future__ import annotations

import linecache
import os
import re
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import ast

_AVERAGES: Final = re.compile(r"average_parameters|local_?sgd|Averager|diloco", re.IGNORECASE)
_REDUCED: Final = re.compile(r"\ball_(?:reduce|gather)\w*\(([^,)\n]*)")
_OTHERS: Final = re.compile(
    r"grad|loss|acc|correct|right|total|count|seen|num|metric|score|stat|flag|stop", re.IGNORECASE
)
MOST_BYTES: Final = 2_000_000  # of a source that is read
# What writes to the tensors or arrays that it is given.
_FILLED: Final = frozenset(
    "all_gather all_reduce broadcast copyto irecv recv reduce reduce_scatter scatter".split()
)


def sources(root: str) -> list[str]:
    """Return the files of the program's own modules, those beneath a folder."""
    inside = os.path.join(os.path.abspath(root), "")
    paths = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    known = {os.path.abspath(path) for path in paths if isinstance(path, str)}
    own = [path for path in known if path.startswith(inside) and path.endswith(".py")]
    return sorted(path for path in own if "site-packages" not in path)


def writes_past_torch(root: str) -> bool:
    """Whether something is written to through ``.data`` or an array, by some module."""
    return any(_writes(path) for path in sources(root))


def sets_rates(root: str) -> bool:
    """Whether some module sets the learning rate of a group."""
    import ast

    return any(
        isinstance(node, ast.Subscript)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.slice, ast.Constant)
        and node.slice.value in ("lr", "initial_lr")
        for path in sources(root)
        for node in _nodes(path)
    )


def averages_weights(root: str) -> bool:
    """Whether some module may average weights over ranks: it brings something together that is
    neither a gradient nor a number that is shown."""
    texts = ["".join(linecache.getlines(path)) for path in sources(root)]
    return any(
        _AVERAGES.search(text)
        or any(not _OTHERS.search(found[1]) for found in _REDUCED.finditer(text))
        for text in texts
    )


def _writes(path: str) -> bool:
    import ast

    kept = set[str]()
    written = set[str]()
    for node in _nodes(path):
        if isinstance(node, ast.Assign) and _is_past(node.value):
            kept |= {one.id for target in node.targets for one in _names(target)}
        elif isinstance(node, ast.For | ast.comprehension) and _is_past(node.iter):
            kept |= {one.id for one in _names(node.target)}
        for target in _targets(node):
            if _is_past(target):
                return True
            written |= {one.id for one in _names(target)}
    return bool(kept & written)


def _targets(node: ast.AST) -> Iterator[ast.expr]:
    """Yield what a statement or a call writes to in place: a part, a sum, what a method that ends
    in an underscore is of, or a collective is given."""
    import ast

    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
        yield node.value
    elif isinstance(node, ast.AugAssign):
        yield node.target
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        if node.func.attr[-1:] == "_":
            yield node.func.value
        if node.func.attr in _FILLED:
            yield from node.args


def _is_past(node: ast.expr) -> bool:
    """Whether an expression is the data of a tensor, its array, or a part of one."""
    import ast

    while True:
        if isinstance(node, ast.Subscript):
            node = node.value
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr == "numpy":
                return True
            node = node.func.value
        elif isinstance(node, ast.Attribute):
            if node.attr == "data":
                return True
            node = node.value
        else:
            return False


def _names(node: ast.AST) -> Iterator[ast.Name]:
    """Yield the names that an expression is of, or is made of."""
    import ast

    while isinstance(node, ast.Subscript | ast.Attribute | ast.Starred):
        node = node.value
    if isinstance(node, ast.Name):
        yield node
    elif isinstance(node, ast.Tuple | ast.List):
        for one in node.elts:
            yield from _names(one)


def _nodes(path: str) -> Iterator[ast.AST]:
    import ast

    try:
        text = "".join(linecache.getlines(path))
        tree = ast.parse(text) if len(text) <= MOST_BYTES else None
    except (SyntaxError, ValueError):
        return
    if tree is not None:
        yield from ast.walk(tree)
