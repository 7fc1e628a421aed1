"""Mutations of data, schedules of numbers and what is kept."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.properties.mutants.drafts import Draft
from tests.properties.mutants.kinds import Kind, called_names, scope_name, scopes, turns
from tests.properties.mutants.loops import File, Place, Region, call_in, places_in, text_of


def _epochs(file: File) -> Iterator[tuple[File, Place]]:
    found = []
    for scope in scopes(file):
        for place in places_in(scope.body):
            call = call_in(place.node)
            if call and text_of(call.func).endswith(".set_epoch") and place.loops:
                found.append(place)
    if len(found) == 1 and file.made.get("sampler") and file.regions:
        yield file, found[0]


def _drop_epoch(draft: Draft, site: tuple[File, Place]) -> None:
    """The line to mend is the loop over epochs; the sampler, its loader and the loop over that
    loader are the other ends of the same mistake."""
    file, place = site
    draft.delete(place.node, place.block)
    draft.mark(*file.made["sampler"].values(), *file.made.get("loader", {}).values())
    draft.mark(place.loops[-1])
    for node in file.nodes:
        if isinstance(node, ast.For) and "loader" in text_of(node.iter).lower():
            draft.mark(node)


def _shuffled(file: File) -> Iterator[tuple[ast.Assign, ast.keyword]]:
    trained = [
        (text_of(one), region)
        for region in file.regions
        for event in region.of("backward")
        for loop in event.place.loops
        if isinstance(loop, ast.For)
        for one in ast.walk(loop.iter)
        if isinstance(one, ast.Name | ast.Attribute)
    ]
    for name, node in file.made.get("loader", {}).items():
        call = node.value
        assert isinstance(call, ast.Call)
        given = [k for k in call.keywords if k.arg == "shuffle" and text_of(k.value) == "True"]
        read = any(name == text and _meets(file, node, one) for text, one in trained)
        if given and read and not any(map(_is_in_order, file.makings["loader"][name])):
            yield node, given[0]


def _is_in_order(made: ast.Assign) -> bool:
    """Whether a loader is told not to shuffle: where its name has another that does, the order is
    wanted now and then, and a second one without shuffling is no defect that the text shows."""
    given = made.value.keywords if isinstance(made.value, ast.Call) else []
    return any(one.arg == "shuffle" and text_of(one.value) == "False" for one in given)


def _meets(file: File, made: ast.Assign, region: Region) -> bool:
    """Whether what is made reaches a region: a name alone may be that of another loader. It is made
    in the region, outside of functions, or in one that this file calls, or that calls the region.
    """
    around = [one for one in file.functions if made in ast.walk(one)]
    if not around or region.scope in around:
        return True
    called = called_names(file.tree)
    own = {scope_name(region.scope)}
    return any(one.name in called or own & called_names(one) for one in around)


def _unshuffled(draft: Draft, site: tuple[ast.Assign, ast.keyword]) -> None:
    node, keyword = site
    draft.replace(keyword.value, "False")
    draft.mark(node)


def _best(file: File) -> Iterator[ast.Call]:
    for node in file.nodes:
        value = node.value if isinstance(node, ast.Assign) else None
        if (
            isinstance(value, ast.Call)
            and file.called(value) == "copy.deepcopy"
            and text_of(value.args[0]).endswith(".state_dict()")
            and "best" in text_of(node)
        ):
            yield value


def _by_reference(draft: Draft, call: ast.Call) -> None:
    draft.replace(call, draft.source(call.args[0]))


def _moved(file: File) -> Iterator[ast.Assign]:
    """`x = x.to(device)` of what a loop over batches hands out."""
    for region in file.regions:
        for place in region.places:
            node, call = place.node, call_in(place.node)
            if not isinstance(node, ast.Assign) or call is None or not place.loops:
                continue
            name = text_of(node.targets[0])
            loop = place.loops[-1]
            bound = isinstance(loop, ast.For) and name in {
                n.id for n in ast.walk(loop.target) if isinstance(n, ast.Name)
            }
            if bound and text_of(call.func) in (f"{name}.to", f"{name}.cuda"):
                yield node


def _drop_result(draft: Draft, node: ast.Assign) -> None:
    draft.replace(node, draft.source(node.value))


def _rates(file: File) -> Iterator[tuple[ast.For, str, ast.expr]]:
    for node in file.nodes:
        if (
            isinstance(node, ast.For)
            and isinstance(node.iter, ast.Attribute)
            and node.iter.attr == "param_groups"
            and len(node.body) == 1
        ):
            body = node.body[0]
            optimizer = text_of(node.iter.value)
            known = optimizer in file.optimizers or optimizer == "optimizer"
            rate = isinstance(body, ast.Assign) and text_of(body.targets[0])
            if known and rate and rate.endswith("['lr']"):
                assert isinstance(body, ast.Assign)
                yield node, optimizer, body.value


def _rate_in_vain(draft: Draft, site: tuple[ast.For, str, ast.expr]) -> None:
    node, optimizer, value = site
    draft.replace(node, f"{optimizer}.lr = {draft.source(value)}")


def _seeds(file: File) -> Iterator[tuple[Place, ast.stmt]]:
    for turn in turns(file):
        for place in turn.region.places:
            call = call_in(place.node)
            loops = turn.step.place.loops
            if (
                call
                and file.called(call) == "torch.manual_seed"
                and loops
                and not place.around
                and loops[0] in place.block
            ):
                yield place, loops[-1].body[0]


def _reseed(draft: Draft, site: tuple[Place, ast.stmt]) -> None:
    place, first = site
    draft.move_before(place.node, place.block, first)


KINDS = (
    Kind("drop-set-epoch", "601", _epochs, _drop_epoch),
    Kind("no-shuffle", "603", _shuffled, _unshuffled),
    Kind("best-by-reference", "701", _best, _by_reference),
    Kind("result-dropped", "132", _moved, _drop_result),
    Kind("learning-rate-in-vain", "128", _rates, _rate_in_vain),
    Kind("seed-in-loop", "604", _seeds, _reseed),
)
