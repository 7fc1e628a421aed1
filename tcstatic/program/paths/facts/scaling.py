"""Loss scaling: what goes backward, what steps, and whether the scale is kept up to date."""

from __future__ import annotations

import re
from typing import Final

from tcstatic.program.paths import lookup
from tcstatic.program.paths.facts.orders import (
    WILD,
    Way,
    all_loops,
    calls_elsewhere,
    full_ways,
    guards,
    is_wild,
    subjects,
    tell,
)
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.operations import LOSSES, SHAPE
from tcstatic.program.paths.tree import Block, Happening, happenings
from tcstatic.program.paths.values import (
    Const,
    Listing,
    Node,
    Object,
    Phi,
    Place,
    Unknown,
    Value,
)
from tcstatic.program.paths.walking import upstream
from tcstatic.program.source import syntax

_KINDS: Final = frozenset(
    {"loss.backward", "optimizer.step", "optimizer.zero_grad", "scaler.unscale"}
)
# A loss is scaled, or goes backward by other code.
_SCALES: Final = re.compile(
    r"(?<!get)(?:\b|_)scaler?\(|scale_loss|\.backward\(\w+\s*,|manual_backward"
)
_ARITHMETIC: Final = frozenset("+ - * / mean sum neg mul div add".split())


def scaled(m: Machine, value: Value, depth: int = 0) -> bool | None:
    """Whether a loss carries a scaler's scale, on all ways; None where that is not known."""
    if depth > 30:
        return None
    if isinstance(value, Phi):
        answers = {
            scaled(m, one, depth + 1)
            for one in value.options
            if not (isinstance(one, Const) and one.value is None)
        }
        return answers.pop() if len(answers) == 1 else None
    if isinstance(value, Const):
        return False
    if isinstance(value, Listing):
        known = lookup.items(m, value)
        answers = {scaled(m, one, depth + 1) for one in known}
        return answers.pop() if len(answers) == 1 else None
    if not isinstance(value, Node):
        return None
    if value.op == "scale":
        return True
    if value.op in LOSSES or value.op in ("forward", "parameter", "parameters"):
        return False
    if value.op in _ARITHMETIC or value.op in SHAPE:
        return _any(m, value, depth)
    return None


def _any(m: Machine, value: Node, depth: int) -> bool | None:
    """Of a sum of several, one that is scaled is enough; unknown operands count as plain."""
    answers = [scaled(m, one, depth + 1) for one in value.inputs]
    if any(answers):
        return True
    return None if answers[:1] == [None] or not answers else False


def _off(m: Machine, one: Happening) -> bool:
    return any(
        isinstance(m.objects.get(number), Object)
        and isinstance(held := m.objects[number].keywords.get("enabled"), Const)
        and held.value is False
        for number in one.subjects.get("scaler", ())
    )


@surveys
def bypassed(m: Machine, block: Block) -> None:
    """Steps that use gradients with the scale still on them, or that no scaler guards."""
    if not any(one.kind.startswith("scaler.") for one in happenings(block)):
        _unused(m, block)
        return
    off = {
        one.node.number
        for one in happenings(block)
        if one.kind == "scaler.scale" and one.node is not None and _off(m, one)
    }
    for number in subjects(block, ("optimizer.step",)):
        found = full_ways(block, _KINDS, number)
        if not found or off:
            continue
        for step in _plain_steps(block, number):
            guarded = _asks_before(block, step)
            if all(_scaled_at(m, way, step, guarded) for way in found if _on(way, step)) and any(
                _on(way, step) for way in found
            ):
                about = {"optimizer": (number,)}
                tell(block, "bypassed", step.place, assumed=step.assumed, subjects=about)


def _plain_steps(block: Block, number: int) -> list[Happening]:
    return [
        one
        for one in happenings(block)
        if one.kind == "optimizer.step"
        and number in one.subjects.get("optimizer", ())
        and not one.values.get("by_scaler")
    ]


def _on(way: Way, wanted: Happening) -> bool:
    return any(one is wanted for one, _ in way)


