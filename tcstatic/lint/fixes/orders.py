"""Fixes that move a statement, or put one in, within one block."""

from __future__ import annotations

from tcstatic.lint.fixes.blocks import Place, dotted, method_calls
from tcstatic.model import Edit
from tcstatic.program.source import syntax

Edits = tuple[Edit, ...]


def insert_zero_grad(place: Place) -> Edits:
    """``optimizer.zero_grad()`` on the line behind the step."""
    call = place.node
    if not isinstance(call, syntax.Call) or not isinstance(call.func, syntax.Attribute):
        return ()
    name = dotted(call.func.value)
    if call.args and dotted(call.args[0]):
        name = dotted(call.args[0])  # scaler.step(optimizer)
    if call.func.attr != "step" or not name or call.keywords:
        return ()
    return (place.line_below(place.statement, f"{name}.zero_grad()"),)


def move_zero_grad(place: Place) -> Edits:
    """The clearing goes behind the last step of its block."""
    steps = [statement for statement in _steps(place) if place.alone(statement)]
    return _moved_below(place, steps[-1]) if steps else ()


def move_scheduler(place: Place) -> Edits:
    """The scheduler's step goes behind the last other step of its block."""
    steps = [one for one in _steps(place) if one is not place.statement and place.alone(one)]
    steps = [one for one in steps if one.lineno > place.statement.lineno]
    return _moved_below(place, steps[-1]) if steps else ()


def move_clip(place: Place) -> Edits:
    """The clipping goes in front of the first step of its block, if backward is before that."""
    backward = [one for one, _, _ in method_calls(place.block, lambda name: name == "backward")]
    steps = [one for one in _steps(place) if backward and one.lineno > backward[-1].lineno]
    if not steps or not place.alone(steps[0]):
        return ()
    if backward[-1].lineno < place.statement.lineno < steps[0].lineno:
        return ()
    edit = place.line_above(steps[0], place.whole_lines(place.statement))
    return (edit, place.without_line(place.statement))


def unscale_first(place: Place) -> Edits:
    """``scaler.unscale_(optimizer)`` on the line above the clipping."""
    for _, call, function in method_calls(place.block, lambda name: name == "step"):
        scaler = dotted(function.value)
        optimizer = dotted(call.args[0]) if len(call.args) == 1 else ""
        if scaler and optimizer and call.lineno > place.statement.lineno:
            return (place.line_above(place.statement, f"{scaler}.unscale_({optimizer})"),)
    return ()


def _steps(place: Place) -> list[syntax.stmt]:
    return [one for one, _, _ in method_calls(place.block, lambda name: name == "step")]


def _moved_below(place: Place, target: syntax.stmt) -> Edits:
    """Both edits, unless the statement stands there already or would leave an empty block."""
    if target.lineno <= place.statement.lineno:
        return ()
    edit = place.line_below(target, place.whole_lines(place.statement))
    return (place.without_line(place.statement), edit)
