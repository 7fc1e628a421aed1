"""Faults in who trains what: wrong models and parameters, copies and aliases, frozen parts."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.properties.faults.reading import (
    Edits,
    Source,
    dropped,
    last_name,
    neighbours,
    operator,
)
from tests.properties.mutants.loops import call_in, text_of


def _given(source: Source) -> Iterator[tuple[ast.Assign, ast.Call, str]]:
    """Yield an optimizer's making, the call `m.parameters()` that it is given, and `m`."""
    for _, _, node in source.optimizers:
        assert isinstance(node.value, ast.Call)
        for argument in node.value.args[:1]:
            if isinstance(argument, ast.Call) and last_name(argument.func) == "parameters":
                assert isinstance(argument.func, ast.Attribute)
                yield node, argument, text_of(argument.func.value)


@operator("wrong object")
def _optimizer_of_other_model(source: Source) -> Edits:
    """The optimizer of one model is given the parameters of another, so the one stays as it is."""
    names = {text_of(node.targets[0]) for _, _, node in source.models}
    for node, argument, model in _given(source):
        for other in sorted(names - {model})[:1]:
            made = [one for _, _, one in source.models if text_of(one.targets[0]) == other]
            if model in names and made[0].lineno < node.lineno:
                draft = source.draft()
                draft.replace(argument, f"{other}.parameters()")
                yield draft


@operator("wrong object")
def _optimizer_takes_other_model_too(source: Source) -> Edits:
    """The parameters of one model are in two optimizers, and both step them."""
    pairs = [
        (text_of(made.targets[0]), argument, model) for made, argument, model in _given(source)
    ]
    for name, argument, model in pairs:
        for other_name, _, other in pairs:
            stepped = {act.subject for act in source.of("step")}
            if name != other_name and model != other and {name, other_name} <= stepped:
                draft = source.draft()
                draft.replace(argument, f"[*{model}.parameters(), *{other}.parameters()]")
                yield draft


@operator("drop")
def _optimizer_of_a_part(source: Source) -> Edits:
    """The rest of the model has gradients, which nobody applies or clears."""
    classes = {}
    for _, _, node in source.models:
        classes[text_of(node.targets[0])] = source.file.called(node.value)
    for _, argument, model in _given(source):
        name = classes.get(model) or classes.get(model.removeprefix("self."), "")
        if name in source.module_classes:
            layers = sorted(source.layers(source.module_classes[name]))
            for layer in layers[-1:] if len(layers) > 1 else []:
                draft = source.draft()
                draft.replace(argument, f"{model}{layer.removeprefix('self')}.parameters()")
                yield draft
        elif name == "torch.nn.Sequential":
            draft = source.draft()
            draft.replace(argument, f"{model}[0].parameters()")
            yield draft


@operator("drop")
def _drop_parameters(source: Source) -> Edits:
    """A part that is trained with the others is missing from the optimizer's list."""
    for node in source.file.nodes:
        if isinstance(node, ast.List) and len(node.elts) > 1:
            unpacked = all(
                isinstance(one, ast.Starred) and text_of(one).endswith("parameters()")
                for one in node.elts
            )
            groups = all(isinstance(one, ast.Dict) for one in node.elts)
            if unpacked or (groups and "'params'" in text_of(node)):
                for one in node.elts:
                    rest = [text_of(other) for other in node.elts if other is not one]
                    draft = source.draft()
                    draft.replace(node, f"[{', '.join(rest)}]")
                    made = [made for _, _, made in source.optimizers if node in ast.walk(made)]
                    draft.mark(*made)
                    yield draft


@operator("wrong object")
def _no_rate(source: Source) -> Edits:
    """With a rate of zero the optimizer changes nothing."""
    for _, _, node in source.optimizers:
        assert isinstance(node.value, ast.Call)
        for keyword in node.value.keywords:
            if keyword.arg == "lr":
                draft = source.draft()
                draft.replace(keyword.value, "0.0")
                draft.mark(node)
                yield draft


