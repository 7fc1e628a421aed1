"""States and models that are kept by reference while training goes on, and resuming by halves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from tcstatic.program.paths import parameters, wording
from tcstatic.program.paths.facts.grad_modes import written_by_hand
from tcstatic.program.paths.facts.membership import is_fresh
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import Module, definitions_around, statements_in
from tcstatic.program.paths.tree import Block, Branch, Called, Exit, Happening, Loop, happenings
from tcstatic.program.paths.values import Const, Listing, Node, Object, Phi, Place, Value
from tcstatic.program.paths.walking import listed, upstream
from tcstatic.program.source import syntax

# Operations that give the same tensors again.
_ALIASING: Final = frozenset(
    """item items method:items method:copy copy dict OrderedDict collections.OrderedDict attr:data
    detach method:values list""".split()
)
_BEST: Final = re.compile(r"(^|_)best($|_)|best_?(model|net|policy|encoder)", re.IGNORECASE)
_PROGRESS: Final = re.compile(r"epoch|step|iter", re.IGNORECASE)
_SHOWS: Final = frozenset("print info debug warning log write secho echo".split())
_STATELESS: Final = frozenset({"SGD"})


@surveys
def kept(m: Machine, block: Block) -> None:
    """``stale_state`` and ``stale_model`` of what is kept by reference."""
    every = list(happenings(block))
    if not any(one.kind == "optimizer.step" for one in every):
        return
    where = {id(one): index for index, one in enumerate(every)}
    inside = dict(_loops(block, ()))
    steps = [one for one in every if one.kind == "optimizer.step"]
    for one in every:
        if one.kind in ("model.load", "model.save"):
            for state in _states(m, one):
                made = next((e for e in every if e.node is state), None)
                if made is not None:
                    stale = _stepped(m, made, one, steps, where, inside)
                    tell(block, "stale_state", made.place, says=stale, subjects=made.subjects)
        elif one.values.get("operation") == "alias" and _BEST.search(str(one.values.get("name"))):
            _alias(m, block, one, steps, where, inside)


@surveys
def kept_between_calls(m: Machine, block: Block) -> None:
    """States that one method keeps as the best, and that another loads into the same model: what a
    callback does, which never sees the training between."""
    for one in list(happenings(block)):
        call = one.place.node
        if one.kind != "model.load" or not isinstance(call, syntax.Call):
            continue
        given = call.args[0] if call.args else None
        method = call.func.value if isinstance(call.func, syntax.Attribute) else None
        if method is None or not _is_best(given):
            continue
        for where, state in _kept_by_others(one.place, given):
            if syntax.unparse(state.func) == f"{syntax.unparse(method)}.state_dict":
                place = Place(one.place.module, state, where)
                tell(block, "stale_state", place, assumed=True, subjects=one.subjects)


def _is_best(node: syntax.AST | None) -> bool:
    """Whether an expression is ``self.best...``."""
    return (
        isinstance(node, syntax.Attribute)
        and isinstance(node.value, syntax.Name)
        and _BEST.search(node.attr) is not None
    )


def _kept_by_others(place: Place, given: syntax.AST | None) -> Iterator[tuple[str, syntax.Call]]:
    """The calls whose results other methods of the class around put into an attribute, each with
    its method's name."""
    line, text = place.node.lineno, syntax.unparse(given) if given is not None else ""
    owner = next(
        (
            node
            for node in definitions_around(place.module.tree, line)
            if isinstance(node, syntax.ClassDef)
        ),
        None,
    )
    for method in owner.body if owner is not None else ():
        if not isinstance(method, syntax.FunctionDef):
            continue
        if owner is None or method.lineno <= line <= (method.end_lineno or line):
            continue
        for node in syntax.walk(method):
            if not isinstance(node, syntax.Assign) or not isinstance(node.value, syntax.Call):
                continue
            if text in [syntax.unparse(target) for target in node.targets]:
                yield f"{owner.name}.{method.name}", node.value


def _loops(block: Block, around: tuple[Loop, ...]) -> Iterator[tuple[int, tuple[Loop, ...]]]:
    """The loops around each happening, outermost first."""
    for step in block.steps:
        if isinstance(step, Happening):
            yield id(step), around
        elif isinstance(step, Branch):
            for alternative in step.alternatives:
                yield from _loops(alternative, around)
        elif isinstance(step, Loop):
            yield from _loops(step.body, (*around, step))
        elif isinstance(step, Called):
            yield from _loops(step.body, around)


