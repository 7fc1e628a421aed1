"""Assignments that nothing reads, calls that do not happen, results that nobody takes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from tcstatic.program.paths import guesses, lookup
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import provides, surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import function_around, statements_in
from tcstatic.program.paths.stores import owner_of_parameter
from tcstatic.program.paths.tree import Block, Happening, happenings
from tcstatic.program.paths.values import (
    Bound,
    Class,
    Const,
    Node,
    Object,
    Place,
    Unknown,
    Value,
    options,
)
from tcstatic.program.source import syntax

_MISSPELT: Final = re.compile(r"requ?i?e?re?[sd]?_?grad(s|ient|ients)?_?$", re.IGNORECASE)
_RATES: Final = frozenset({"lr", "learning_rate", "rate", "LR", "base_lr"})
_CALLED: Final = {
    "step": frozenset({"optimizer", "scheduler"}),
    "zero_grad": frozenset({"optimizer", "model"}),
    "eval": frozenset({"model"}),
    "train": frozenset({"model"}),
    "update": frozenset({"scaler"}),
    "unscale_": frozenset({"scaler"}),
    "set_epoch": frozenset({"sampler"}),
}
# A line that names such a method, and what it stands in where an error is waited for.
_BARE: Final = re.compile(r"^[ \t]+[\w.]+\.(?:step|zero_grad)[ \t]*(?:#.*)?$", re.MULTILINE)
_RAISES: Final = re.compile(r"[Rr]aises|suppress")


@provides("call")
def stores(m: Machine, one: Happening) -> None:
    """``misspelt`` and ``in_vain`` of an assignment to an attribute or an item."""
    operation = one.values.get("operation")
    if operation == "store" and one.receiver is not None:
        _attribute(m, one, one.receiver, str(one.values.get("attribute")))
    elif operation == "set-item" and one.receiver is not None:
        _item(m, one, one.receiver)


def _attribute(m: Machine, one: Happening, holder: Value, text: str) -> None:
    if text != "requires_grad" and _MISSPELT.match(text):
        one.values["misspelt"] = _is_tensor(holder) or _is_nobodys(one, holder, text)
        one.values["type"] = "a tensor"
    elif text == "requires_grad":
        one.values["misspelt"] = _is_module(m, holder, text) or _is_called(one, holder)
        one.values["type"] = "a module"
    elif text in _RATES and isinstance(holder, Object) and holder.role == "optimizer":
        plain = isinstance(holder.type, str) and holder.type.startswith("torch.optim.")
        one.values["in_vain"] = plain
    elif text in _RATES and guesses.role(holder) == "optimizer" and _is_used(m, holder):
        # somebody may read it, if the optimizer is one of the program's own
        target = syntax.unparse(one.place.node)
        uses = len(re.findall(rf"(?<![\w.]){re.escape(target)}\b", one.place.module.text.text))
        stores = rf"(?m)^\s*{re.escape(target)} = "
        one.values["in_vain"] = uses == len(re.findall(stores, one.place.module.text.text))
        one.assumed = True


def _is_used(m: Machine, holder: Value) -> bool:
    """Whether what is called an optimizer is used like one of torch."""
    used = ("param_groups", "defaults", "zero_grad")
    return any((holder.number, name) in m.lazy for name in used)


def _is_tensor(holder: Value) -> bool:
    if owner_of_parameter(holder) is not None:
        return True
    return isinstance(holder, Node) and holder.op in ("parameter", "forward")


def _is_nobodys(one: Happening, holder: Value, text: str) -> bool:
    """Whether a switch of that name is set on something that is not known, and read nowhere."""
    value = one.arguments[0] if len(one.arguments) == 1 else None
    if not isinstance(value, Const) or not isinstance(value.value, bool):
        return False
    if not isinstance(holder, Unknown | Node):
        return False
    target = one.place.node
    if not isinstance(target, syntax.Attribute) or syntax.unparse(target.value) in ("self", "cls"):
        return False
    source = one.place.module.text.text
    every = len(re.findall(rf"\b{text}\b", source))
    return every == len(re.findall(rf"\.{text} = (?:True|False)\b", source))


def _is_module(m: Machine, holder: Value, text: str) -> bool:
    """Whether the holder is a module that has no use for an attribute of that name."""
    if not isinstance(holder, Object) or holder.role != "model":
        return False
    if isinstance(holder.type, str):
        return holder.type.startswith("torch.nn.")
    line = [one for one in lookup.ancestry(holder.type) if isinstance(one, Class)]
    return not any(_reads(one, text) for one in line)


def _is_called(one: Happening, holder: Value) -> bool:
    """Whether the program calls what is given a switch, which no tensor lets it do."""
    target = one.place.node
    held = target.value if isinstance(target, syntax.Attribute) else None
    if not isinstance(holder, Unknown | Node) or not isinstance(held, syntax.Attribute):
        return False
    calls = rf"\bself\.{held.attr}\(|(?<![\w.]){re.escape(syntax.unparse(held))}\("
    return re.search(calls, one.place.module.text.text) is not None


def _reads(owner: Class, text: str) -> bool:
    return any(
        isinstance(node, syntax.Attribute)
        and node.attr == text
        and isinstance(node.value, syntax.Name)
        and node.value.id == "self"
        for node in syntax.walk(owner.node)
    )


def _item(m: Machine, one: Happening, holder: Value) -> None:
    node = one.place.node
    if not isinstance(node, syntax.Subscript) or not isinstance(node.slice, syntax.Constant):
        return
    key = node.slice.value
    text = one.place.module.text.text
    if isinstance(holder, Bound | Node) and key == "lr" and _is_part(holder, "defaults"):
        one.values["in_vain"] = "add_param_group" not in text
    elif key in _RATES and key != "lr" and _is_group(holder):
        one.values["in_vain"] = len(re.findall(rf"[\"']{key}[\"']", text)) == 1


def _is_part(holder: Value, name: str) -> bool:
    """Whether a value is a part of one of torch's optimizers: its groups, its defaults."""
    if isinstance(holder, Bound):
        owner = holder.receiver
        known = isinstance(owner, Object) and isinstance(owner.type, str)
        return holder.name == name and known and _role(owner) == "optimizer"
    return isinstance(holder, Node) and holder.op == name