def _asks_before(block: Block, step: Happening) -> bool:
    """Whether something is asked between the unscaling of gradients and a step: for inf, say."""
    unscaling = [one for one in happenings(block) if one.kind == "scaler.unscale"]
    bodies = [loop.body for loop in all_loops(block)] + [block]
    around = {id(one) for body in bodies for one in guards(body, step)}
    return any(
        around - {id(branch) for body in bodies for branch in guards(body, one)}
        for one in unscaling
        if not one.values.get("implicit")
    )


def _scaled_at(m: Machine, way: Way, step: Happening, guarded: bool) -> bool:
    """Whether each time that a step comes, only scaled losses went backward since the last."""
    carried: list[bool | None] = []
    for one, kind in way:
        if kind == WILD or kind.endswith("?"):
            carried.append(None)
        elif kind == "loss.backward":
            carried.append(scaled(m, one.arguments[0]) if one.arguments else None)
        elif kind == "scaler.unscale":
            if guarded and not one.values.get("implicit"):
                carried.append(None)
        elif one is step:
            if not carried or any(answer is not True for answer in carried):
                return False
            carried = []
        else:
            carried = []
    return True


def _unused(m: Machine, block: Block) -> None:
    """A scaler is made, float16 is computed in, and nothing is ever scaled."""
    scalers = [
        one
        for one in m.objects.values()
        if one.role == "scaler" and one.place is not None and "enabled" not in one.keywords
    ]
    if len(scalers) != 1 or is_wild(block, scalers[0].number) or not _half(block):
        return
    place = scalers[0].place
    assert place is not None
    if calls_elsewhere(m, block, (place,), "scale"):
        return
    steps = [one for one in happenings(block) if one.kind == "optimizer.step"]
    backwards = [one for one in happenings(block) if one.kind == "loss.backward"]
    if len(steps) != 1 or not backwards or not steps[0].facts.get("in_loop"):
        return
    if all(scaled(m, one.arguments[0]) is False for one in backwards if one.arguments):
        step = steps[0]
        tell(block, "bypassed", step.place, assumed=step.assumed, subjects=step.subjects)


def _half(block: Block) -> bool:
    """Whether all regions of mixed precision are of float16."""
    found: list[bool] = []
    for one in happenings(block):
        if one.kind == "region.enter" and one.values.get("region") == "autocast":
            held = one.receiver
            if not isinstance(held, Object) or "enabled" in held.keywords:
                return False
            kind = held.keywords.get("dtype")
            if kind is None and len(held.arguments) > 1:
                kind = held.arguments[1]
            path = str(getattr(kind, "path", ""))
            device = held.arguments[0] if held.arguments else held.keywords.get("device_type")
            cuda = isinstance(device, Const) and device.value == "cuda"
            old = isinstance(held.type, str) and held.type == "torch.cuda.amp.autocast"
            found.append(
                path in ("torch.float16", "torch.half") or (kind is None and (cuda or old))
            )
    return bool(found) and all(found)


@surveys
def unscaled(m: Machine, block: Block) -> None:
    """Plain losses that go backward before a scaler's step, which divides by the scale."""
    steps = [
        one
        for one in happenings(block)
        if one.kind == "optimizer.step" and one.values.get("by_scaler")
    ]
    off = any(one.kind == "scaler.step" and _off(m, one) for one in happenings(block))
    for number in sorted({n for one in steps for n in one.subjects.get("optimizer", ())}):
        found = full_ways(block, _KINDS, number)
        if not found or off:
            continue
        failing = [_unscaled_on(m, way) for way in found if _steps_by_scaler(way)]
        common = set.intersection(*(set(one) for one in failing)) if failing else set()
        for key in common:
            one = failing[0][key]
            assumed = one.assumed or steps[0].assumed
            about = {"optimizer": (number,)}
            tell(block, "unscaled", one.place, assumed=assumed, subjects=about)


