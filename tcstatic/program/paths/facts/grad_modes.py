"""Forwards of trained models that record no gradients, and who switched them off."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from tcstatic.program.paths.facts.following import State, follow
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.operations import CUTS
from tcstatic.program.paths.parameters import owners, tokens_of_model
from tcstatic.program.paths.tree import Block, Happening, happenings
from tcstatic.program.paths.values import Const, Listing, Node, Object, Phi, Place, Unknown, Value
from tcstatic.program.paths.walking import Reach, Token, upstream

# Values that may be the outputs of models.
_UNTOLD: Final = frozenset({"attribute", "starred"})
_REGIONS: Final = frozenset(
    "enable_grad grad_on no_grad inference_mode grad_off grad_unknown unknown".split()
)

# What changes weights in place, or puts others in their stead: those of a slow copy.
_WRITES: Final = re.compile(
    r"\.(copy_|mul_|lerp_|set_|swap_tensors|index_add_|index_copy_|scatter_|scatter_add_)\(|"
    r"\.load_state_dict\(\s*[\w.]+\.state_dict\(\)|\.data\b[^\n=#]*[^=!<>\n#]=[^=]|_foreach_"
)


@surveys
def switched_off(m: Machine, block: Block) -> None:
    """Emit a ``call`` where gradients are switched off: ``grad_region_of`` a model that is
    trained (a region), ``grad_left_off`` (a statement)."""
    every = list(happenings(block))
    trained, reached, unrecorded = _training(m, every)
    frozen = _frozen(m, every)
    _statements(block, every, trained)
    for node in unrecorded:
        held = node.keywords.get("#tokens")
        tokens = held.value if isinstance(held, Const) else frozenset()
        place = node.keywords.get("#off")
        if not tokens or not tokens <= trained or tokens & (reached | frozen):
            continue
        if isinstance(node.subject, Object) and written_by_hand(node.subject):
            continue
        if isinstance(place, Const) and isinstance(place.value, Place):
            _tell_region(m, block, place.value, node)


def written_by_hand(model: Object) -> bool:
    """Whether weights may be written by hand in the module that makes a model: they need no
    gradients then, as those of a copy that follows another model."""
    return model.place is not None and bool(_WRITES.search(model.place.module.text.text))


def _frozen(m: Machine, every: list[Happening]) -> frozenset[Token]:
    """The parameters of models whose requires_grad somebody sets."""
    found: frozenset[Token] = frozenset()
    for one in every:
        if one.kind == "model.freeze":
            for number in one.subjects.get("model", ()):
                known = m.objects.get(number)
                found |= tokens_of_model(m, known) if known is not None else frozenset()
    return found


def _tell_region(m: Machine, block: Block, place: Place, node: Node) -> None:
    subjects = {"optimizer": owners(m, _tokens(node))}
    if node.subject is not None:
        subjects["model"] = (node.subject.number,)
    tell(block, "grad_region", place, says="off", subjects=subjects)


def _training(
    m: Machine, every: list[Happening]
) -> tuple[frozenset[Token], frozenset[Token], list[Node]]:
    """The parameters of optimizers that step, those that some backward reaches, and the forwards
    that a loss with other parameters in it contains, and that recorded nothing."""
    stepped = {
        n for one in every if one.kind == "optimizer.step" for n in one.subjects["optimizer"]
    }
    trained: frozenset[Token] = frozenset()
    for number in stepped:
        held = m.cells.get((number, "#tokens"))
        trained |= held.value if isinstance(held, Const) else frozenset()
    reached: set[Token] = set()
    unrecorded: list[Node] = []
    for one in every:
        if one.kind == "loss.backward":
            live, cut, unknown = recorded(m, one.arguments[0])
            reached |= live
            if unknown:
                return trained, trained, []
            unrecorded += cut if live else []
    return trained, frozenset(reached), unrecorded


def recorded(m: Machine, loss: Value) -> tuple[frozenset[Token], list[Node], bool]:
    """The parameters that a backward reaches, layer by layer; the forwards that it does not get
    behind, because they recorded nothing; whether something on the way is not known."""
    live: set[Token] = set()
    cut: list[Node] = []
    unknown = False

    def through(value: Value) -> bool:
        return not (isinstance(value, Node) and (value.op in CUTS or "#grad" in value.keywords))

    for one in upstream(m, loss, through):
        if not isinstance(one, Node):
            unknown = unknown or (isinstance(one, Unknown) and one.origin in _UNTOLD)
            continue
        if one.op == "forward":
            if "#grad" in one.keywords:
                cut.append(one)
            elif not is_opened(one):
                live |= _tokens(one)
        elif one.op == "parameter":
            live |= _tokens(one)
            unknown = unknown or not _tokens(one)
        elif one.op in ("parameters", "item") and one.subject is not None:
            live |= _tokens(one)
        unknown = unknown or one.op.startswith("call")
    return frozenset(live), cut, unknown


def is_opened(node: Node) -> bool:
    """Whether what a model did is known: its output is made of the outputs of its parts."""
    inner = node.inputs[0] if node.inputs else None
    return (
        isinstance(node.subject, Object)
        and isinstance(inner, Node | Listing | Phi)
        and not (isinstance(inner, Node) and inner.subject is node.subject)
    )


def _statements(block: Block, every: list[Happening], trained: frozenset[Token]) -> None:
    if not any(one.values.get("operation") == "set_grad_enabled" for one in every):
        return
    mine: set[int] = set()
    for one in every:
        found = one.values.get("#reach") if one.kind == "loss.backward" else None
        if isinstance(found, Reach):
            mine |= {n.number for n in found.forwards}
            mine |= {n.number for n in found.cuts if n.op == "forward"}
    forwards = frozenset(
        one.node.number
        for one in every
        if one.kind == "model.forward" and one.node is not None and one.node.number in mine
        if _tokens(one.node) and _tokens(one.node) <= trained
    )
    blamed: dict[int, Happening] = {}

    def update(one: Happening, state: State) -> State:
        if one.values.get("operation") == "set_grad_enabled":
            return _after_statement(one)
        if one.kind == "model.forward" and one.node is not None and one.node.number in forwards:
            regions = set(one.values.get("regions", ()))
            last = next(iter(state))
            if len(state) == 1 and last is not None and not regions & _REGIONS:
                blamed[id(last)] = last
        return state

    follow(block, update)
    subjects = {"optimizer": tuple(sorted(set(_stepped(every))))}
    for one in blamed.values():
        tell(block, "grad_left", one.place, says="off", subjects=subjects)


def _after_statement(one: Happening) -> State:
    value = one.arguments[0] if one.arguments else None
    if isinstance(value, Const) and value.value is False:
        return frozenset({one})
    known = isinstance(value, Const) and value.value is True
    return frozenset({None}) if known else frozenset({None, one})


def _stepped(every: list[Happening]) -> Iterator[int]:
    for one in every:
        if one.kind in ("optimizer.step", "loss.backward"):
            yield from one.subjects.get("optimizer", ())


def _tokens(node: Node) -> frozenset[Token]:
    held = node.keywords.get("#tokens")
    return held.value if isinstance(held, Const) else frozenset()
