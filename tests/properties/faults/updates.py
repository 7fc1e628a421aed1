"""Faults in the order of an update: what is dropped, moved, done twice or done with another one."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.properties.faults.reading import (
    Act,
    Edits,
    Source,
    dropped,
    neighbours,
    operator,
)
from tests.properties.mutants.drafts import Draft
from tests.properties.mutants.kinds import same_block
from tests.properties.mutants.loops import text_of


def _update(source: Source, act: Act) -> list[ast.stmt]:
    """The statements of the update that an act belongs to, what the optimizer is made of, and the
    step that is given the act's function as a closure."""
    made = [node for _, _, node in source.optimizers if text_of(node.targets[0]) == act.subject]
    name = getattr(act.scope, "name", "")
    given = [one.node for one in source.of("step") if name in map(text_of, one.call.args)]
    return [*(one.node for one in source.beside(act, "zero", "backward", "step")), *made, *given]


def _schedulers(source: Source, act: Act) -> list[ast.Assign]:
    """Where the scheduler of an act is made; where a function is given it, all that are."""
    made = [node for _, _, node in source.schedulers]
    return [node for node in made if text_of(node.targets[0]) == act.subject] or made


def _pairs(source: Source, kind: str, other: str) -> Iterator[tuple[Act, Act]]:
    """Acts of two kinds that stand in one block."""
    for act in source.of(kind):
        for one in source.beside(act, other):
            if same_block(act, one):
                yield act, one


def _before(source: Source, act: Act, other: Act) -> Draft:
    """The program with an act moved before another."""
    draft = source.draft()
    draft.move_before(act.node, act.place.block, other.node)
    draft.mark(other.node)
    return draft


def _twice(source: Source, act: Act) -> Draft:
    """The program with an act done twice."""
    draft = source.draft()
    draft.insert_after(act.node, draft.rows(act.node, draft.indent(act.node)))
    draft.mark(act.node)
    return draft


@operator("drop")
def _drop_clearing(source: Source) -> Edits:
    """Nobody clears the gradients before the next backward: they add up over all steps."""
    for act in source.of("zero"):
        if source.beside(act, "backward") or source.beside(act, "step"):
            yield dropped(source, act.place, *_update(source, act))


@operator("drop")
def _drop_update(source: Source) -> Edits:
    """Gradients are computed for an optimizer that never applies them."""
    for act in source.of("step"):
        if not act.call.args and isinstance(act.node, ast.Expr):
            yield dropped(source, act.place, *_update(source, act))


@operator("drop")
def _drop_backpropagation(source: Source) -> Edits:
    """A loss is computed and an optimizer is stepped, but nothing links the two."""
    for act in source.of("backward"):
        yield dropped(source, act.place, *_update(source, act))


@operator("drop")
def _drop_schedule(source: Source) -> Edits:
    """A schedule is built and never advances, so the rate stays where it starts."""
    for act in source.of("schedule"):
        if sum(one.subject == act.subject for one in source.of("schedule")) == 1:
            yield dropped(source, act.place, *_schedulers(source, act))


@operator("move")
def _clear_before_step(source: Source) -> Edits:
    """Gradients are thrown away between the backward that made them and the step."""
    for step, zero in _pairs(source, "step", "zero"):
        if not step.call.args:
            yield _before(source, zero, step)


@operator("move")
def _step_before_backward(source: Source) -> Edits:
    """The step comes before the backward whose gradients it should apply, and clearing between."""
    for step in source.of("step"):
        backward = [one for one in source.beside(step, "backward") if same_block(one, step)]
        if len(backward) == 1 and not step.call.args:
            draft = _before(source, step, backward[0])
            draft.mark(*_update(source, step))
            yield draft


@operator("move")
def _schedule_before_step(source: Source) -> Edits:
    """The schedule advances before the optimizer: its first rate is skipped."""
    for act, step in _pairs(source, "schedule", "step"):
        yield _before(source, act, step)


@operator("move")
def _clip_after_step(source: Source) -> Edits:
    """Gradients are bounded after they have been applied."""
    for act, step in _pairs(source, "clip", "step"):
        if isinstance(act.node, ast.Expr):
            draft = source.draft()
            draft.move_after(act.node, act.place.block, step.node)
            draft.mark(step.node)
            yield draft


@operator("move")
def _clip_before_backward(source: Source) -> Edits:
    """Gradients of the step before are bounded, or none at all."""
    for act, backward in _pairs(source, "clip", "backward"):
        if isinstance(act.node, ast.Expr):
            yield _before(source, act, backward)


@operator("move")
def _step_after_loop(source: Source) -> Edits:
    """Each batch computes and clears gradients, but only those of the last are ever applied."""
    for act in source.of("step"):
        loops = act.place.loops
        if loops and isinstance(act.node, ast.Expr) and act.place.around[-1] is loops[-1]:
            draft = source.draft()
            draft.move_after(act.node, act.place.block, loops[-1])
            draft.mark(loops[-1], *_update(source, act))
            yield draft


@operator("move")
def _schedule_each_batch(source: Source) -> Edits:
    """A schedule in epochs advances with every batch, and is over in the first epoch."""
    for act in source.of("schedule"):
        at = act.place.position
        before = [one for one in act.place.block[:at] if isinstance(one, ast.For)]
        steps = [one for one in source.beside(act, "step") if set(one.place.around) & set(before)]
        if steps:
            draft = source.draft()
            draft.move_after(act.node, act.place.block, steps[-1].node)
            draft.mark(*_schedulers(source, act))
            yield draft