def _states(m: Machine, one: Happening) -> list[Node]:
    """The ``state_dict()`` whose tensors themselves are loaded or saved."""
    waiting: list[Value] = list(one.arguments[:1])
    seen: set[int] = set()
    found: list[Node] = []
    copied: set[int] = set()
    while waiting and len(seen) < 400:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Node) and value.op == "state_dict":
            found.append(value)
        elif isinstance(value, Phi | Listing):
            among = list(listed(m, value))
            copied.update(_copied(m, among))
            waiting.extend(among)
        elif isinstance(value, Node) and value.op in _ALIASING:
            waiting.extend(value.inputs[:1])
    return [one for one in found if id(one) not in copied]


def _copied(m: Machine, among: list[Value]) -> Iterator[int]:
    """The states that are copied where they hold tensors, ``v.clone() if is_tensor(v) else v``."""
    for option in among:
        if isinstance(option, Node) and option.op not in ("state_dict", *_ALIASING):
            for one in upstream(m, option, lambda _: True):
                if isinstance(one, Node) and one.op == "state_dict":
                    yield id(one)


def _trains(m: Machine, number: int, step: Happening) -> bool:
    """Whether an optimizer's step writes into a model's parameters."""
    model = m.objects.get(number)
    mine = parameters.tokens_of_model(m, model) if model is not None else frozenset({(number, 0)})
    for optimizer in step.subjects.get("optimizer", ()):
        held = m.cells.get((optimizer, "#tokens"))
        if isinstance(held, Const) and held.value & mine:
            return True
    return False


def _stepped(
    m: Machine,
    made: Happening,
    used: Happening,
    steps: list[Happening],
    where: dict[int, int],
    inside: dict[int, tuple[Loop, ...]],
) -> bool:
    """Whether a step lies between the keeping of a state and its use, on the way back too."""
    models = made.subjects.get("model", ())
    mine = [step for step in steps if any(_trains(m, number, step) for number in models)]
    first, last = where[id(made)], where[id(used)]
    if any(first < where[id(step)] < last for step in mine):
        return True
    around = [
        loop
        for loop in inside.get(id(made), ())
        if loop not in inside.get(id(used), ()) and all(number < loop.begun for number in models)
    ]
    return first < last and any(
        loop in inside.get(id(step), ()) for loop in around for step in mine
    )


def _alias(
    m: Machine,
    block: Block,
    one: Happening,
    steps: list[Happening],
    where: dict[int, int],
    inside: dict[int, tuple[Loop, ...]],
) -> None:
    """A further name for a model that a loop around goes on to train."""
    number = one.subjects["model"][0]
    around = [loop for loop in inside.get(id(one), ()) if number < loop.begun]
    mine = [step for step in steps if _trains(m, number, step)]
    trained = any(loop in inside.get(id(step), ()) for loop in around for step in mine)
    stale = bool(around) and trained and not _leaves(around[-1].body, one)
    tell(block, "stale_model", one.place, says=stale, subjects=one.subjects)


def _leaves(block: Block, one: Happening) -> bool:
    """Whether the path leaves the loop right behind a happening."""
    for index, step in enumerate(block.steps):
        if step is one:
            return any(isinstance(later, Exit) for later in block.steps[index:])
        inner = step.alternatives if isinstance(step, Branch) else []
        inner = [step.body] if isinstance(step, Called) else inner
        if any(_leaves(part, one) for part in inner):
            return True
    return False


@surveys
def resuming(m: Machine, block: Block) -> None:
    """``half_resumed``: a checkpoint gives the model and the epoch, and not the optimizer."""
    every = list(happenings(block))
    where = {id(one): index for index, one in enumerate(every)}
    loads = [one for one in every if one.values.get("path") == "torch.load"]
    if not loads:
        return
    for load in loads:
        checkpoint = load.result
        if not isinstance(checkpoint, Node) or not _tells_progress(m, checkpoint):
            continue
        if any(
            (one.kind == "optimizer.load" and _is_of(m, one, checkpoint))
            or (one.wild and _optimizers(m) & one.maybe and where[id(one)] > where[id(load)])
            for one in every
        ):
            continue
        for one in every:
            if one.kind == "model.load" and _is_of(m, one, checkpoint):
                later = [
                    step
                    for step in every[where[id(one)] :]
                    if step.kind == "optimizer.step" and _has_state(m, step)
                ]
                if any(_trains(m, n, s) for n in one.subjects.get("model", ()) for s in later):
                    one.values["half_resumed"] = True
                    one.subjects["optimizer"] = later[0].subjects["optimizer"]