@operator("duplicate")
def _model_made_again(source: Source) -> Edits:
    """The optimizer holds the parameters of a model that nobody uses any more."""
    for node, _, model in _given(source):
        for scope, place, made in source.models:
            if text_of(made.targets[0]) == model:
                own = [p for s, p in source.places if p.node is node and s is scope]
                if own and own[0].block is place.block and made.lineno < node.lineno:
                    draft = source.draft()
                    draft.insert_after(node, draft.rows(made, draft.indent(node)))
                    draft.mark(node)
                    yield draft


@operator("alias")
def _other_model_is_the_same(source: Source) -> Edits:
    """A second model that should start as a copy of the first is the first itself."""
    for load in source.of("load"):
        given = text_of(load.call.args[0])
        first = given.removesuffix(".state_dict()")
        for _, _, node in source.models:
            if text_of(node.targets[0]) == load.subject and given.endswith(".state_dict()"):
                draft = source.draft()
                draft.replace(node.value, first)
                draft.mark(load.node)
                yield draft


@operator("alias")
def _kept_by_reference(source: Source) -> Edits:
    """What is kept as the best so far goes on training."""
    for call in source.calls("deepcopy"):
        draft = source.draft()
        draft.replace(call, draft.source(call.args[0]))
        yield draft


@operator("alias")
def _tied_by_data(source: Source) -> Edits:
    """Two parameters share one memory, and the optimizer updates it twice, from half a gradient."""
    for _, _, node in source.assignments:
        target, value = text_of(node.targets[0]), text_of(node.value)
        if target.endswith(".weight") and value.endswith(".weight"):
            draft = source.draft()
            draft.replace(node.targets[0], f"{target}.data")
            draft.replace(node.value, f"{value}.data")
            yield draft


@operator("freeze")
def _freeze_a_part(source: Source) -> Edits:
    """Part of a model that the optimizer is given, and that nothing was loaded into, is frozen."""
    for _, _, node in source.models:
        name, model = source.file.called(node.value), text_of(node.targets[0])
        if not any(model == given for _, _, given in _given(source)):
            continue
        if any(model == load.subject for load in source.of("load")):
            continue
        part = ""
        if name in source.module_classes:
            layers = sorted(source.layers(source.module_classes[name]))
            part = layers[0].removeprefix("self") if len(layers) > 1 else ""
        elif name == "torch.nn.Sequential":
            part = "[0]"
        if part:
            draft = source.draft()
            text = f"{draft.indent(node)}{model}{part}.requires_grad_(False)\n"
            draft.insert_after(node, text)
            draft.mark(node)
            yield draft


@operator("swap")
def _optimizer_before_replacement(source: Source) -> Edits:
    """A part is replaced after the optimizer was made: the new one is in no optimizer."""
    for node, _, model in _given(source):
        own = [place for _, place in source.places if place.node is node]
        for _, place, other in source.assignments:
            target = other.targets[0]
            inside = isinstance(target, ast.Attribute) and isinstance(other.value, ast.Call)
            if inside and text_of(target.value) in (model, model.rsplit(".", 1)[0]):
                together = place.block is own[0].block and other.lineno < node.lineno
                if together and source.file.called(other.value).startswith("torch.nn."):
                    if text_of(target) in text_of(node):
                        continue
                    draft = source.draft()
                    draft.move_before(node, place.block, other)
                    draft.mark(other)
                    yield draft


@operator("duplicate")
def _layer_made_in_forward(source: Source) -> Edits:
    """A layer with new random weights at each call, which no optimizer knows."""
    for one, forward in source.forwards:
        layers = source.layers(one)
        for node in ast.walk(forward):
            if isinstance(node, ast.Call) and text_of(node.func) in layers:
                made = layers[text_of(node.func)]
                linear = source.file.called(made) in ("torch.nn.Linear", "torch.nn.Conv2d")
                if linear and _known_everywhere(source, made):
                    draft = source.draft()
                    draft.replace(node.func, text_of(made))
                    yield draft


