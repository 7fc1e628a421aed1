"""Mutations of what flows into a loss, and of the loss on its way to backward."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.properties.mutants.drafts import Draft
from tests.properties.mutants.kinds import Kind, repeated
from tests.properties.mutants.loops import File, Function, Place, Region, text_of

CLASSES = {
    "CrossEntropyLoss": "cross_entropy",
    "NLLLoss": "nll_loss",
    "BCELoss": "binary_cross_entropy",
    "BCEWithLogitsLoss": "binary_cross_entropy_with_logits",
}
SQUASHED = ("softmax", "sigmoid", "Softmax", "Sigmoid", "log_prob", "LogSigmoid")
Loss = tuple[str, ast.Call, ast.Call, Region]


def _losses(file: File) -> Iterator[Loss]:
    """Yield (function, loss call, model call, region): a loss of a model's output and a label.

    The output is the model call itself, or a name that the scope assigns once, from a model call.
    The label is a name that a loop or an unpacking of a batch binds.
    """
    for region in file.regions:
        for call in _calls(region):
            name = _made_by(file, region, text_of(call.func)) or _functional(file, call)
            if name in CLASSES.values() and len(call.args) == 2 and not call.keywords:
                model = _model_call(region, call.args[0])
                if (
                    model is not None
                    and _is_label(region, call.args[1])
                    and any(repeated(file, region.scope, e.place) for e in region.of("backward"))
                ):
                    yield name, call, model, region


def _made_by(file: File, region: Region, name: str) -> str:
    """The loss that a name stands for: as the region makes it, else as all of the file do."""
    own = [place.node for place in region.places]
    for nodes in (own, file.nodes):
        made = {
            file.called(node.value).rsplit(".")[-1]
            for node in nodes
            if isinstance(node, ast.Assign) and text_of(node.targets[0]) == name
        }
        if made:
            return CLASSES.get(made.pop(), "") if len(made) == 1 else ""
    return ""


def _functional(file: File, call: ast.Call) -> str:
    name = file.called(call)
    return name.removeprefix("F.") if name.startswith("F.") else ""


def _calls(region: Region) -> Iterator[ast.Call]:
    for place in region.places:
        if isinstance(place.node, ast.Assign | ast.Expr | ast.AugAssign):
            yield from (n for n in ast.walk(place.node) if isinstance(n, ast.Call))


def _assigned(region: Region, name: str) -> list[ast.expr]:
    return [
        place.node.value
        for place in region.places
        if isinstance(place.node, ast.Assign) and text_of(place.node.targets[0]) == name
    ]


def _model_call(region: Region, node: ast.expr) -> ast.Call | None:
    if isinstance(node, ast.Name):
        values = _assigned(region, node.id)
        if len(values) != 1:
            return None
        node = values[0]
    if not isinstance(node, ast.Call) or not node.args:
        return None
    name = text_of(node.func).rsplit(".")[-1].lower()
    return node if any(word in name for word in ("model", "net", "ddp", "classifier")) else None


def _is_label(region: Region, node: ast.expr) -> bool:
    if not isinstance(node, ast.Name):
        return False
    for place in region.places:
        target = place.node.target if isinstance(place.node, ast.For) else None
        if target is not None and len(_names(target)) > 1 and node.id in _names(target):
            return True
    return False


def _names(node: ast.AST) -> set[str]:
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}


def _squashed(file: File, loss: Loss) -> bool:
    """Whether anything in the file squashes, so that the loss may not see what it looks like."""
    return any(word in file.text for word in SQUASHED)


def _cross_entropies(file: File) -> Iterator[Loss]:
    for loss in _losses(file):
        if loss[0] == "cross_entropy":
            yield loss


def _swap(draft: Draft, loss: Loss) -> None:
    first, second = loss[1].args
    one, other = draft.source(first), draft.source(second)
    draft.replace(first, other)
    draft.replace(second, one)
    draft.mark(loss[1])


def _logit_losses(file: File) -> Iterator[Loss]:
    return (loss for loss in _cross_entropies(file) if not _squashed(file, loss))


def _bce_losses(file: File) -> Iterator[Loss]:
    for loss in _losses(file):
        if loss[0] == "binary_cross_entropy_with_logits" and not _squashed(file, loss):
            yield loss


def _through(function: str) -> object:
    def edit(draft: Draft, loss: Loss) -> None:
        argument = loss[1].args[0]
        draft.replace(argument, function.format(draft.source(argument)))
        draft.mark(loss[1])

    return edit


def _returns(file: File) -> Iterator[tuple[Loss, ast.Return]]:
    """The one module class of the file, whose forward returns the logits of a cross entropy."""
    forwards = [(one, _forward(one)) for one in file.classes]
    found = [returned for one, returned in forwards if returned is not None and _is_used(file, one)]
    if len(found) == 1:
        for loss in list(_losses(file))[:1]:
            yield loss, found[0]


def _forward(node: ast.ClassDef) -> ast.Return | None:
    if not any(text_of(base).rsplit(".")[-1] == "Module" for base in node.bases):
        return None
    for function in node.body:
        if isinstance(function, Function) and function.name == "forward":
            returned = [one for one in ast.walk(function) if isinstance(one, ast.Return)]
            simple = len(returned) == 1 and isinstance(returned[0].value, ast.Name | ast.Call)
            return returned[0] if simple else None
    return None


def _is_used(file: File, node: ast.ClassDef) -> bool:
    return any(isinstance(one, ast.Call) and text_of(one.func) == node.name for one in file.nodes)


def _logit_returns(file: File) -> Iterator[tuple[Loss, ast.Return]]:
    for loss, returned in _returns(file):
        if loss[0] == "cross_entropy" and not _squashed(file, loss):
            yield loss, returned


def _return_through(function: str) -> object:
    def edit(draft: Draft, site: tuple[Loss, ast.Return]) -> None:
        value = site[1].value
        assert value is not None
        draft.replace(value, function.format(draft.source(value)))
        draft.mark(site[0][1])

    return edit


def _log_softmax_returns(file: File) -> Iterator[tuple[Loss, ast.Return]]:
    for loss, returned in _returns(file):
        value = returned.value
        if (
            loss[0] == "nll_loss"
            and isinstance(value, ast.Call)
            and file.called(value).endswith("log_softmax")
        ):
            yield loss, returned


def _to_softmax(draft: Draft, site: tuple[Loss, ast.Return]) -> None:
    value = site[1].value
    assert isinstance(value, ast.Call)
    draft.replace(value.func, draft.source(value.func).replace("log_softmax", "softmax"))
    draft.mark(site[0][1])


def _over_batch(draft: Draft, site: tuple[Loss, ast.Return]) -> None:
    value = site[1].value
    assert isinstance(value, ast.Call)
    text = draft.source(value)
    for dim in ("dim=1", "dim=-1"):
        text = text.replace(dim, "dim=0")
    draft.replace(value, text)


def _dim_returns(file: File) -> Iterator[tuple[Loss, ast.Return]]:
    for loss, returned in _log_softmax_returns(file):
        if returned.value is not None and "dim=" in text_of(returned.value):
            yield loss, returned


def _sigmoid_returns(file: File) -> Iterator[tuple[Loss, ast.Return]]:
    for loss, returned in _returns(file):
        value = returned.value
        if (
            loss[0] == "binary_cross_entropy"
            and isinstance(value, ast.Call)
            and file.called(value) in ("torch.sigmoid", "F.sigmoid")
            and len(value.args) == 1
        ):
            yield loss, returned


def _drop_sigmoid(draft: Draft, site: tuple[Loss, ast.Return]) -> None:
    value = site[1].value
    assert isinstance(value, ast.Call)
    draft.replace(value, draft.source(value.args[0]))
    draft.mark(site[0][1])


def _loss_names(file: File) -> Iterator[Place]:
    """An assignment of the loss right before `loss.backward()` in the same block."""
    for region in file.regions:
        for event in region.of("backward"):
            before = event.place.block[: event.place.position]
            if not repeated(file, region.scope, event.place):
                continue
            for node in reversed(before):
                if isinstance(node, ast.Assign) and text_of(node.targets[0]) == event.subject:
                    if isinstance(node.value, ast.Call) and "torch" in file.imports:
                        yield Place(node, event.place.block, event.place.around)
                    break
                if f"{event.subject} " in text_of(node):
                    break


def _loss_anew(draft: Draft, place: Place) -> None:
    assert isinstance(place.node, ast.Assign)
    value = place.node.value
    draft.replace(value, f"torch.tensor({draft.source(value)}, requires_grad=True)")


def _loss_as_number(draft: Draft, place: Place) -> None:
    assert isinstance(place.node, ast.Assign)
    name, indent = text_of(place.node.targets[0]), draft.indent(place.node)
    draft.insert_after(
        place.node, f"{indent}{name} = torch.tensor({name}.item(), requires_grad=True)\n"
    )


def _detached_outputs(file: File) -> Iterator[Loss]:
    """Losses that record gradients: where nothing is recorded, there is nothing to cut."""
    for loss in _losses(file):
        if isinstance(loss[1].args[0], ast.Name) and not _is_unrecorded(file, loss[1]):
            yield loss


def _is_unrecorded(file: File, call: ast.Call) -> bool:
    return any(
        isinstance(node, ast.With)
        and node.lineno <= call.lineno <= (node.end_lineno or node.lineno)
        and any("no_grad" in text_of(one) or "inference_mode" in text_of(one) for one in node.items)
        for node in file.nodes
    )


def _detach(draft: Draft, loss: Loss) -> None:
    draft.replace(loss[1].args[0], f"{draft.source(loss[1].args[0])}.detach()")
    draft.mark(loss[1])


def _divergences(file: File) -> Iterator[ast.Call]:
    for node in file.nodes:
        if isinstance(node, ast.Call) and file.called(node) == "F.kl_div" and node.args:
            first = node.args[0]
            if isinstance(first, ast.Call) and file.called(first) in (
                "F.log_softmax",
                "torch.log_softmax",
            ):
                yield first


def _plain_divergence(draft: Draft, first: ast.Call) -> None:
    draft.replace(first.func, draft.source(first.func).replace("log_softmax", "softmax"))
    draft.mark(first)


SOFTMAX = "torch.softmax({}, dim=1)"
KINDS = (
    Kind("swap-loss-arguments", "409", _cross_entropies, _swap),
    Kind("softmax-at-cross-entropy", "405", _logit_losses, _through(SOFTMAX)),
    Kind("sigmoid-at-bce-with-logits", "407", _bce_losses, _through("torch.sigmoid({})")),
    Kind("softmax-in-forward", "405", _logit_returns, _return_through(SOFTMAX)),
    Kind("softmax-into-nll", "406", _log_softmax_returns, _to_softmax),
    Kind("softmax-over-batch", "412", _dim_returns, _over_batch),
    Kind("logits-into-bce", "408", _sigmoid_returns, _drop_sigmoid),
    Kind("loss-made-anew", "411 402", _loss_names, _loss_anew),
    Kind("loss-as-number", "411 402", _loss_names, _loss_as_number),
    Kind("output-detached", "411 402", _detached_outputs, _detach),
    Kind("kl-of-probabilities", "410", _divergences, _plain_divergence),
)
