"""Faults of programs that several processes run."""

from __future__ import annotations

import ast

from tests.properties.faults.reading import Edits, Source, last_name, neighbours, operator
from tests.properties.mutants.loops import call_in, text_of

WRAPPERS = ("DDP", "DistributedDataParallel")


@operator("wrong rank")
def _drop_wrapper(source: Source) -> Edits:
    """Nobody averages the gradients: each rank trains a model of its own on a part of the data."""
    for call in source.calls(*WRAPPERS):
        draft = source.draft()
        draft.replace(call, draft.source(call.args[0]))
        draft.mark(*(node for _, _, node in source.models))
        yield draft


@operator("wrong rank")
def _bypass_wrapper(source: Source) -> Edits:
    """The inner model is called: its gradients are averaged by nobody."""
    wrapped = [
        text_of(node.targets[0])
        for _, _, node in source.assignments
        if isinstance(node.value, ast.Call) and last_name(node.value.func) in WRAPPERS
    ]
    for node in source.file.nodes:
        if isinstance(node, ast.Call) and text_of(node.func) in wrapped:
            draft = source.draft()
            draft.replace(node.func, f"{draft.source(node.func)}.module")
            yield draft


@operator("wrong rank")
def _step_on_one_rank(source: Source) -> Edits:
    """Only the first rank applies the gradients: the replicas part."""
    if not source.calls(*WRAPPERS):
        return
    for act in source.of("step", "schedule"):
        if isinstance(act.node, ast.Expr):
            draft = source.draft()
            indent = draft.indent(act.node)
            rows = draft.rows(act.node, indent + "    ")
            name = "torch.distributed.get_rank()"
            draft.delete(act.node, act.place.block)
            draft.insert_before(act.node, f"{indent}if {name} == 0:\n{rows}")
            yield draft


@operator("wrong rank")
def _wrapped_twice(source: Source) -> Edits:
    """A wrapper around a wrapper averages gradients that are averages."""
    for call in source.calls(*WRAPPERS):
        draft = source.draft()
        draft.replace(call, f"{draft.source(call.func)}({draft.source(call)})")
        yield draft


@operator("wrong rank")
def _same_part_for_all(source: Source) -> Edits:
    """All ranks train on the same part of the data; the other parts are never seen."""
    yield from _sampled_with(source, "rank=0")


@operator("wrong rank")
def _all_data_for_all(source: Source) -> Edits:
    """Each rank trains on all of the data, in the same order: a second rank adds nothing."""
    yield from _sampled_with(source, "num_replicas=1", "rank=0")


def _sampled_with(source: Source, *more: str) -> Edits:
    """Distributed samplers that are given more."""
    for call in source.calls("DistributedSampler"):
        draft = source.draft()
        given = [draft.source(one) for one in call.args]
        given += [f"{one.arg}={draft.source(one.value)}" for one in call.keywords]
        draft.replace(call, f"{draft.source(call.func)}({', '.join([*given, *more])})")
        yield draft


@operator("wrong rank")
def _same_numbers_on_all(source: Source) -> Edits:
    """All ranks draw the same batches: a second rank adds nothing."""
    for call in source.calls("manual_seed"):
        value = call.args[0]
        if isinstance(value, ast.BinOp) and text_of(value.right) == "rank":
            draft = source.draft()
            draft.replace(value, draft.source(value.left))
            yield draft


@operator("wrong rank")
def _weights_changed_on_one_rank(source: Source) -> Edits:
    """Weights are set after wrapping, from each rank's own random numbers: the replicas differ."""
    for _, place, node in source.assignments:
        call = call_in(place.node)
        if call is not None and last_name(call.func) in WRAPPERS:
            draft = source.draft()
            target, indent = text_of(node.targets[0]), draft.indent(node)
            seed = f"{indent}torch.manual_seed(torch.distributed.get_rank())\n"
            loop = f"{indent}for weight in {target}.parameters():\n"
            change = f"{indent}    torch.nn.init.normal_(weight, std=0.1)\n"
            draft.insert_after(node, seed + loop + change)
            draft.mark(node)
            yield draft


@operator("wrong rank")
def _drop_epoch_of_sampler(source: Source) -> Edits:
    """Each epoch shows the examples in the order of the first."""
    for _, place in source.places:
        call = call_in(place.node)
        if call is not None and last_name(call.func) == "set_epoch":
            draft = source.draft()
            draft.delete(place.node, place.block)
            draft.mark(*neighbours(place))
            for scope in source.file.functions:
                if place.node in scope.body:
                    draft.mark(scope, *(one for one in scope.body if one is not place.node))
                    draft.mark(*_loops_around(source, scope.name))
            draft.mark(*(c for c in source.calls("DistributedSampler")))
            yield draft


def _loops_around(source: Source, name: str) -> list[ast.stmt]:
    """The loops that call a function."""
    return [
        node
        for node in source.file.nodes
        if isinstance(node, ast.For) and any(name in text_of(one) for one in node.body)
    ]