@operator("duplicate")
def _layer_replaced_in_forward(source: Source) -> Edits:
    """A layer is made anew at each call: what the optimizer trains is used no more."""
    for one, forward in source.forwards:
        first = forward.body[0]
        for name, made in sorted(source.layers(one).items())[:1]:
            linear = source.file.called(made) in ("torch.nn.Linear", "torch.nn.Conv2d")
            if linear and _known_everywhere(source, made):
                draft = source.draft()
                text = f"{draft.indent(first)}{name} = {text_of(made)}\n"
                draft.insert_before(first, text)
                yield draft


def _known_everywhere(source: Source, made: ast.Call) -> bool:
    """Whether the arguments of a layer mean the same in forward as where it is made."""
    constants = {
        text_of(node.targets[0])
        for _, place, node in source.assignments
        if not place.around and place.block is source.file.tree.body
    }
    names = {n.id for n in ast.walk(made) if isinstance(n, ast.Name)} - set(source.file.imports)
    return names <= constants


@operator("wrong object")
def _tensor_for_parameter(source: Source) -> Edits:
    """A weight that is no parameter gets a gradient, and no optimizer ever sees it."""
    for call in source.calls("Parameter"):
        draft = source.draft()
        draft.replace(call, f"{draft.source(call.args[0])}.requires_grad_()")
        yield draft


@operator("drop")
def _drop_target_update(source: Source) -> Edits:
    """A network that should follow another one stays as it was at the start."""
    for _, place in source.places:
        call = call_in(place.node)
        if call is None or not place.loops:
            continue
        name = last_name(call.func)
        if name in ("update_parameters", "update_teacher") or (
            name == "load_state_dict" and "target" in text_of(call.func)
        ):
            yield dropped(source, place)


@operator("drop")
def _drop_update_bn(source: Source) -> Edits:
    """Averaged weights are evaluated with the statistics of a network that was never run."""
    for _, place in source.places:
        call = call_in(place.node)
        if call is not None and last_name(call.func) == "update_bn":
            model = text_of(call.args[1])
            made = [n for _, _, n in source.assignments if text_of(n.targets[0]) == model]
            yield dropped(source, place, *made)


@operator("drop")
def _drop_resumed_state(source: Source) -> Edits:
    """A checkpoint holds a state that is not put back where training goes on."""
    for act in source.of("load"):
        assigned = [
            node
            for scope, _, node in source.assignments
            if scope is act.scope and source.file.called(node.value) == "torch.load"
        ]
        if assigned:
            yield dropped(source, act.place, *assigned)


@operator("swap")
def _update_rebinds_name(source: Source) -> Edits:
    """The new value goes to a name of the loop; the parameter keeps the old one."""
    for _, place in source.places:
        node, call = place.node, call_in(place.node)
        if isinstance(node, ast.Expr) and call is not None and place.loops:
            text, loop = text_of(call), place.loops[-1]
            name = text.split(".")[0]
            bound = isinstance(loop, ast.For) and name in text_of(loop.target)
            if bound and "_(" in text and "requires_grad" not in text:
                draft = source.draft()
                draft.replace(node, f"{name} = {draft.source(node.value).replace('_(', '(')}")
                yield draft


@operator("swap")
def _change_of_a_copy(source: Source) -> Edits:
    """The method that returns a changed copy in place of the one that changes the tensor."""
    for _, place in source.places:
        node, call = place.node, call_in(place.node)
        if not isinstance(node, ast.Expr) or call is None:
            continue
        if last_name(call.func) in ("add_", "clamp_", "mul_"):
            draft = source.draft()
            draft.replace(call.func, draft.source(call.func).removesuffix("_"))
            yield draft


@operator("wrong object")
def _mode_of_other_model(source: Source) -> Edits:
    """Another model is put into evaluation or training mode than the one that is used."""
    names = {text_of(node.targets[0]) for _, _, node in source.models}
    for act in source.of("train", "eval"):
        others = sorted(names - {act.subject})
        if act.subject in names and others and isinstance(act.call.func, ast.Attribute):
            scopes = {s for s, _, n in source.models if text_of(n.targets[0]) in names}
            if len(scopes) == 1:
                draft = source.draft()
                draft.replace(act.call.func.value, others[0])
                draft.mark(*neighbours(act.place))
                undone = source.of("eval" if act.kind == "train" else "train")
                draft.mark(*(one.node for one in undone if one.subject == act.subject))
                for node in ast.walk(act.scope):
                    if isinstance(node, ast.Call) and text_of(node.func) == act.subject:
                        draft.mark(node)
                yield draft


