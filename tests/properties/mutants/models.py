"""Mutations of models, modes and optimizers: wrong objects and wrong places."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.properties.mutants.drafts import Draft
from tests.properties.mutants.kinds import Kind, Turn, called_names, scope_name, scopes, turns
from tests.properties.mutants.loops import (
    Event,
    File,
    Function,
    Place,
    Scope,
    call_in,
    places_in,
    text_of,
)

SENSITIVE = ("Dropout", "BatchNorm")
WEIGHTLESS = ("Dropout", "ReLU", "GELU", "SiLU", "Tanh", "Sigmoid", "Identity", "Pool", "Flatten")


def _calls(file: File, *names: str) -> Iterator[ast.Call]:
    for node in file.nodes:
        if isinstance(node, ast.Call) and file.called(node) in names:
            yield node


def _scopes(file: File) -> list[Scope]:
    return [file.tree, *file.functions]


def _mode_calls(file: File, kind: str) -> Iterator[tuple[Scope, Place]]:
    for scope in scopes(file):
        for place in places_in(scope.body):
            call = call_in(place.node)
            if (
                call
                and isinstance(call.func, ast.Attribute)
                and call.func.attr == kind
                and not call.args
                and isinstance(place.node, ast.Expr)
            ):
                yield scope, place


def _only_train(file: File) -> Iterator[tuple[File, Place]]:
    """The only train() of a file that trains and evaluates in turn a model with dropout."""
    trains, evals = list(_mode_calls(file, "train")), list(_mode_calls(file, "eval"))
    if len(trains) != 1 or not evals or not _sensitive(file):
        return
    scope, place = trains[0]
    loops = [node for node in file.nodes if isinstance(node, ast.For | ast.While)]
    for loop in loops:
        inside = {id(node) for node in ast.walk(loop)}
        names = called_names(loop)
        if (id(place.node) in inside or scope_name(scope) in names) and any(
            id(e.node) in inside or scope_name(s) in names for s, e in evals
        ):
            yield file, place
            return


def _sensitive(file: File) -> bool:
    return any(f"nn.{word}" in file.text for word in SENSITIVE)


def _drop_train(draft: Draft, site: tuple[File, Place]) -> None:
    file, place = site
    draft.delete(place.node, place.block)
    draft.mark(*(e.node for _, e in _mode_calls(file, "eval")))


def _only_eval(file: File) -> Iterator[tuple[Scope, Place]]:
    evals = list(_mode_calls(file, "eval"))
    trains = list(_mode_calls(file, "train"))
    if len(evals) == 1 and trains and _sensitive(file) and file.regions:
        scope, place = evals[0]
        if not isinstance(scope, ast.Module) and "backward(" not in text_of(scope):
            yield scope, place


def _drop_eval(draft: Draft, site: tuple[Scope, Place]) -> None:
    scope, place = site
    draft.delete(place.node, place.block)
    called = call_in(place.node)
    assert called is not None and isinstance(called.func, ast.Attribute)
    model = text_of(called.func.value)
    for node in ast.walk(scope):
        if isinstance(node, ast.Call) and text_of(node.func) == model:
            draft.mark(node)


def _registered(file: File) -> Iterator[tuple[ast.Assign, ast.Call, list[ast.stmt]]]:
    """ModuleLists of a module: attributes that are only iterated, indexed, appended to."""
    for owner in file.classes:
        text = text_of(owner)
        for function in owner.body:
            if not isinstance(function, Function) or function.name != "__init__":
                continue
            for place in places_in(function.body):
                call, node = call_in(place.node), place.node
                if call is None or file.called(call) != "torch.nn.ModuleList":
                    continue
                if isinstance(node, ast.Assign) and text_of(node.targets[0]).startswith("self."):
                    name = text_of(node.targets[0])
                    rest = text.replace(f"{name}.append", "").replace(f"{name}.extend", "")
                    if f"{name}." not in rest and text_of(node.targets[0]).count(".") == 1:
                        yield node, call, _appends(function, name)


def _appends(function: Function, name: str) -> list[ast.stmt]:
    calls = [(p.node, call_in(p.node)) for p in places_in(function.body)]
    return [n for n, call in calls if call and text_of(call.func) in (f"{name}.append",)]


def _plain_list(draft: Draft, site: tuple[ast.Assign, ast.Call, list[ast.stmt]]) -> None:
    node, call, appends = site
    if call.args and isinstance(call.args[0], ast.List | ast.ListComp):
        draft.replace(call, draft.source(call.args[0]))
    else:
        draft.replace(call, f"list({draft.source(call.args[0])})" if call.args else "[]")
    draft.mark(node, *appends)


def _repeated(file: File) -> Iterator[tuple[ast.ListComp, ast.expr]]:
    for node, call, _ in _registered(file):
        made = call.args[0] if call.args else None
        if isinstance(made, ast.ListComp) and len(made.generators) == 1:
            source, target = made.generators[0].iter, made.generators[0].target
            if isinstance(source, ast.Call) and text_of(source.func) == "range":
                used = {n.id for n in ast.walk(made.elt) if isinstance(n, ast.Name)}
                plain = isinstance(made.elt, ast.Call) and len(source.args) == 1
                # one layer without weights does what several would do
                plain = plain and not any(word in file.called(made.elt) for word in WEIGHTLESS)
                if plain and not made.generators[0].ifs and text_of(target) not in used:
                    del node
                    yield made, source.args[0]


def _share(draft: Draft, site: tuple[ast.ListComp, ast.expr]) -> None:
    made, count = site
    number = draft.source(count)
    number = number if isinstance(count, ast.Name | ast.Attribute | ast.Constant) else f"({number})"
    draft.replace(made, f"[{draft.source(made.elt)}] * {number}")


def _dropouts(file: File) -> Iterator[tuple[ast.Call, ast.keyword]]:
    for call in _calls(file, "F.dropout", "torch.dropout"):
        for keyword in call.keywords:
            if (
                keyword.arg == "training"
                and text_of(keyword.value) == "self.training"
                and len(call.args) + len(call.keywords) > 1
            ):
                yield call, keyword


def _drop_training(draft: Draft, site: tuple[ast.Call, ast.keyword]) -> None:
    call, keyword = site
    given = [draft.source(one) for one in call.args]
    rest = [one for one in call.keywords if one is not keyword]
    given += [f"{one.arg}={draft.source(one.value)}" for one in rest]
    draft.replace(call, f"{draft.source(call.func)}({', '.join(given)})")


def _constructors(file: File) -> Iterator[tuple[Turn, Place, ast.stmt]]:
    """The optimizer of a turn, made in the same scope before the loop, and not used in between."""
    for turn in turns(file):
        made = file.optimizers.get(turn.optimizer)
        loops = turn.step.place.loops
        for place in turn.region.places:
            if place.node is made and loops and loops[0] in place.block and place.plain:
                start, end = place.position, place.block.index(loops[0])
                between = place.block[start + 1 : end]
                if not any(turn.optimizer in text_of(one) for one in between):
                    yield turn, place, loops[-1]


def _rebuild(draft: Draft, site: tuple[Turn, Place, ast.stmt]) -> None:
    _, place, loop = site
    assert isinstance(loop, ast.For | ast.While)
    draft.move_before(place.node, place.block, loop.body[0])


def _copy_after(draft: Draft, site: tuple[Turn, Place, ast.stmt]) -> None:
    turn, place, _ = site
    call = call_in(place.node)
    assert call is not None and isinstance(call.args[0], ast.Call)
    model = text_of(call.args[0].func).removesuffix(".parameters")
    indent = draft.indent(place.node)
    draft.insert_after(place.node, f"{indent}{model} = copy.deepcopy({model})\n")
    draft.mark(place.node, turn.step.node)


def _copied(file: File) -> Iterator[tuple[Turn, Place, ast.stmt]]:
    for turn, place, loop in _constructors(file):
        call = call_in(place.node)
        if (
            "copy" in file.imports
            and call
            and call.args
            and text_of(call.args[0]).endswith(".parameters()")
        ):
            yield turn, place, loop


def _heads(file: File) -> Iterator[tuple[Place, Place]]:
    """A head that is replaced before the optimizer is made in the same block."""
    for scope in scopes(file):
        places = list(places_in(scope.body))
        for place in places:
            node = place.node
            if not isinstance(node, ast.Assign) or node not in file.optimizers.values():
                continue
            for head in places:
                value = head.node.value if isinstance(head.node, ast.Assign) else None
                if (
                    head.block is place.block
                    and head.position < place.position
                    and file.called(value) == "torch.nn.Linear"
                    and _is_head(head.node, node)
                ):
                    yield place, head


def _is_head(head: ast.stmt, made: ast.Assign) -> bool:
    assert isinstance(head, ast.Assign)
    target = head.targets[0]
    if not isinstance(target, ast.Attribute) or not isinstance(target.value, ast.Name):
        return False
    return target.value.id != "self" and f"{target.value.id}.parameters()" in text_of(made)


def _optimizer_before_head(draft: Draft, site: tuple[Place, Place]) -> None:
    made, head = site
    draft.move_before(made.node, made.block, head.node)
    draft.mark(head.node)


def _inner(file: File) -> Iterator[ast.expr]:
    wrapped = file.made.get("wrapper", {})
    for region in file.regions:
        own = [place.node for place in region.places if not place.around]
        for place in region.places:
            call = call_in(place.node)
            if call and wrapped.get(text_of(call.func)) in own and place.loops:
                yield call.func


def _bypass(draft: Draft, function: ast.expr) -> None:
    draft.replace(function, f"{draft.source(function)}.module")


def _frozen(file: File) -> Iterator[ast.Attribute]:
    for node in file.nodes:
        if isinstance(node, ast.Assign) and text_of(node.value) == "False":
            target = node.targets[0]
            if isinstance(target, ast.Attribute) and target.attr == "requires_grad":
                yield target


def _typo(draft: Draft, target: ast.Attribute) -> None:
    draft.replace(target, f"{draft.source(target.value)}.require_grad")


def _generators(file: File) -> Iterator[tuple[Turn, Place, Event]]:
    for turn, place, _ in _constructors(file):
        clips, call = turn.region.of("clip"), call_in(place.node)
        if call and call.args and len(clips) == 1 and clips[0].call.args:
            given = text_of(call.args[0])
            if given.endswith(".parameters()") and text_of(clips[0].call.args[0]) == given:
                yield turn, place, clips[0]


def _exhaust(draft: Draft, site: tuple[Turn, Place, Event]) -> None:
    _, place, clip = site
    call = call_in(place.node)
    assert call is not None
    draft.insert_before(
        place.node, f"{draft.indent(place.node)}params = {draft.source(call.args[0])}\n"
    )
    draft.replace(call.args[0], "params")
    draft.replace(clip.call.args[0], "params")


KINDS = (
    Kind("drop-train-mode", "301", _only_train, _drop_train),
    Kind("drop-eval-mode", "302", _only_eval, _drop_eval),
    Kind("module-list-to-list", "207", _registered, _plain_list),
    Kind("layer-times-n", "209", _repeated, _share),
    Kind("dropout-without-training", "303", _dropouts, _drop_training),
    Kind("optimizer-in-loop", "125", _constructors, _rebuild),
    Kind("copy-after-optimizer", "201", _copied, _copy_after),
    Kind("optimizer-before-head", "201 202", _heads, _optimizer_before_head),
    Kind("wrapper-bypassed", "206", _inner, _bypass),
    Kind("require-grad-typo", "127", _frozen, _typo),
    Kind("parameters-twice", "126", _generators, _exhaust),
)
