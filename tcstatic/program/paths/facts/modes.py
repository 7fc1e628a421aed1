"""Train and eval mode: what set it last when a model is trained, or evaluated."""

from __future__ import annotations

import re
from collections.abc import Set
from typing import Final, TypeGuard

from tcstatic.program.paths import parameters
from tcstatic.program.paths.facts.dropouts import class_key, dropping_classes
from tcstatic.program.paths.facts.following import State, follow
from tcstatic.program.paths.facts.orders import innermost, tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.operations import WRAPPERS
from tcstatic.program.paths.operations import is_sensitive as differs_in_eval
from tcstatic.program.paths.project import function_around
from tcstatic.program.paths.tree import Block, Happening, Loop, happenings, loops
from tcstatic.program.paths.values import Const, Node, Object, Unknown, Value
from tcstatic.program.paths.walking import upstream
from tcstatic.program.source import syntax

_MODES: Final = frozenset({"model.train", "model.eval"})
# Functions that evaluate, data that are held back, and answers whose spread is wanted.
_TESTS: Final = re.compile(r"(^|_)(eval|valid|test|accuracy|score|predict)", re.IGNORECASE)
_TEST_DATA: Final = re.compile(r"(^|_)(val|valid|validation|test|eval)(_|$)", re.IGNORECASE)
_SPREAD: Final = re.compile(r"mc|monte|uncertain|sampl|dropout|bayes|spread", re.IGNORECASE)
_GIVES: Final = frozenset({"model.load", "model.freeze"})
_COPIES: Final = frozenset("copy_ set_ data vector_to_parameters running_mean running_var".split())
# What makes layers do the same in both modes: a keyword, its position, and the value.
_OFF: Final = (
    (re.compile(r"Dropout"), "p", 0, 0),
    (re.compile(r"BatchNorm"), "track_running_stats", 4, False),
    (re.compile(r"Transformer(En|De)coderLayer"), "dropout", 3, 0),
    (re.compile(r"^MultiheadAttention"), "dropout", 2, 0),
)
_UNUSED: Final = ("dropped", "ignored")


@surveys
def modes(m: Machine, block: Block) -> None:
    """``left_in_eval`` calls; ``left_in_train`` of forwards that evaluate."""
    every = list(happenings(block))
    numbers = sorted({n for one in every if _trains(one) for n in one.subjects["model"]})
    dropping = dropping_classes(m, block) if numbers else frozenset()
    for number in numbers:
        model = m.objects.get(number)
        if model is None or model.place is None or not is_sensitive(m, model, dropping):
            continue
        _left_in_eval(m, block, number)
        _never_in_train(m, block, model, every)
        _left_in_train(m, block, number, every)


def _trains(one: Happening) -> bool:
    return one.kind == "model.forward" and one.facts.get("stage") == "train" and not one.assumed


def _varies(m: Machine, value: Value, loop: Loop, outputs: Set[int]) -> bool:
    """Whether a value is another one in each round, and not only because it is made from earlier
    outputs: one answer may be asked for many times, and a text is written word by word."""

    def whole(one: Value) -> bool:
        return id(one) not in outputs

    for one in upstream(m, value, whole):
        written = one.place.node if one.place is not None else None
        if one.number <= loop.begun:
            continue
        constant = isinstance(written, syntax.Slice) and _is_set(written)
        if isinstance(one, Unknown) and not constant:
            return True
        taken = isinstance(one, Node) and one.op in ("item", "index", "key") and written is not None
        given = taken and not isinstance(written, syntax.Subscript)
        if given and all(map(whole, upstream(m, one, whole))):
            return True
    return False


def _is_set(node: syntax.AST) -> bool:
    """Whether an expression reads no name."""
    return not any(map(_is_name, syntax.walk(node)))


def _is_training(one: Happening) -> bool:
    return one.kind in ("loss.backward", "optimizer.step")


def is_sensitive(m: Machine, model: Object, dropping: frozenset[tuple[int, str]]) -> bool:
    """Whether a model is known to contain a layer that behaves otherwise in eval mode; `dropping`
    are the classes whose forward has dropout in train mode."""
    return any(
        differs_in_eval(one.type) and not _does_nothing(one)
        if isinstance(one.type, str)
        else class_key(id(one.type.module), one.type.name) in dropping
        for one in parameters.tree(m, model)
    )


def _does_nothing(layer: Object) -> bool:
    """Whether a layer of torch is made so that both modes are one: with a rate of nought, or
    without running statistics."""
    name = layer.type_name
    if name in ("TransformerEncoder", "TransformerDecoder"):
        inner = layer.arguments[0] if layer.arguments else None
        return isinstance(inner, Object) and _does_nothing(inner)
    for kinds, word, position, off in _OFF:
        if kinds.search(name):
            given = layer.keywords.get(word, *layer.arguments[position : position + 1] or [None])
            by_itself = (
                given is None and name == "MultiheadAttention" and "**" not in layer.keywords
            )
            return by_itself or (isinstance(given, Const) and given.value == off)
    return False