@operator("drop")
def _drop_mode(source: Source) -> Edits:
    """A model with dropout or batch normalisation goes on in the mode of the other phase."""
    sensitive = any(word in source.text for word in ("Dropout", "BatchNorm", "dropout"))
    for act in source.of("train", "eval"):
        if sensitive and isinstance(act.node, ast.Expr):
            other = source.of("eval" if act.kind == "train" else "train")
            called = [
                node
                for node in ast.walk(act.scope)
                if isinstance(node, ast.Call) and text_of(node.func) == act.subject
            ]
            yield dropped(source, act.place, *(one.node for one in other), *called)


@operator("swap")
def _other_mode(source: Source) -> Edits:
    """Training in evaluation mode, or evaluation in training mode."""
    for act in source.of("train", "eval"):
        assert isinstance(act.call.func, ast.Attribute)
        draft = source.draft()
        other = "eval" if act.kind == "train" else "train"
        draft.replace(act.call.func, f"{draft.source(act.call.func.value)}.{other}")
        yield draft


@operator("move")
def _training_mode_once(source: Source) -> Edits:
    """Training mode is set before the first epoch, and evaluation ends it for all that follow."""
    for act in source.of("train"):
        loops = act.place.loops
        if loops and act.place.around[-1] is loops[-1] and source.of("eval"):
            draft = source.draft()
            draft.move_before(act.node, act.place.block, loops[0])
            draft.mark(loops[0], *(one.node for one in source.of("eval")))
            yield draft


@operator("swap")
def _list_for_modules(source: Source) -> Edits:
    """Layers in a plain list or dict are no part of the module: nobody trains them."""
    for call in source.calls("ModuleList", "ModuleDict"):
        if call.args and isinstance(call.args[0], ast.List | ast.ListComp | ast.Dict):
            draft = source.draft()
            draft.replace(call, draft.source(call.args[0]))
            yield draft


@operator("swap")
def _training_data_for_evaluation(source: Source) -> Edits:
    """The held-out data is prepared and not used: what is reported is memory."""
    loaders = [text_of(n.targets[0]) for _, _, n in source.assignments if _is_loader(n.value)]
    train = [one for one in loaders if "train" in one]
    held = [one for one in loaders if "test" in one or "val" in one]
    read = [
        node
        for node in source.file.nodes
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in held
    ]
    if len(train) == len(held) == len(read) == 1:
        draft = source.draft()
        draft.replace(read[0], train[0])
        made = [n for _, _, n in source.assignments if text_of(n.targets[0]) == held[0]]
        draft.mark(*made)
        yield draft


def _is_loader(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and last_name(node.func) == "DataLoader"


@operator("drop")
def _drop_shuffle(source: Source) -> Edits:
    """Each epoch shows the training examples in the order in which they are stored.

    What a random split has mixed, or a dataset draws at random, is left out: nothing tells that
    one fixed order of it was not meant.
    """
    if "random_split" in source.text or "randint" in source.text:
        return
    for call in source.calls("DataLoader"):
        for keyword in call.keywords:
            if keyword.arg == "shuffle" and text_of(keyword.value) == "True":
                draft = source.draft()
                draft.replace(keyword.value, "False")
                draft.mark(call)
                yield draft


@operator("move")
def _seed_each_batch(source: Source) -> Edits:
    """Each batch meets the same random numbers."""
    for act in source.of("seed"):
        for step in source.of("step"):
            loops = step.place.loops
            if step.scope is act.scope and loops and not act.place.around:
                draft = source.draft()
                text = draft.rows(act.node, draft.indent(loops[-1].body[0]))
                draft.insert_before(loops[-1].body[0], text)
                yield draft
