"""Faults in what a loss is computed from: cut graphs, wrong dimensions, wrong inputs of a loss."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.properties.faults.reading import Edits, Source, last_name, names_in, operator
from tests.properties.mutants.loops import Place, places_in, text_of


def _steps_of_forward(source: Source) -> Iterator[tuple[Place, ast.Assign, ast.FunctionDef]]:
    """Yield the assignments in a forward whose value comes from layers with parameters."""
    for one, forward in source.forwards:
        layers = source.layers(one)
        for place in places_in(forward.body):
            node = place.node
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                text = text_of(node.value)
                if any(f"{layer}(" in text for layer in layers):
                    yield place, node, forward


@operator("detach")
def _detach_in_forward(source: Source) -> Edits:
    """The layers before the cut get no gradient: they keep the weights they were made with."""
    for _, node, _ in _steps_of_forward(source):
        draft = source.draft()
        plain = isinstance(node.value, ast.Call)
        text = draft.source(node.value)
        draft.replace(node.value, f"{text}.detach()" if plain else f"({text}).detach()")
        yield draft


@operator("detach")
def _layer_without_gradients(source: Source) -> Edits:
    """The layer runs without a graph: it and all before it keep the weights they were made with."""
    for place, node, _ in _steps_of_forward(source):
        draft = source.draft()
        indent = draft.indent(node)
        rows = draft.rows(node, indent + "    ")
        draft.delete(node, place.block)
        draft.insert_before(node, f"{indent}with torch.no_grad():\n{rows}")
        yield draft


@operator("detach")
def _data_of_input(source: Source) -> Edits:
    """A layer is given `.data` of what the layers before it have made, which cuts them off."""
    for one, forward in source.forwards:
        layers = source.layers(one)
        for node in ast.walk(forward):
            if isinstance(node, ast.Call) and text_of(node.func) in layers and node.args:
                given = node.args[0]
                inner = isinstance(given, ast.Call) and "self." in text_of(given)
                named = isinstance(given, ast.Name) and _made_before(forward, given, layers)
                if inner or named:
                    draft = source.draft()
                    draft.replace(given, f"{draft.source(given)}.data")
                    yield draft


def _made_before(forward: ast.FunctionDef, given: ast.Name, layers: dict[str, ast.Call]) -> bool:
    for place in places_in(forward.body):
        node = place.node
        if isinstance(node, ast.Assign) and node.lineno < given.lineno:
            made = any(f"{layer}(" in text_of(node.value) for layer in layers)
            if text_of(node.targets[0]) == given.id and made:
                return True
    return False


def _losses(source: Source) -> list[ast.Call]:
    """The calls of a loss: of F, or of a name that the file makes one of torch's losses."""
    made = {
        text_of(node.targets[0])
        for _, _, node in source.assignments
        if isinstance(node.value, ast.Call) and source.file.called(node.value).endswith("Loss")
    }
    made |= {"criterion", "loss_fn", "self.criterion", "loss_func"}
    found = []
    for node in source.file.nodes:
        if isinstance(node, ast.Call) and len(node.args) >= 2:
            name = source.file.called(node)
            functional = name.startswith("F.") and name.rsplit(".")[-1] in LOSSES
            if functional or text_of(node.func) in made:
                found.append(node)
    return found


LOSSES = (
    "cross_entropy nll_loss mse_loss smooth_l1_loss binary_cross_entropy kl_div"
    " binary_cross_entropy_with_logits"
).split()


@operator("detach")
def _detach_part_of_loss(source: Source) -> Edits:
    """One summand of the loss is a number: it is reported, and nothing is trained by it."""
    for _, _, node in source.assignments:
        value, name = node.value, text_of(node.targets[0])
        reached = any(act.subject.startswith(name) for act in source.of("backward"))
        if reached and isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add):
            for part in (value.left, value.right):
                draft = source.draft()
                draft.replace(part, f"({draft.source(part)}).detach()")
                yield draft


@operator("detach")
def _number_in_loss(source: Source) -> Edits:
    """One summand of the loss is a python number: nothing is trained by it."""
    for _, _, node in source.assignments:
        value, name = node.value, text_of(node.targets[0])
        reached = any(act.subject.startswith(name) for act in source.of("backward"))
        if reached and isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add):
            draft = source.draft()
            draft.replace(value.right, f"({draft.source(value.right)}).item()")
            yield draft


@operator("wrong object")
def _backward_of_a_part(source: Source) -> Edits:
    """The total is computed, and a part of it is what is trained by."""
    for act in source.of("backward"):
        for scope, _, node in source.assignments:
            own = scope is act.scope and text_of(node.targets[0]) == act.subject
            if own and isinstance(node.value, ast.BinOp) and isinstance(node.value.op, ast.Add):
                parts = [one for one in sorted(names_in(node.value)) if "loss" in one]
                for part in [one for one in parts if "weight" not in one]:
                    assert isinstance(act.call.func, ast.Attribute)
                    draft = source.draft()
                    draft.replace(act.call.func.value, part)
                    draft.mark(node)
                    yield draft


@operator("detach")
def _loss_made_anew(source: Source) -> Edits:
    """Backward runs from a new leaf: no parameter gets a gradient."""
    for act in source.of("backward"):
        if isinstance(act.node, ast.Expr) and act.subject.isidentifier():
            draft = source.draft()
            name = act.subject
            text = f"{draft.indent(act.node)}{name} = "
            text += f"torch.tensor({name}.item(), requires_grad=True)\n"
            draft.insert_before(act.node, text)
            draft.mark(act.node)
            yield draft