def _is_group(holder: Value) -> bool:
    if not isinstance(holder, Node) or holder.op != "item" or not holder.inputs:
        return False
    return any(_is_part(one, "param_groups") for one in options(holder.inputs[0], 3))


@provides("call")
def uncalled(m: Machine, one: Happening) -> None:
    """``uncalled`` of a method that stands alone, without its parentheses."""
    if one.values.get("operation") != "not-called" or one.receiver is None:
        return
    if _is_awaited(one.place):
        return
    method = str(one.values.get("method"))
    known = [v for v in options(one.receiver, 4) if not isinstance(v, Const)]
    roles = {_role(value) for value in known}
    if method == "backward":
        one.values["uncalled"] = bool(known) and all(isinstance(v, Node) for v in known)
    elif roles - {""} and roles - {""} <= _CALLED.get(method, frozenset()):
        one.values["uncalled"] = True
        one.assumed = one.assumed or not all(isinstance(v, Object) for v in known)
    source = syntax.unparse(one.place.node)
    one.values["name"] = source


@surveys
def named_only(m: Machine, block: Block) -> None:
    """``uncalled`` by the text alone, wherever in the module: in functions that are not explored
    to their end, too."""
    if not m.thorough or not m.frames:
        return
    module = m.frames[0].module
    if _BARE.search(module.text.text) is None:
        return
    for node, function in _bare(module.tree, ""):
        place = Place(module, node, function)
        if not _is_awaited(place):
            tell(block, "uncalled", place, assumed=True, name=syntax.unparse(node))


def _bare(around: syntax.AST, function: str) -> Iterator[tuple[syntax.Attribute, str]]:
    """The actions that are named and not called, each with the function that it stands in."""
    for node in _directly(around):
        value = node.value if isinstance(node, syntax.Expr) else None
        if isinstance(value, syntax.Attribute) and _is_action(value):
            yield value, function
        elif isinstance(node, syntax.FunctionDef | syntax.AsyncFunctionDef | syntax.ClassDef):
            yield from _bare(node, f"{function}.{node.name}".lstrip("."))
        else:
            yield from _bare(node, function)


def _is_awaited(place: Place) -> bool:
    """Whether naming an attribute may fail here, and is done for that."""
    line = place.node.lineno
    if any(first <= line <= last for first, last in place.module.tried):
        return True
    return any(
        isinstance(node, syntax.With)
        and node.lineno <= line <= (node.end_lineno or node.lineno)
        and any(_RAISES.search(syntax.unparse(item)) for item in node.items)
        for node in statements_in(place.module.tree)
    )


def _directly(around: syntax.AST) -> Iterator[syntax.stmt]:
    for part in ("body", "orelse", "finalbody", "handlers", "cases"):
        for inner in getattr(around, part, ()):
            if isinstance(inner, syntax.stmt):
                yield inner
            else:
                yield from _directly(inner)


def _is_action(node: syntax.Attribute) -> bool:
    """Whether a method's and its object's names say that it clears, steps, or runs backward."""
    holder = node.value
    name = holder.attr if isinstance(holder, syntax.Attribute) else getattr(holder, "id", "")
    role = guesses.role(Unknown("name", name))
    return node.attr == "zero_grad" or (role in _CALLED.get(node.attr, ()) and node.attr == "step")


def _role(value: Value) -> str:
    return value.role if isinstance(value, Object) else guesses.role(value)


