"""Layers that a module does not see, makes anew, or has fewer of than it seems."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from tcstatic.program.paths import lookup, parameters
from tcstatic.program.paths.facts.orders import own, tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.operations import CONTAINERS, PARAMETERLESS, WRAPPERS
from tcstatic.program.paths.project import function_around
from tcstatic.program.paths.tree import Block, Happening, happenings, loops
from tcstatic.program.paths.values import Const, Listing, Node, Object, Place, Value, options
from tcstatic.program.paths.walking import Reach, objects_in, upstream
from tcstatic.program.source import syntax

_MEANT: Final = re.compile(r"shar|tied?$|tying$|same$|common$|recur", re.IGNORECASE)
_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
# What leaves a layer the one that it is.
_PUTS: Final = frozenset("to cuda cpu train eval float double half bfloat16 forward".split())
_AFFINE: Final = ("affine", "elementwise_affine")


def has_parameters(m: Machine, one: Object) -> bool:
    """Whether an object is known to have parameters of its own or in its parts."""
    return any(_owns(part) for part in parameters.tree(m, one))


def has_weights(m: Machine, one: Object) -> bool:
    """Whether an object has parameters, those that the program makes itself among them."""
    return has_parameters(m, one) or any(
        isinstance(held, Node) and held.op == "parameter" and "requires_grad" not in held.keywords
        for part in parameters.tree(m, one)
        for text in part.attributes
        for held in (m.attribute(part, text),)
    )


def _owns(one: Object) -> bool:
    if not isinstance(one.type, str) or one.role != "model":
        return False
    if not one.type.startswith("torch.nn.") or one.type_name in (*PARAMETERLESS, *CONTAINERS):
        return False
    if one.type_name in WRAPPERS or one.type_name == "Module":
        return False
    if one.type_name.startswith("InstanceNorm"):
        held = one.keywords.get("affine")
        return isinstance(held, Const) and held.value is True
    for name in _AFFINE:
        held = one.keywords.get(name)
        if isinstance(held, Const) and held.value is False:
            return False
    return True


@surveys
def unregistered(m: Machine, block: Block) -> None:
    """Layers in plain lists, tuples and dicts of a module."""
    stores = [one for one in happenings(block) if one.values.get("operation") == "store"]
    for one in stores:
        holder = one.receiver
        if not isinstance(holder, Object) or holder.role != "model" or len(one.arguments) != 1:
            continue
        text = str(one.values.get("attribute"))
        listing = m.attribute(holder, text)
        stored = one.arguments[0]
        kept = options(listing, 6) if listing is not None else ()
        if not isinstance(stored, Listing) or not any(value is stored for value in kept):
            continue
        layers = _layers(m, stored)
        if layers and not _seen_otherwise(m, block, holder, layers):
            tell(block, "unregistered", one.place, name=text, container=stored.kind)


def _layers(m: Machine, listing: Listing) -> list[Object]:
    """The layers with parameters in a listing, if all that it holds are modules."""
    found: list[Object] = []
    for item in lookup.items(m, listing):
        for one in options(item, 6):
            if isinstance(one, Listing):
                found.extend(_layers(m, one))
            elif isinstance(one, Object) and one.role == "model":
                found.append(one)
            elif not (isinstance(one, Const) and one.value is None):
                return []
    return [one for one in found if has_weights(m, one)]


def _seen_otherwise(m: Machine, block: Block, holder: Object, layers: list[Object]) -> bool:
    """Whether the layers are registered beside, copied, frozen, kept from training, or given to
    an optimizer."""
    mine = {token for one in layers for token in parameters.tokens_of_model(m, one)}
    if mine & parameters.tokens_of_model(m, holder):
        return True
    numbers = {part.number for one in layers for part in parameters.tree(m, one)}
    if any(_excuses(one, numbers, holder) for one in happenings(block)):
        return True
    optimizers = [one for one in m.objects.values() if one.role == "optimizer"]
    return any(_may_hold(m, one, mine) for one in optimizers)


def _excuses(one: Happening, numbers: set[int], holder: Object) -> bool:
    about = set(one.subjects.get("model", ()))
    if one.kind in ("model.freeze", "model.eval") or one.values.get("how") == "copy":
        return bool(numbers & about)
    return one.wild and bool(numbers & one.maybe) and holder.number not in one.maybe


def _may_hold(m: Machine, optimizer: Object, mine: set[tuple[int, int]]) -> bool:
    held, complete = m.attribute(optimizer, "#tokens"), m.attribute(optimizer, "#complete")
    if not (isinstance(complete, Const) and complete.value):
        return True
    return isinstance(held, Const) and bool(held.value & mine)


@surveys
def made_in_forward(m: Machine, block: Block) -> None:
    """Layers with weights that are made while a model computes, or in a training step."""
    reached = _reached(block)
    for one in list(m.objects.values()):
        if one.place is None or not _owns(one):
            continue
        inside = any(name.endswith(".forward") for name in one.within)
        token = parameters.token(m, one)
        anew = one.number > reached.get(token, one.number)
        if not inside and not (anew and not _is_model(m, one)):
            continue
        if parameters.owners(m, frozenset({token})) or _kept(m, one):
            continue
        if _is_only_called(one.place) and not _is_shared(m, block, one):
            tell(block, "made_in_forward", one.place, type=one.type_name)


def _is_only_called(place: Place) -> bool:
    """Whether nothing is done with a layer but to call it: its weights are neither loaded, nor
    trained by hand, nor handed on."""
    scope = function_around(place.module.tree, place.node.lineno) or place.module.tree
    inside = list(syntax.walk(scope))
    bound = [one for one in inside if isinstance(one, syntax.Assign) and one.value is place.node]
    names = {one.id for held in bound for one in held.targets if isinstance(one, syntax.Name)}
    called = {
        id(one.func.value if isinstance(one.func, syntax.Attribute) else one.func)
        for one in inside
        if isinstance(one, syntax.Call)
        and (not isinstance(one.func, syntax.Attribute) or one.func.attr in _PUTS)
    }
    return all(
        id(one) in called
        for one in inside
        if isinstance(one, syntax.Name) and one.id in names and isinstance(one.ctx, syntax.Load)
    )


def _is_shared(m: Machine, block: Block, layer: Object) -> bool:
    """Whether a loss is made of what a layer gives for several values: it measures these by chance
    projections, the same for each, and is itself no part of the model."""
    for one in happenings(block):
        if one.kind == "loss.backward" and one.arguments:
            made = upstream(m, one.arguments[0], lambda _: True)
            calls = [v for v in made if isinstance(v, Node) and v.op == "forward"]
            if sum(call.subject is layer for call in calls) > 1:
                return True
    return False


def _reached(block: Block) -> dict[tuple[int, int], int]:
    """The weights that a backward in a loop reaches, and the number of the first value made in
    a round: what is newer is made for that one backward."""
    found: dict[tuple[int, int], int] = {}
    for loop, _ in loops(block):
        for one in own(loop.body):
            reach = one.values.get("#reach")
            if one.kind == "loss.backward" and isinstance(reach, Reach):
                for token in reach.tokens:
                    found[token] = min(found.get(token, loop.begun), loop.begun)
    return found


def _kept(m: Machine, one: Object) -> bool:
    """Whether a layer is kept, or its weights are looked at."""
    if one.attributes or any((one.number, name) in m.lazy for name in ("weight", "bias")):
        return True
    for other in m.objects.values():
        if other is one:
            continue
        for text in other.attributes:
            held = m.attribute(other, text)
            if held is not None and any(v is one for v in objects_in(m, (held,))):
                return True
        if any(v is one for v in objects_in(m, other.arguments)):
            return True
    return False


def _is_model(m: Machine, one: Object) -> bool:
    """Whether nothing older is trained: the layer is the model of a loop of its own."""
    return bool(parameters.owners(m, frozenset({parameters.token(m, one)})))


@surveys
def repeated(m: Machine, block: Block) -> None:
    """``[layer] * n`` given to a container of modules."""
    for one in happenings(block):
        if one.kind != "model.new":
            continue
        for listing in _listings(one):
            held = m.attribute(listing, "#repeated")
            if not isinstance(held, Node) or held.place is None or _is_meant(held):
                continue
            layers = [v for item in lookup.items(m, listing) for v in options(item, 3)]
            known = [v for v in layers if isinstance(v, Object) and v.role == "model"]
            if known and len(known) == len(layers) and any(has_weights(m, v) for v in known):
                tell(block, "repeated", held.place, type=known[0].type_name, count=_count(held))


def _listings(one: Happening) -> Iterator[Listing]:
    for argument in one.arguments:
        for value in options(argument, 4):
            if isinstance(value, Listing):
                yield value
            elif isinstance(value, Node) and value.op == "starred":
                yield from (inner for inner in value.inputs if isinstance(inner, Listing))


def _is_meant(held: Node) -> bool:
    node = held.place.node if held.place is not None else None
    if not isinstance(node, syntax.BinOp):
        return True
    lists = [side for side in (node.left, node.right) if isinstance(side, syntax.List)]
    return not lists or any(
        _MEANT.match(word)
        for part in syntax.walk(lists[0])
        if isinstance(part, syntax.Name | syntax.Attribute)
        for word in _WORD.findall(getattr(part, "id", getattr(part, "attr", "")))
    )


def _count(held: Node) -> str:
    known = [v.value for v in held.inputs if isinstance(v, Const) and isinstance(v.value, int)]
    return str(known[0]) if known else "its"


@surveys
def not_leaf(m: Machine, block: Block) -> None:
    """Weights that are the result of an operation on a parameter."""
    for one in happenings(block):
        operation = one.values.get("operation")
        if operation == "store" and isinstance(one.receiver, Object):
            if one.receiver.role == "model" and len(one.arguments) == 1:
                _derived(block, one, one.arguments[0], leaves=("parameter",))
        elif operation == "augmented" and one.receiver is not None and _uses_gradient(one):
            for value in options(one.receiver, 8):
                _derived(block, one, value, leaves=("parameter", "leaf"))


_CHANGES: Final = frozenset(
    "* / + - ** to cuda half float double bfloat16 mul div add sub cpu float_".split()
)


def _derived(block: Block, one: Happening, value: Value, leaves: tuple[str, ...]) -> None:
    if not isinstance(value, Node) or value.op not in _CHANGES or value.place is None:
        return
    made = next((v for v in value.inputs if isinstance(v, Node) and _is_leaf(v)), None)
    if made is None or made.place is None or made.place.function != value.place.function:
        return
    inside = any(part is made.place.node for part in syntax.walk(value.place.node))
    if not inside or (made.op != "parameter" and "leaf" not in leaves):
        return
    if value.op == "cpu":
        return
    tell(block, "not_leaf", value.place, name=syntax.unparse(value.place.node))


def _is_leaf(value: Node) -> bool:
    if value.op == "parameter":
        return True
    held = value.keywords.get("requires_grad")
    return isinstance(held, Const) and held.value is True


def _uses_gradient(one: Happening) -> bool:
    waiting: list[Value] = list(one.arguments)
    for _ in range(20):
        if not waiting:
            return False
        for value in options(waiting.pop(), 4):
            if isinstance(value, Node):
                if value.op == "attr:grad":
                    return True
                waiting.extend(value.inputs)
    return False