def switches(m: Machine, one: Happening, number: int) -> bool:
    """Whether a happening puts a model in train or eval mode, alone or as a part."""
    if one.kind not in _MODES:
        return False
    for subject in one.subjects.get("model", ()):
        known = m.objects.get(subject)
        if known is None:
            continue
        copies = WRAPPERS.get(known.type_name) == "copies"
        parts = (known,) if copies else parameters.tree(m, known)
        if any(part.number == number for part in parts):
            return True
    return False


def makes(one: Happening, number: int) -> bool:
    """Whether a model is made anew, in train mode, as one is for each fold or trial."""
    made = one.kind == "model.new" and not one.values.get("how")
    return made and number in one.subjects.get("model", ())


def _left_in_eval(m: Machine, block: Block, number: int) -> None:
    first: dict[int, State] = {}
    seen_in_train = False
    blamed: dict[int, tuple[Happening, bool]] = {}

    def update(one: Happening, state: State) -> State:
        nonlocal seen_in_train
        if switches(m, one, number):
            return frozenset({None}) if one.values.get("training") is True else frozenset({one})
        if makes(one, number) or (one.wild and number in one.maybe):
            return frozenset({None})
        if not (_trains(one) and number in one.subjects["model"]):
            return state
        before = first.setdefault(id(one), state)
        new = state - before
        for last in new if seen_in_train else ():
            if last is not None and (last.values.get("training") is False):
                certain = state == {last}
                known = blamed.get(id(last))
                blamed[id(last)] = (last, certain or bool(known and known[1]))
        for last in state:
            if last is not None and last.values.get("training") is None and _by_round(m, last):
                blamed[id(last)] = (last, False)
        seen_in_train = seen_in_train or None in state
        return state

    follow(block, update, unset=True)
    for last, certain in blamed.values():
        about = {"model": (number,)}
        tell(block, "left_in_eval", last.place, assumed=not certain, subjects=about)


def _models(one: Happening) -> frozenset[int]:
    return frozenset(one.subjects.get("model", ()))


def _never_in_train(m: Machine, block: Block, model: Object, every: list[Happening]) -> None:
    """``never_in_train`` at the ``eval()`` before the first training of a model that was made here
    from nothing, and is never trained in train mode."""
    parts = {part.number for part in parameters.tree(m, model)}
    known = all(m.cells.get((number, "#tainted")) is None for number in parts)
    trainings = [i for i, one in enumerate(every) if _trains(one) and parts & _models(one)]
    loaded = any(
        (i < trainings[0] and (_writes(one) or (one.kind in _GIVES and parts & _models(one))))
        or (one.wild and parts & one.maybe)
        for i, one in enumerate(every)
    )
    stepped = {
        number
        for one in every
        if one.kind == "optimizer.step"
        for number in one.subjects.get("optimizer", ())
    }
    tokens = parameters.tokens_of_model(m, model)
    if not known or loaded or not stepped & set(parameters.owners(m, tokens)):
        return
    seen: set[Happening | None] = set()

    def update(one: Happening, state: State) -> State:
        if makes(one, model.number):
            return frozenset({None})
        if switches(m, one, model.number):
            return frozenset({one})
        if _trains(one) and model.number in one.subjects["model"]:
            seen.update(state)
        return state

    follow(block, update, unset=True)
    told = [one for one in seen if one is not None and one.values.get("training") is False]
    if told and len(told) == len(seen):
        first = min(told, key=lambda one: one.place.node.lineno)
        tell(block, "never_in_train", first.place, subjects={"model": (model.number,)})


def _writes(one: Happening) -> bool:
    """Whether weights, or statistics, may be written by hand: copied from another model."""
    said = {one.values.get(key) for key in ("of", "attribute", "operation")}
    return bool(said & _COPIES)


def _by_round(m: Machine, one: Happening) -> bool:
    """Whether the mode is a comparison of a loop's counter with a number."""
    mode = one.arguments[0] if one.arguments else None
    if not (isinstance(mode, Node) and mode.op in ("<", "<=", ">", ">=", "==", "!=")):
        return False
    counter = any(_counts(part) for part in mode.inputs)
    return counter and any(isinstance(part, Const) for part in mode.inputs)


def _counts(value: Value) -> bool:
    return (
        isinstance(value, Node)
        and value.op == "item"
        and isinstance(value.inputs[0], Node)
        and value.inputs[0].op == "range"
    )