# Methods of tensors alone that give a new tensor.
_PURE: Final = frozenset(
    """masked_fill clamp clamp_min clamp_max clip detach unsqueeze squeeze permute transpose
    contiguous softmax log_softmax sigmoid relu tanh masked_scatter index_fill index_copy
    scatter_add""".split()
)
_ARITHMETIC: Final = frozenset("add sub mul div lerp addcmul addcdiv".split())
# Functions of torch that stand for a change of their first argument when their result is dropped.
_FUNCTIONS: Final = frozenset(
    """normalize clamp clip relu dropout softmax log_softmax sigmoid masked_fill squeeze unsqueeze
    nan_to_num layer_norm""".split()
)


@surveys
def dropped(m: Machine, block: Block) -> None:
    """``unused``: a new tensor is dropped, and the old one is read on afterwards."""
    for one in list(happenings(block)):
        if one.values.get("operation") != "dropped" or not isinstance(one.node, Node):
            continue
        call = one.place.node
        if isinstance(call, syntax.Call) and _made_here(one.node, call):
            name, subject = _changed(m, one, call)
            if subject is None or _in_try(one, call):
                continue
            if _read_later(one, call, subject):
                one.values["unused"] = True
                one.values["name"] = name
                one.values["receiver"] = syntax.unparse(subject)


def _made_here(made: Node, call: syntax.Call) -> bool:
    """Whether a call itself is the operation: a function of the project gives what it made."""
    here = made.place is not None and made.place.node is call
    return here and not made.op.startswith("call")


def _changed(m: Machine, one: Happening, call: syntax.Call) -> tuple[str, syntax.expr | None]:
    """The operation of a dropped call, and the tensor that it was meant to change."""
    function = call.func
    if not isinstance(function, syntax.Attribute) or one.node is None:
        return "", None
    receiver = one.node.inputs[0] if one.node.inputs else None
    if _is_function(one, function):
        if any(name in one.node.keywords for name in ("inplace", "out")):
            return "", None
        known = function.attr in _FUNCTIONS and call.args
        return function.attr, call.args[0] if known else None
    if function.attr in _ARITHMETIC and _is_of_parameter(one, call, function.value):
        return function.attr, function.value
    values = options(receiver, 6) if receiver is not None else []
    named = guesses.role(Unknown("name", syntax.unparse(function.value).rpartition(".")[2]))
    unknown = bool(values) and all(isinstance(v, Node | Unknown) for v in values)
    if function.attr in _PURE and unknown and named in ("", "loss"):
        if _is_vague(values) and m.project.around(one.place.module).defines(function.attr):
            return "", None
        return function.attr, function.value
    return "", None


def _is_of_parameter(one: Happening, call: syntax.Call, subject: syntax.expr) -> bool:
    """Whether a tensor is what a loop over a model's parameters hands out, or a chain of changes in
    place of it."""
    while isinstance(subject, syntax.Call) and isinstance(subject.func, syntax.Attribute):
        if not subject.func.attr.endswith("_"):
            return False
        subject = subject.func.value
    return isinstance(subject, syntax.Name) and any(
        isinstance(node, syntax.For)
        and "parameters()" in syntax.unparse(node.iter)
        and any(isinstance(n, syntax.Name) and n.id == subject.id for n in syntax.walk(node.target))
        and any(part is call for part in syntax.walk(node))
        for node in syntax.walk(one.place.module.tree)
    )


def _is_vague(values: list[Value]) -> bool:
    """Whether nothing but the name of its method says that something is a tensor."""
    return any(
        isinstance(one, Unknown)
        or (isinstance(one, Node) and one.op.startswith(("call", "item", "attr:", "method:")))
        for one in values
    )


def _is_function(one: Happening, function: syntax.Attribute) -> bool:
    """Whether a dotted name is a function of torch, by how its module names it."""
    text = syntax.unparse(function.value)
    return text in ("torch", "F", "nn.functional", "torch.nn.functional")


def _in_try(one: Happening, call: syntax.Call) -> bool:
    return any(first <= call.lineno <= last for first, last in one.place.module.tried)


def _read_later(one: Happening, call: syntax.Call, subject: syntax.expr) -> bool:
    """Whether what should have changed is read behind the call, or lives on in a model."""
    if isinstance(subject, syntax.Attribute) and subject.attr in ("data", "grad"):
        return True
    if isinstance(call.func, syntax.Attribute) and call.func.attr in _ARITHMETIC:
        return True  # a parameter lives on in its model
    if not isinstance(subject, syntax.Name):
        return False
    tree = one.place.module.tree
    scope = function_around(tree, call.lineno) or tree
    line = call.end_lineno or call.lineno
    return any(
        isinstance(node, syntax.Name)
        and node.id == subject.id
        and isinstance(node.ctx, syntax.Load)
        and node.lineno > line
        for node in syntax.walk(scope)
    )