@surveys
def resuming_alone(m: Machine, block: Block) -> None:
    """``resumed_alone``: a checkpoint gives the optimizer its state, and the weights that it steps
    are those that the model was made with."""
    every = list(happenings(block))
    for load in every:
        checkpoint = load.result
        if load.values.get("path") != "torch.load" or not isinstance(checkpoint, Node):
            continue
        after = every[every.index(load) + 1 :]
        if any(one.wild or one.kind == "model.load" for one in after):
            continue
        for one in after:
            if one.kind == "optimizer.load" and _is_of(m, one, checkpoint):
                _tell_alone(m, one, after[after.index(one) :], _loaded(m, every))


def _loaded(m: Machine, every: list[Happening]) -> set[int]:
    """The models, and parts of models, that a state was loaded into at some time."""
    found: set[int] = set()
    for one in every:
        for number in one.subjects.get("model", ()) if one.kind == "model.load" else ():
            known = m.objects.get(number)
            found |= {number} if known is None else {p.number for p in parameters.tree(m, known)}
    return found


def _tell_alone(m: Machine, one: Happening, after: list[Happening], loaded: set[int]) -> None:
    """Judge an optimizer that a checkpoint gives its state, by the steps that come `after`."""
    mine = set(one.subjects.get("optimizer", ()))
    steps = [
        step
        for step in after
        if step.kind == "optimizer.step" and mine & set(step.subjects.get("optimizer", ()))
    ]
    models = [
        model
        for number, model in m.objects.items()
        if model.role == "model" and any(_trains(m, number, step) for step in steps)
    ]
    fresh = all(is_fresh(m, model) and not written_by_hand(model) for model in models)
    parts = {part.number for model in models for part in parameters.tree(m, model)}
    if steps and models and fresh and not parts & loaded:
        one.values["resumed_alone"] = True
        one.subjects["model"] = (models[-1].number,)


def _optimizers(m: Machine) -> frozenset[int]:
    return frozenset(number for number, one in m.objects.items() if one.role == "optimizer")


def _tells_progress(m: Machine, checkpoint: Node) -> bool:
    """Whether the program reads the epoch or the step out of a checkpoint, and not only to show
    it."""
    keys = [text for number, text in m.lazy if number == checkpoint.number]
    keys = [text for text in keys if text.startswith("[") and _PROGRESS.search(text)]
    module = checkpoint.place.module if checkpoint.place is not None else None
    shown = wording.once(module, _only_shown) if module is not None else frozenset()
    return any(text not in shown for text in keys)


def _only_shown(module: Module) -> frozenset[str]:
    """The keys that are read in calls that show something, and nowhere else."""
    seen: dict[bool, set[str]] = {True: set(), False: set()}
    for statement in statements_in(module.tree):
        shows = isinstance(statement, syntax.Expr) and wording.called(statement.value) in _SHOWS
        for node in wording.expressions(statement):
            if isinstance(node, syntax.Subscript) and isinstance(node.ctx, syntax.Load):
                seen[shows].add(f"[{syntax.unparse(node.slice)}]")
            elif wording.called(node) in ("get", "pop") and isinstance(node, syntax.Call):
                seen[shows].update(f"[{syntax.unparse(one)}]" for one in node.args[:1])
    return frozenset(seen[True] - seen[False])


def _is_of(m: Machine, one: Happening, checkpoint: Value) -> bool:
    return any(
        value is checkpoint
        for argument in one.arguments[:1]
        for value in upstream(m, argument, lambda _: True)
    )


def _has_state(m: Machine, step: Happening) -> bool:
    """Whether the optimizers of a step are known, and keep more than the parameters."""
    found = [m.objects.get(number) for number in step.subjects.get("optimizer", ())]
    return bool(found) and all(one is not None and _keeps(one) for one in found)


def _keeps(one: Object) -> bool:
    if one.type_name not in _STATELESS:
        return one.role == "optimizer" and isinstance(one.type, str)
    momentum = one.keywords.get("momentum")
    return momentum is not None and not (isinstance(momentum, Const) and not momentum.value)