def _left_in_train(m: Machine, block: Block, number: int, every: list[Happening]) -> None:
    dropped = {id(one.node) for one in every if one.values.get("operation") in _UNUSED}
    dropped |= {id(one.node) for one in every if one.kind == "model.forward" and _is_unread(one)}
    evaluating = _over_data(m, block)
    given = {id(value) for one in every if _trains(one) for value in one.arguments}
    single = {id(one) for one in every if _is_test(block, one, given)}
    before: dict[int, bool] = {}
    trained = False

    def update(one: Happening, state: State) -> State:
        nonlocal trained
        if makes(one, number):
            return frozenset({None})
        if switches(m, one, number) or (one.wild and number in one.maybe):
            return frozenset({one})
        if one.kind != "model.forward" or number not in one.subjects.get("model", ()):
            return state
        trained = trained or _trains(one)
        # A rollout comes before the training that uses it, an evaluation after it.
        after = before.setdefault(id(one), trained)
        # Outside of loops over data, what follows train() at once is meant to run in train mode;
        # within, it may be: the answers may be wanted as they are with dropout, by a loop that
        # compares them with nothing.
        put = None not in state
        meant = put and (id(one) in single or _is_unlabelled(block, one))
        if one.facts.get("stage") == "evaluate" and id(one) in evaluating | single and after:
            if all(map(_is_train, state)) and not meant and id(one.node) not in dropped:
                one.values["left_in_train"] = True
                if put:
                    one.facts["put_in_train"] = True
                    one.inferred.add("put_in_train")
            one.facts.update(sensitive=1, output_dropped=id(one.node) in dropped)
        if _trains(one):
            return frozenset(None if _is_train(last) else last for last in state)
        return state

    follow(block, update)


def _over_data(m: Machine, block: Block) -> set[int]:
    """The forwards in loops over data that do not train; not those that answer one question many
    times, as the name of the function or a loop that does the same again says."""
    found: dict[int, bool] = {}
    for loop, around in loops(block):
        forwards = [one for one in happenings(loop.body) if one.kind == "model.forward"]
        if not forwards or _has_training(loop):
            continue
        again = any(_repeats(one) and not _has_training(one) for one in around)
        outputs = {id(one.node) for one in forwards}
        for one in forwards:
            varies = any(_varies(m, value, loop, outputs) for value in one.arguments)
            found[id(one)] = found.get(id(one), True) and varies and not again
    return {number for number, varies in found.items() if varies}


def _has_training(loop: Loop) -> bool:
    return any(map(_is_training, happenings(loop.body)))


def _is_unread(one: Happening) -> bool:
    """Whether an output is given a name that nothing reads."""
    module, call = one.place.module, one.place.node
    scope = function_around(module.tree, call.lineno) or module.tree
    held: set[str] = set()
    for part in syntax.walk(scope):
        if isinstance(part, syntax.Assign) and part.value is call and len(part.targets) == 1:
            held |= {part.targets[0].id} if _is_name(part.targets[0]) else set()
    return bool(held) and not any(
        _reads(part, name) for part in syntax.walk(scope) for name in held
    )


def _is_unlabelled(block: Block, one: Happening) -> bool:
    """Whether a loop takes pairs, and reads no more of them than it gives to the model."""
    loop = innermost(block, one)
    node = loop.place.node if loop is not None else None
    if not isinstance(node, syntax.For) or not isinstance(node.target, syntax.Tuple):
        return False
    given = {part.id for part in syntax.walk(one.place.node) if _is_name(part)}
    taken = {part.id for part in syntax.walk(node.target) if _is_name(part)} - given
    return bool(taken) and not any(
        _reads(part, name) for part in syntax.walk(node) for name in taken
    )


def _repeats(loop: Loop) -> bool:
    """Whether a loop counts rounds and does not read the count."""
    node = loop.place.node
    heads = getattr(node, "generators", None) or [node]
    return any(
        isinstance(head.iter, syntax.Call)
        and isinstance(head.iter.func, syntax.Name)
        and head.iter.func.id == "range"
        and isinstance(head.target, syntax.Name)
        and not any(_reads(part, head.target.id) for part in syntax.walk(node))
        for head in heads
        if hasattr(head, "iter")
    )


def _reads(node: syntax.AST, name: str) -> bool:
    return _is_name(node) and node.id == name and isinstance(node.ctx, syntax.Load)


def _is_train(last: Happening | None) -> bool:
    """Whether what set the mode last set it to train; at the start it is."""
    return last is None or last.values.get("training") is True


def _is_test(block: Block, one: Happening, given: set[int]) -> bool:
    """Whether a forward without gradients is an evaluation by what the program calls it: it stands
    outside of loops over data, in a function that is named so, or is given data that are; and not
    what was trained on."""
    call = one.place.node
    if one.facts.get("stage") != "evaluate" or not isinstance(call, syntax.Call):
        return False
    function = one.place.function.rpartition(".")[2]
    names = [part.id for value in call.args for part in syntax.walk(value) if _is_name(part)]
    named = _TESTS.search(function) is not None or any(map(_TEST_DATA.search, names))
    if not named or _SPREAD.search(function) or any(id(value) in given for value in one.arguments):
        return False
    loop = innermost(block, one)
    return loop is None or any(map(_is_training, happenings(loop.body)))


def _is_name(node: syntax.AST) -> TypeGuard[syntax.Name]:
    return isinstance(node, syntax.Name)