@operator("move")
def _schedule_each_epoch(source: Source) -> Edits:
    """A schedule in batches advances once an epoch, and ends where it should have begun."""
    for act in source.of("schedule"):
        loops = act.place.loops
        if len(loops) > 1 and source.beside(act, "step") and act.place.around[-1] is loops[-1]:
            draft = source.draft()
            draft.move_after(act.node, act.place.block, loops[-1])
            draft.mark(loops[-1], *_schedulers(source, act))
            yield draft


@operator("move")
def _optimizer_each_batch(source: Source) -> Edits:
    """An optimizer that is made anew for each batch never has any momentum."""
    for act in source.of("step"):
        for _, place, node in source.optimizers:
            loops = act.place.loops
            if text_of(node.targets[0]) == act.subject and loops and loops[0] in place.block:
                named = [one for one in place.block[place.position + 1 :] if one is not loops[0]]
                between = [one for one in named if one.lineno < loops[0].lineno]
                if not any(act.subject in text_of(one) for one in between):
                    draft = source.draft()
                    draft.move_before(node, place.block, loops[-1].body[0])
                    yield draft


@operator("duplicate")
def _backward_twice(source: Source) -> Edits:
    """Every gradient is counted twice."""
    for act in source.of("backward"):
        if isinstance(act.node, ast.Expr) and not act.call.args and not act.call.keywords:
            draft = source.draft()
            first = f"{draft.source(act.call.func)}(retain_graph=True)\n"
            draft.insert_before(act.node, draft.indent(act.node) + first)
            draft.mark(act.node)
            yield draft


@operator("duplicate")
def _step_twice(source: Source) -> Edits:
    """Each gradient is applied twice."""
    for act in source.of("step"):
        if isinstance(act.node, ast.Expr) and not act.call.args:
            yield _twice(source, act)


@operator("duplicate")
def _schedule_twice(source: Source) -> Edits:
    """The schedule runs at twice the speed it was built for."""
    for act in source.of("schedule"):
        if isinstance(act.node, ast.Expr):
            yield _twice(source, act)


@operator("wrong object")
def _step_of_other_optimizer(source: Source) -> Edits:
    """One optimizer is stepped in place of the other."""
    for act in source.of("step"):
        others = {one.subject for one in source.beside(act, "step")} - {act.subject}
        if len(others) == 1 and isinstance(act.call.func, ast.Attribute):
            draft = source.draft()
            draft.replace(act.call.func.value, others.pop())
            draft.mark(*_update(source, act))
            yield draft


@operator("wrong object")
def _clearing_of_other_optimizer(source: Source) -> Edits:
    """The gradients of another one are cleared."""
    for act in source.of("zero"):
        others = {one.subject for one in source.of("zero")} - {act.subject}
        if len(others) == 1 and source.beside(act, "zero", "step"):
            assert isinstance(act.call.func, ast.Attribute)
            draft = source.draft()
            draft.replace(act.call.func.value, others.pop())
            draft.mark(*_update(source, act))
            yield draft


@operator("wrong object")
def _schedule_of_other_optimizer(source: Source) -> Edits:
    """Two schedules drive one optimizer, and none the other."""
    made = {text_of(node.targets[0]) for _, _, node in source.optimizers}
    for _, _, node in source.schedulers:
        assert isinstance(node.value, ast.Call)
        argument = node.value.args[0]
        others = sorted(made - {text_of(argument)})
        if len(made) == 2 and text_of(argument) in made:
            scopes = {scope for scope, _, one in source.optimizers}
            if len(scopes) == 1:
                draft = source.draft()
                draft.replace(argument, others[0])
                yield draft


@operator("wrong object")
def _schedule_steps_other(source: Source) -> Edits:
    """One schedule advances twice as fast, the other not at all."""
    for act in source.of("schedule"):
        others = {one.subject for one in source.beside(act, "schedule")} - {act.subject}
        if len(others) == 1 and all(same_block(act, o) for o in source.beside(act, "schedule")):
            assert isinstance(act.call.func, ast.Attribute)
            draft = source.draft()
            draft.replace(act.call.func.value, others.pop())
            draft.mark(*(one.node for one in source.beside(act, "schedule")))
            draft.mark(*_schedulers(source, act))
            yield draft


@operator("wrong object")
def _clip_of_other_model(source: Source) -> Edits:
    """The gradients of a model that this step does not train are bounded."""
    models = {text_of(node.targets[0]) for _, _, node in source.models}
    for act in source.of("clip"):
        subject = act.subject.removesuffix(".parameters()")
        for other in sorted(models - {subject})[:1]:
            if subject in models:
                draft = source.draft()
                draft.replace(act.call.args[0], f"{other}.parameters()")
                yield draft


@operator("drop")
def _drop_last_window(source: Source) -> Edits:
    """The gradients of the last, shorter window of an epoch go into the next epoch's first step."""
    for _, place in source.places:
        test = place.node.test if isinstance(place.node, ast.If) else None
        if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.Or) and "%" in text_of(test):
            draft = source.draft()
            draft.replace(test, text_of(test.values[0]))
            draft.mark(place.node, *neighbours(place))
            yield draft