@operator("wrong dimension")
def _softmax_over_batch(source: Source) -> Edits:
    """Probabilities that sum to one over the examples of a batch, not over the classes."""
    names = ("softmax", "log_softmax", "Softmax", "LogSoftmax")
    for call in source.calls(*names):
        for keyword in call.keywords:
            if keyword.arg == "dim" and text_of(keyword.value) in ("1", "-1"):
                draft = source.draft()
                draft.replace(keyword.value, "0")
                yield draft


@operator("wrong dimension")
def _shape_left(source: Source) -> Edits:
    """A column against a row: the loss, or what it is compared with, is taken over all pairs."""
    for call in source.calls("squeeze", "unsqueeze"):
        if isinstance(call.func, ast.Attribute) and last_name(call.func.value) != "torch":
            draft = source.draft()
            draft.replace(call, draft.source(call.func.value))
            draft.mark(*(one for one in _losses(source)))
            yield draft


@operator("wrong dimension")
def _column_into_loss(source: Source) -> Edits:
    """A loss of all pairs of examples: one side is a column, the other a row."""
    for call in _losses(source):
        name = source.file.called(call) + text_of(call.func)
        if "cross_entropy" in name.replace("binary_cross_entropy", "") or "nll" in name:
            continue
        target = call.args[1]
        draft = source.draft()
        draft.replace(target, f"{draft.source(target)}.view(-1)")
        draft.mark(call)
        yield draft


@operator("wrong dimension")
def _batch_not_first(source: Source) -> Edits:
    """A recurrence or attention over the examples of a batch instead of over time."""
    for call in source.calls("GRU", "LSTM", "RNN", "MultiheadAttention"):
        for keyword in call.keywords:
            if keyword.arg == "batch_first" and text_of(keyword.value) == "True":
                draft = source.draft()
                draft.replace(keyword.value, "False")
                yield draft


@operator("wrong dimension")
def _argmax_over_batch(source: Source) -> Edits:
    """The best example of each class is compared with labels, which means nothing."""
    for call in source.calls("argmax"):
        given = [*call.args, *(one.value for one in call.keywords if one.arg == "dim")]
        if given and text_of(given[0]) in ("1", "-1"):
            draft = source.draft()
            draft.replace(given[0], "0")
            yield draft


@operator("wrong input")
def _softmax_into_loss(source: Source) -> Edits:
    """A loss that takes the softmax itself is given one already: its gradients almost vanish."""
    for call in _losses(source):
        name = last_name(call.func)
        kinds = _kinds(source, call, name)
        if kinds == {"cross_entropy"}:
            draft = source.draft()
            given = draft.source(call.args[0])
            draft.replace(call.args[0], f"torch.softmax({given}, dim=1)")
            draft.mark(call)
            yield draft


@operator("wrong input")
def _sigmoid_into_loss(source: Source) -> Edits:
    """A loss that takes the sigmoid itself is given one already."""
    for call in _losses(source):
        if _kinds(source, call, last_name(call.func)) == {"binary_cross_entropy_with_logits"}:
            draft = source.draft()
            given = draft.source(call.args[0])
            draft.replace(call.args[0], f"torch.sigmoid({given})")
            draft.mark(call)
            yield draft


CLASSES = {
    "CrossEntropyLoss": "cross_entropy",
    "BCEWithLogitsLoss": "binary_cross_entropy_with_logits",
}


def _kinds(source: Source, call: ast.Call, name: str) -> set[str]:
    """Which losses a call may be of: that of F, or all that the file makes."""
    if source.file.called(call).startswith("F."):
        return {name}
    made = {source.file.called(one).rsplit(".")[-1] for one in source.file.nodes if _is_loss(one)}
    return {CLASSES.get(one, one) for one in made}


def _is_loss(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and last_name(node.func).endswith("Loss")


@operator("drop")
def _drop_log_softmax(source: Source) -> Edits:
    """The negative log-likelihood of scores that are no log-probabilities has no lower bound."""
    for call in source.calls("log_softmax"):
        if "nll_loss" in source.text or "NLLLoss" in source.text:
            draft = source.draft()
            draft.replace(call, draft.source(call.args[0]))
            draft.mark(*_losses(source))
            yield draft


@operator("wrong input")
def _probabilities_for_logs(source: Source) -> Edits:
    """A loss of log-probabilities is given probabilities."""
    for call in source.calls("log_softmax", "LogSoftmax"):
        draft = source.draft()
        draft.replace(call.func, draft.source(call.func).replace("log_s", "s").replace("LogS", "S"))
        draft.mark(*_losses(source), *_uses(source, call))
        yield draft


def _uses(source: Source, made: ast.Call) -> list[ast.Call]:
    """The calls of the attribute that a layer is kept in."""
    names = [text_of(node.targets[0]) for _, _, node in source.assignments if node.value is made]
    calls = [node for node in source.file.nodes if isinstance(node, ast.Call)]
    return [node for node in calls if text_of(node.func) in names]


@operator("swap")
def _loss_arguments_swapped(source: Source) -> Edits:
    """The target in the place of the input, which matters in losses that are not symmetric."""
    for call in _losses(source):
        first, second = call.args[:2]
        draft = source.draft()
        one, other = draft.source(first), draft.source(second)
        draft.replace(first, other)
        draft.replace(second, one)
        draft.mark(call)
        yield draft


@operator("drop")
def _drop_detach(source: Source) -> Edits:
    """What should be a constant is trained as well."""
    for call in source.calls("detach"):
        if isinstance(call.func, ast.Attribute):
            draft = source.draft()
            draft.replace(call, draft.source(call.func.value))
            yield draft
