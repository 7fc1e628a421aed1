"""Fixes at the very expression that was found."""

from __future__ import annotations

from tcstatic.lint.fixes.blocks import Place, dotted
from tcstatic.model import Edit
from tcstatic.program.source import syntax

Edits = tuple[Edit, ...]
_RIGHT = "requires_grad"


def call_it(place: Place) -> Edits:
    """``optimizer.step`` becomes ``optimizer.step()``."""
    node = place.node
    if isinstance(node, syntax.Expr):
        node = node.value
    return (place.insert_behind(node, "()"),) if isinstance(node, syntax.Attribute) else ()


def assign_it(place: Place) -> Edits:
    """``p.requires_grad == False`` becomes ``p.requires_grad = False``."""
    node = place.node.value if isinstance(place.node, syntax.Expr) else place.node
    if not isinstance(node, syntax.Compare) or len(node.ops) != 1:
        return ()
    text = f"{place.source(node.left)} = {place.source(node.comparators[0])}"
    return (place.replace(node, text),)


def group_the_sum(place: Place) -> Edits:
    """``step + 1 % every`` becomes ``(step + 1) % every``."""
    node = place.node
    if isinstance(node, syntax.Assign):
        node = node.value
    if not isinstance(node, syntax.BinOp) or not isinstance(node.right, syntax.BinOp):
        return ()
    sign = "+" if isinstance(node.op, syntax.Add) else "-"
    added, every = place.source(node.right.left), place.source(node.right.right)
    return (place.replace(node, f"({place.source(node.left)} {sign} {added}) % {every}"),)


def spell_requires_grad(place: Place) -> Edits:
    """``p.require_grad = False`` becomes ``p.requires_grad = False``."""
    for node in syntax.walk(place.statement):
        if isinstance(node, syntax.Attribute) and _is_misspelt(node):
            return (place.replace(node, f"{place.source(node.value)}.{_RIGHT}"),)
    return ()


def _is_misspelt(node: syntax.Attribute) -> bool:
    """Whether an attribute that is assigned to is almost ``requires_grad``."""
    plain = node.attr.replace("_", "").lower()
    store = isinstance(node.ctx, syntax.Store)
    return store and node.attr != _RIGHT and plain.startswith("requir") and "grad" in plain


def assign_result(place: Place) -> Edits:
    """``x.to(device)`` becomes ``x = x.to(device)``."""
    node = place.node.value if isinstance(place.node, syntax.Expr) else place.node
    if not isinstance(place.statement, syntax.Expr) or place.statement.value is not node:
        return ()
    if not isinstance(node, syntax.Call) or not isinstance(node.func, syntax.Attribute):
        return ()
    name = dotted(node.func.value)
    return (place.insert_before(node, f"{name} = "),) if name else ()


def swap_arguments(place: Place) -> Edits:
    """``loss(target, output)`` becomes ``loss(output, target)``."""
    node = place.node
    if isinstance(node, syntax.Assign | syntax.Expr | syntax.Return) and node.value is not None:
        node = node.value
    if not isinstance(node, syntax.Call) or len(node.args) < 2:
        return ()
    first, second = node.args[:2]
    if isinstance(first, syntax.Starred) or isinstance(second, syntax.Starred):
        return ()
    return (
        place.replace(first, place.source(second)),
        place.replace(second, place.source(first)),
    )


def deepcopy_it(place: Place) -> Edits:
    """``best = model.state_dict()`` becomes ``best = copy.deepcopy(model.state_dict())``."""
    node = place.node
    if isinstance(node, syntax.Assign):
        node = node.value
    if not isinstance(node, syntax.expr):
        return ()
    name, imports = _deepcopy(place)
    if not name:
        return ()
    edit = place.replace(node, f"{name}({place.source(node)})")
    return (*imports, edit)


def _deepcopy(place: Place) -> tuple[str, Edits]:
    """How ``deepcopy`` is called here, and the import that it needs; '' where ``copy`` is taken."""
    for node in place.tree.body:
        if isinstance(node, syntax.Import | syntax.ImportFrom):
            module = node.module if isinstance(node, syntax.ImportFrom) else ""
            for alias in node.names:
                if module == "copy" and alias.name == "deepcopy":
                    return alias.asname or alias.name, ()
                if not module and alias.name == "copy":
                    return f"{alias.asname or alias.name}.deepcopy", ()
    if any(getattr(node, "id", "") == "copy" for node in syntax.walk(place.tree)):
        return "", ()
    first = next((one for one in place.tree.body if _is_import(one)), None)
    if first is None or not place.alone(first):
        return "", ()
    return "copy.deepcopy", (place.line_above(first, "import copy"),)


def _is_import(node: syntax.stmt) -> bool:
    if isinstance(node, syntax.ImportFrom):
        return node.module != "__future__"
    return isinstance(node, syntax.Import)