@surveys
def never_scaled(m: Machine, block: Block) -> None:
    """A scaler steps, and the code around it scales no loss anywhere."""
    told: set[tuple[int, str]] = set()
    for step in happenings(block):
        key = (id(step.place.module), step.place.function)
        if step.kind != "scaler.step" or key in told or _scales(step.place) or _off(m, step):
            continue
        told.add(key)
        plain = [
            one
            for one in happenings(block)
            if one.kind == "loss.backward"
            and (id(one.place.module), one.place.function) == key
            and one.arguments
            and _is_plain(m, one.arguments[0])
        ]
        if plain:
            first = min(plain, key=lambda one: getattr(one.place.node, "lineno", 0))
            about = {"optimizer": first.subjects.get("optimizer", ())}
            tell(block, "unscaled", first.place, assumed=True, subjects=about)


def _scales(place: Place) -> bool:
    """Whether the module of a place, or the class that has no other bases, scales losses."""
    text = place.module.text.text
    if not _SCALES.search(text):
        return False
    name = place.function.partition(".")[0]
    for node in place.module.tree.body:
        if isinstance(node, syntax.ClassDef) and node.name == name and not node.bases:
            lines = text.splitlines()[node.lineno - 1 : node.end_lineno]
            return bool(_SCALES.search("\n".join(lines)) or ".scale(" in text)
    return True


def _is_plain(m: Machine, loss: Value) -> bool:
    """Whether a loss is computed here, or is what the function was given."""
    if isinstance(loss, Unknown):
        return loss.origin == "parameter"
    parts = upstream(m, loss, lambda _: True)
    return not any(isinstance(one, Node) and "scale" in one.op for one in parts)


def _never_scaled(m: Machine, loss: Value) -> bool:
    """Whether a loss carries no scale, all that it was computed from being known."""
    answer = scaled(m, loss)
    if answer is not None:
        return not answer
    parts = list(upstream(m, loss, lambda _: True))
    names = [one.op if isinstance(one, Node) else getattr(one, "name", "") for one in parts]
    computed = any(isinstance(one, Node) and one.op == "forward" for one in parts)
    return computed and not any("scale" in name or name.startswith("call") for name in names)


def _steps_by_scaler(way: Way) -> bool:
    return any(kind == "optimizer.step" and one.values.get("by_scaler") for one, kind in way)


def _unscaled_on(m: Machine, way: Way) -> dict[int, Happening]:
    """The backwards of plain losses whose gradients a scaler's step uses."""
    pending: list[Happening] = []
    found: dict[int, Happening] = {}
    for one, kind in way:
        if kind == WILD:
            return {}
        if kind == "loss.backward":
            if one.arguments and _never_scaled(m, one.arguments[0]):
                pending.append(one)
        elif kind == "optimizer.step":
            if one.values.get("by_scaler"):
                found.update({id(late): late for late in pending})
            pending = []
        elif kind == "optimizer.zero_grad":
            pending = []
    return found


@surveys
def never_updated(m: Machine, block: Block) -> None:
    """Scalers that step and are not updated."""
    for number in subjects(block, ("scaler.step",), "scaler"):
        scaler = m.objects.get(number)
        if scaler is None or scaler.place is None or is_wild(block, number):
            continue
        steps = [
            one
            for one in happenings(block)
            if one.kind == "scaler.step" and number in one.subjects.get("scaler", ())
        ]
        updated = any(
            one.kind == "scaler.update" and number in one.subjects.get("scaler", ())
            for one in happenings(block)
        )
        if updated or any(_off(m, one) for one in steps):
            continue
        if not _updates_elsewhere(m, block, scaler, steps[-1]):
            tell(block, "never_updated", steps[-1].place, assumed=steps[-1].assumed)


def _updates_elsewhere(m: Machine, block: Block, scaler: Object, step: Happening) -> bool:
    """Whether other code may update a scaler: by its name, where that says what it is."""
    assert scaler.place is not None
    places = (scaler.place, step.place)
    node = step.place.node
    if isinstance(node, syntax.Call) and isinstance(node.func, syntax.Attribute):
        name = syntax.unparse(node.func.value).rpartition(".")[2]
        if "scaler" in name.lower():
            return any(f"{name}.update" in place.module.text.text for place in places)
    return calls_elsewhere(m, block, places, "update")
