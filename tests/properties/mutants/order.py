"""Mutations of the order of an update: clearing, backward, clipping, scaling, step, schedule."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.properties.mutants.drafts import Draft
from tests.properties.mutants.kinds import (
    Kind,
    Turn,
    around,
    marks_of,
    repeated,
    same_block,
    stepped,
    turns,
)
from tests.properties.mutants.loops import Event, File, Place, Region, text_of


def _plain_turns(file: File) -> Iterator[Turn]:
    """Turns in which nothing else clears or fills gradients."""
    for turn in turns(file):
        if ".grad" not in text_of(turn.region.scope).replace(".grad(", "("):
            yield turn


def _clearing_alone(file: File) -> Iterator[Turn]:
    for turn in _plain_turns(file):
        if not around(file, turn.region, "zero_grad") and turn.zero.place.plain:
            yield turn


def _drop_zero(draft: Draft, turn: Turn) -> None:
    draft.delete(turn.zero.node, turn.zero.place.block)
    draft.mark(turn.step.node)


def _in_a_row(file: File) -> Iterator[Turn]:
    for turn in _plain_turns(file):
        if same_block(turn.backward, turn.step, turn.zero):
            block = turn.step.place.block
            if block.index(turn.backward.node) < block.index(turn.step.node):
                yield turn


def _zero_between(draft: Draft, turn: Turn) -> None:
    draft.move_before(turn.zero.node, turn.zero.place.block, turn.step.node)
    draft.mark(turn.step.node)


def _step_first(draft: Draft, turn: Turn) -> None:
    draft.move_before(turn.step.node, turn.step.place.block, turn.backward.node)
    draft.mark(turn.zero.node)


def _unscaled_in_a_row(file: File) -> Iterator[Turn]:
    return (turn for turn in _in_a_row(file) if not turn.scaled)


def _drop_backward(draft: Draft, turn: Turn) -> None:
    draft.delete(turn.backward.node, turn.backward.place.block)
    draft.mark(turn.step.node)


def _only_step(file: File) -> Iterator[Turn]:
    for turn in turns(file):
        name = turn.optimizer.rsplit(".")[-1]
        if (
            (len([r for r in file.regions if r.of("step")]) == 1 or name in file.optimizers)
            and not turn.scaled
            and file.text.count(f"{name}.step(") == 1
        ):
            yield turn


def _drop_step(draft: Draft, turn: Turn) -> None:
    draft.delete(turn.step.node, turn.step.place.block)
    draft.mark(turn.backward.node, turn.zero.node)
    draft.mark(*marks_of(turn.file, "optimizer", turn.optimizer))


def _clips(file: File) -> Iterator[tuple[Turn, Event]]:
    for turn in turns(file):
        clips = turn.region.of("clip")
        if len(clips) == 1 and isinstance(clips[0].node, ast.Expr):
            yield turn, clips[0]


def _clips_before_step(file: File) -> Iterator[tuple[Turn, Event]]:
    for turn, clip in _clips(file):
        if same_block(clip, turn.step) and not turn.scaled:
            yield turn, clip


def _clip_after_step(draft: Draft, site: tuple[Turn, Event]) -> None:
    turn, clip = site
    draft.move_after(clip.node, clip.place.block, turn.step.node)


def _clips_after_backward(file: File) -> Iterator[tuple[Turn, Event]]:
    for turn, clip in _clips(file):
        if same_block(clip, turn.backward, turn.step) and not turn.scaled:
            yield turn, clip


def _clip_before_backward(draft: Draft, site: tuple[Turn, Event]) -> None:
    turn, clip = site
    draft.move_before(clip.node, clip.place.block, turn.backward.node)


def _schedules(file: File) -> Iterator[tuple[Event, Event]]:
    for region in file.regions:
        for event in region.of("scheduler"):
            steps = [one for one in region.of("step") if same_block(one, event)]
            if len(steps) == 1 and steps[0].place.position < event.place.position:
                yield event, steps[0]


def _schedule_first(draft: Draft, site: tuple[Event, Event]) -> None:
    schedule, step = site
    draft.move_before(schedule.node, schedule.place.block, step.node)


def _epoch_schedules(file: File) -> Iterator[tuple[Event, Place]]:
    """A schedule stepped once an epoch, after the loop that trains."""
    for region in file.regions:
        for event in region.of("scheduler"):
            block = event.place.block[: event.place.position]
            loops = [one for one in region.of("step") if set(one.place.around) & set(block)]
            if event.place.loops and len(loops) == 1:
                loop = next(one for one in loops[0].place.around if one in block)
                yield event, Place(loop, block, ())


def _epoch_schedule_first(draft: Draft, site: tuple[Event, Place]) -> None:
    event, loop = site
    draft.move_before(event.node, event.place.block, loop.node)


def _only_schedules(file: File) -> Iterator[tuple[File, Event]]:
    for region in file.regions:
        events = region.of("scheduler")
        name = events[0].subject if events else ""
        if len(events) == 1 and file.text.count(f"{name}.step(") == 1 and events[0].place.loops:
            yield file, events[0]


def _drop_schedule(draft: Draft, site: tuple[File, Event]) -> None:
    file, event = site
    draft.delete(event.node, event.place.block)
    draft.mark(*marks_of(file, "scheduler", event.subject))


def _unscaling(file: File) -> Iterator[tuple[Event, Event]]:
    for region in file.regions:
        unscale, clip, step = (region.of(k) for k in ("unscale", "clip", "scaler.step"))
        if len(unscale) == len(clip) == len(step) == 1 and "unscale_" not in _rest(file, region):
            yield unscale[0], clip[0]


def _rest(file: File, region: Region) -> str:
    return "".join(text_of(f) for f in file.functions if f is not region.scope)


def _drop_unscale(draft: Draft, site: tuple[Event, Event]) -> None:
    unscale, clip = site
    draft.delete(unscale.node, unscale.place.block)
    draft.mark(clip.node)


def _updates(file: File) -> Iterator[tuple[File, Event, Event]]:
    for region in file.regions:
        update, step = region.of("update"), region.of("scaler.step")
        if len(update) == 1 and step and f"{update[0].subject}.update" not in _rest(file, region):
            yield file, update[0], step[-1]


def _drop_update(draft: Draft, site: tuple[File, Event, Event]) -> None:
    file, update, step = site
    draft.delete(update.node, update.place.block)
    draft.mark(step.node, *marks_of(file, "scaler", update.subject))


def _scaler_steps(file: File) -> Iterator[Event]:
    for region in file.regions:
        if any(".scale(" in one.subject for one in region.of("backward")):
            yield from (e for e in region.of("scaler.step") if len(e.call.args) == 1)


def _plain_step(draft: Draft, event: Event) -> None:
    draft.replace(event.call, f"{stepped(event)}.step()")


def _scaled_losses(file: File) -> Iterator[Event]:
    for region in file.regions:
        for event in region.of("backward"):
            function = event.call.func
            receiver = function.value if isinstance(function, ast.Attribute) else None
            if (
                isinstance(receiver, ast.Call)
                and text_of(receiver.func).endswith(".scale")
                and region.of("scaler.step")
                and len(receiver.args) == 1
            ):
                yield event


def _unscaled_loss(draft: Draft, event: Event) -> None:
    assert isinstance(event.call.func, ast.Attribute)
    receiver = event.call.func.value
    assert isinstance(receiver, ast.Call)
    loss = receiver.args[0]
    text = draft.source(loss)
    draft.replace(receiver, text if isinstance(loss, ast.Name | ast.Attribute) else f"({text})")


def _accumulations(file: File) -> Iterator[Turn]:
    """Step and clearing under one condition, backward in each turn of the loop."""
    for turn in _plain_turns(file):
        inside = turn.step.place.around
        guard = inside[-1] if inside else None
        if (
            isinstance(guard, ast.If)
            and same_block(turn.step, turn.zero)
            and not guard.orelse
            and turn.backward.node in turn.step.place.loops[-1].body
            and "%" in text_of(guard.test)
        ):
            yield turn


def _clear_each_time(draft: Draft, turn: Turn) -> None:
    draft.move_before(turn.zero.node, turn.zero.place.block, turn.backward.node)


def _divisions(file: File) -> Iterator[tuple[Turn, Place]]:
    for turn in _accumulations(file):
        for place in turn.region.places:
            node = place.node
            value = node.value if isinstance(node, ast.Assign | ast.AugAssign) else None
            if isinstance(node, ast.AugAssign) and not isinstance(node.op, ast.Div):
                continue
            divided = isinstance(value, ast.BinOp) and isinstance(value.op, ast.Div)
            if (divided or isinstance(node, ast.AugAssign)) and "accum" in text_of(node):
                yield turn, place


def _drop_division(draft: Draft, site: tuple[Turn, Place]) -> None:
    turn, place = site
    if isinstance(place.node, ast.Assign) and isinstance(place.node.value, ast.BinOp):
        draft.replace(place.node.value, draft.source(place.node.value.left))
    else:
        draft.delete(place.node, place.block)
    draft.mark(turn.backward.node)


def _calls_of(kinds: str) -> object:
    def sites(file: File) -> Iterator[tuple[Event, Region]]:
        for region in file.regions:
            for event in region.events:
                if (
                    event.kind in kinds.split()
                    and isinstance(event.node, ast.Expr)
                    and not event.call.args
                    and not event.call.keywords
                    and repeated(file, region.scope, event.place)
                ):
                    yield event, region

    return sites


def _drop_parentheses(draft: Draft, site: tuple[Event, Region]) -> None:
    draft.replace(site[0].call, draft.source(site[0].call.func))


def _pairs(file: File) -> Iterator[tuple[File, Event, str]]:
    """Two optimizers of one region, each of them stepped and cleared."""
    for region in file.regions:
        steps = region.of("step")
        names = {one.subject for one in steps}
        made = [file.optimizers.get(name) for name in names]
        inside = {place.node for place in region.places if place.loops}
        if inside & set(made):
            continue
        if len(names) == 2 and len(steps) == 2 and len(region.of("zero")) == 2:
            for event in (*steps, *region.of("zero")):
                if {one.subject for one in region.of("zero")} == names and event.place.loops:
                    yield file, event, (names - {event.subject}).pop()


def _wrong_steps(file: File) -> Iterator[tuple[File, Event, str]]:
    return (site for site in _pairs(file) if site[1].kind == "step")


def _wrong_clearings(file: File) -> Iterator[tuple[File, Event, str]]:
    """What is set by hand before each step needs no clearing: that of the other does no harm."""
    for site in _pairs(file):
        if site[1].kind == "zero":
            region = next(one for one in file.regions if site[1] in one.events)
            (step,) = region.of("step", site[1].subject)
            if not _is_set_by_hand(region, step):
                yield site


def _is_set_by_hand(region: Region, step: Event) -> bool:
    """Whether gradients are assigned between a step and the backward that is written before it."""
    written = 0
    computed = 0
    for node in ast.walk(region.scope):
        line = getattr(node, "lineno", step.node.lineno)
        if line >= step.node.lineno or not isinstance(node, ast.Attribute):
            continue
        if node.attr == "grad" and isinstance(node.ctx, ast.Store):
            written = max(written, line)
        elif node.attr == "backward":
            computed = max(computed, line)
    return written > computed


def _other_object(draft: Draft, site: tuple[File, Event, str]) -> None:
    file, event, other = site
    assert isinstance(event.call.func, ast.Attribute)
    draft.replace(event.call.func.value, other)
    draft.mark(*marks_of(file, "optimizer", event.subject))
    for region in file.regions:
        draft.mark(*(one.node for one in region.of("step", event.subject) if one is not event))


KINDS = (
    Kind("drop-zero-grad", "112", _clearing_alone, _drop_zero),
    Kind("zero-grad-between", "113", _in_a_row, _zero_between),
    Kind("step-before-backward", "111 113", _unscaled_in_a_row, _step_first),
    Kind("drop-backward", "111", _unscaled_in_a_row, _drop_backward),
    Kind("drop-step", "117", _only_step, _drop_step),
    Kind("clip-after-step", "115", _clips_before_step, _clip_after_step),
    Kind("clip-before-backward", "115", _clips_after_backward, _clip_before_backward),
    Kind("scheduler-first", "118", _schedules, _schedule_first),
    Kind("scheduler-first-in-epoch", "118", _epoch_schedules, _epoch_schedule_first),
    Kind("drop-scheduler-step", "119", _only_schedules, _drop_schedule),
    Kind("drop-unscale", "114", _unscaling, _drop_unscale),
    Kind("drop-scaler-update", "122", _updates, _drop_update),
    Kind("step-past-scaler", "121", _scaler_steps, _plain_step),
    Kind("loss-past-scaler", "123", _scaled_losses, _unscaled_loss),
    Kind("clear-each-microbatch", "116", _accumulations, _clear_each_time),
    Kind("drop-loss-division", "124", _divisions, _drop_division),
    Kind("uncalled-step", "131", _calls_of("step"), _drop_parentheses),
    Kind("uncalled-zero-grad", "131", _calls_of("zero model.zero"), _drop_parentheses),
    Kind("uncalled-mode", "131", _calls_of("train eval"), _drop_parentheses),
    Kind("step-wrong-optimizer", "111 112 113 117", _wrong_steps, _other_object),
    Kind("clear-wrong-optimizer", "112 113", _wrong_clearings, _other_object),
)
