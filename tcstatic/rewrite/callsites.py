"""The table of sites, for calls. Several rows may hold for one call; the first that does counts."""

from __future__ import annotations

import builtins
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from tcstatic.program.source import Argument, Call, ModuleFacts
from tcstatic.rewrite.sketch import Sketch
from tcstatic.rewrite.vocabulary import (
    ATTENTION,
    CONTAINER_METHODS,
    DROPPING,
    FILLERS,
    GATHERINGS,
    HOOKS,
    LAYERS,
    LOSSES,
    MAKERS,
    METHODS,
    MOVERS,
    NORMALISED,
    OTHER_LIBRARIES,
    PARALLEL,
    QUERIES,
    REDUCTIONS,
    SAVES,
    TENSOR_METHODS,
    WRAPPERS,
)

_BUILTINS: Final = frozenset(dir(builtins))
_LIBRARIES: Final = (OTHER_LIBRARIES | sys.stdlib_module_names) - {"copy"}
# What layers are called that a model may end with.
_ACTIVATION: Final = re.compile("(^|_)act|softmax|sig(?!n)|prob")
_LITERALS: Final = ('"', "'", "[", "{", "(", 'f"', "f'")


def call_sites(call: Call, facts: ModuleFacts) -> Iterator[Sketch]:
    """The sites at one call, by the first row of the table that it meets."""
    function = is_function(call, facts)
    if "clip_grad" in call.name and (function or call.name not in METHODS):
        yield from _clip(call)
    elif call.callee in DROPPING:
        yield from _dropout(call)
    elif operation := _operation(call):
        yield _after(call, "call", operation)
    elif call.callee in SAVES or _initialises(call):
        yield from _saved_or_made(call)
    elif call.callee == "torch.autograd.backward":
        yield _on(call, "loss.backward", callee=True)
        yield _after(call, "loss.backward")
    elif is_method(call, function):
        yield from _method(call)
    elif may_call_model(call, facts):
        yield _on(call, "model.forward", callee=True)
        dropped = {"result": "dropped"} if call.result == "dropped" else {}
        yield _after(call, "model.forward", dropped)
    elif kind := _value_kind(call, function):
        brought = [*_brought_together(call, kind)]
        yield from brought
        brings = {"brings": call.name} if brought and call.name != "reduce" else {}
        yield _after(call, kind, _literals(call) | brings)
    elif _is_activation(call):
        yield _after(call, "call", {"makes": call.name})


def _saved_or_made(call: Call) -> Iterator[Sketch]:
    yield _on(call, "model.save" if call.callee in SAVES else "call", callee=True)
    if call.callee not in SAVES:
        yield _after(call, "call", {"fills": call.name})


def _initialises(call: Call) -> bool:
    """Whether a function of ``torch.nn.init`` writes to a tensor."""
    return call.callee.startswith("torch.nn.init.") and call.name.endswith("_")


def is_function(call: Call, facts: ModuleFacts) -> bool:
    """Whether a call is one of a module's function, as opposed to a method of an object."""
    if call.receiver is None:
        return True
    if not call.resolved:
        return False
    holder = call.callee.rpartition(".")[0]
    return holder in facts.modules or (holder.startswith("torch") and holder.islower())


def is_library(call: Call) -> bool:
    """Whether a call is known to be one of a library that holds nothing to train."""
    return call.resolved and call.callee.partition(".")[0] in _LIBRARIES


def is_method(call: Call, function: bool) -> bool:
    """Whether a call is a method that training knows by its name, or one that works in place."""
    if function or is_library(call) or call.receiver_text.startswith("super("):
        return False
    if call.receiver_text.startswith(_LITERALS):
        return call.receiver_text.startswith("(") and call.name in METHODS
    in_place = call.name.endswith("_") and not call.name.endswith("__") and len(call.name) > 1
    return call.name in METHODS or in_place


def may_call_model(call: Call, facts: ModuleFacts) -> bool:
    """Whether what is called may be a model: a value with no known definition, outside of a
    module's own ``forward`` (there, the outermost call has been seen already).

    The name may be upper-case: the models of a GAN are often called ``G`` and ``D``.
    """
    if call.resolved or not call.callee_text or call.place in ("decorator", "raise", "except"):
        return False
    if call.function.rpartition(".")[2] == "forward" or call.receiver_text.startswith("super("):
        return False
    name = call.name
    if name in facts.defined and call.receiver is None:
        return False
    if call.receiver_text.startswith(_LITERALS) and not call.receiver_text.startswith("("):
        return False
    if name in TENSOR_METHODS and name not in MOVERS:
        return call.receiver_text == "self"  # an attribute of `self` may be called anything
    known = (CONTAINER_METHODS, MOVERS, WRAPPERS, PARALLEL, _BUILTINS)
    return not any(name in names for names in known) and not name.startswith("__")


def _method(call: Call) -> Iterator[Sketch]:
    kind = METHODS.get(call.name)
    if kind == "model.save":
        yield _after(call, kind, {"keeps": call.receiver_text})
        return
    if kind is None:
        written = call.receiver_text.endswith((".grad", ".grad.data", ".grad.detach()"))
        kind = "grad.write" if written else "call"
    yield _on(call, kind)
    fills = {"fills": call.name} if kind == "call" and call.name in FILLERS else {}
    told = _after(call, kind, _literals(call) | fills)
    yield replace(told, subject=call.receiver_text)
    state = _argument(call, ("state_dict",), 0) if call.name == "load_state_dict" else None
    if state and not state.literal:
        whose = state.text.removesuffix(".state_dict()")
        keeps = {"keeps": whose} if whose != state.text else {}
        strict = _argument(call, ("strict",), 1)
        lenient = {"strict": "False"} if strict and strict.text == "False" else {}
        yield _value(call, state, kind, "state", keeps | lenient)


def _clip(call: Call) -> Iterator[Sketch]:
    yield _on(call, "grad.clip", callee=True)
    yield _after(call, "grad.clip", _literals(call))
    limit = _argument(call, ("max_norm", "clip_value"), 1)
    if limit:
        text = {"max_norm": limit.text} if limit.literal else {}
        yield _value(call, limit, "grad.clip", "max_norm", text)


def _dropout(call: Call) -> Iterator[Sketch]:
    if call.callee == ATTENTION:
        yield from _attention(call)
        return
    training = _argument(call, ("training",), 2)
    spread = any(argument.keyword in ("*", "**") for argument in call.arguments)
    said = "<expression>" if spread else "<absent>"
    if training:
        known = training.literal or training.text.endswith(".training")
        said = training.text if known else "<expression>"
        if not known:
            yield _value(call, training, "call", "training", {})
    rate = _argument(call, ("p",), 1)
    if rate and "training" in rate.text:
        said = "<expression>"
    own = {"rate": rate.text} if rate and rate.text.startswith("self.") else {}
    yield _after(call, "call", {"training": said, **own})


def _attention(call: Call) -> Iterator[Sketch]:
    """The rate at which an attention drops, where it asks for no mode; `line` is the call's."""
    rate = _argument(call, ("dropout_p",), 4)
    if rate and rate.text not in ("0", "0.0") and "training" not in rate.text:
        said = {"training": rate.text, "line": str(call.span.line)}
        yield _value(call, rate, "call", "dropout_p", said)


def _operation(call: Call) -> dict[str, str]:
    """What makes a loss or the input of one, by whichever name: noted where a graph is read."""
    if call.place in ("decorator", "raise", "except") or is_library(call):
        return {}
    if call.name in HOOKS and call.receiver is not None:
        return {"hooks": call.name}
    if call.callee in LAYERS:
        return {"layer": LAYERS[call.callee]}
    if call.name in NORMALISED and (call.receiver is not None or call.resolved):
        return {"makes": call.name}
    if call.callee in LOSSES:
        return {"makes": call.name}
    kept = call.result in ("assigned", "returned") and call.receiver is not None
    if call.name in ("mean", "sum") and kept and call.function.rpartition(".")[2] != "forward":
        return {"makes": call.name}
    return {}


def _is_activation(call: Call) -> bool:
    """Whether a layer that a model may end with is called, by its name, in a ``forward``."""
    inside = call.function.rpartition(".")[2] == "forward" and call.receiver_text == "self"
    return inside and _ACTIVATION.search(call.name) is not None


def _value_kind(call: Call, function: bool) -> str:
    """The kind of event that the value of a call is, or '' for a call that is no site."""
    if call.place in ("decorator", "raise", "except") or is_library(call) or not call.name:
        return ""
    if call.callee.startswith("torch.distributed.") and call.name.islower():
        known = _collective(call)
        if known:
            return known
    if call.callee == "copy.deepcopy" or call.callee in MAKERS:
        return "model.new"
    if call.name in WRAPPERS and call.callee not in _BUILTINS and call.callee != "re.compile":
        return "wrap.new"
    if call.name.lstrip("_")[:1].isupper():
        return "" if call.callee in _BUILTINS else _class_kind(call)
    return "model.new" if _makes_something(call, function) else ""


def _collective(call: Call) -> str:
    if call.name == "init_process_group":
        return "dist.init"
    if call.callee == f"torch.distributed.{call.name}" and call.name not in QUERIES:
        return "dist.collective"
    return ""


def _brought_together(call: Call, kind: str) -> Iterator[Sketch]:
    """The tensor that all ranks bring together, each its own; or what all of them get, with the
    group, and what they must ask for alike (`by`: an operation, or a root)."""
    if kind != "dist.collective" or call.name not in REDUCTIONS | GATHERINGS:
        return
    given = _argument(call, ("tensor", "tensor_list", "output_tensor"), 0)
    if given is None or given.literal:
        return
    group = _argument(call, ("group",), 3 if call.name == "reduce" else 2)
    own = call.name in REDUCTIONS and group is None
    told = {"operation": call.name}
    by = _argument(call, ("op", "src"), 1) if call.name in ("all_reduce", "broadcast") else None
    if any(one.keyword in ("*", "**") for one in call.arguments):
        told["by"] = "?"
    elif by is None:
        told |= {"by": "SUM"} if call.name == "all_reduce" else {}
    elif by.literal or by.text.rpartition(".")[2].isupper():
        told["by"] = by.text.rpartition(".")[2]
    yield _value(call, given, kind, "reduced" if own else "gathered", told)
    if by is not None and "by" not in told:
        yield _value(call, by, kind, "by", told)
    if group is not None and not group.literal:
        yield _value(call, group, kind, "group", told)


def _class_kind(call: Call) -> str:
    if call.callee.startswith("torch.optim.lr_scheduler."):
        return "scheduler.new"
    if call.callee.startswith("torch.optim."):
        return "optimizer.new"
    if call.name in PARALLEL:
        return "wrap.new"
    if call.name == "DataLoader":
        return "loader.new"
    return "sampler.new" if call.name.endswith("Sampler") else "model.new"


def _makes_something(call: Call, function: bool) -> bool:
    """Whether the value of a call is kept outside of loops, and may be a model or an optimizer."""
    if (
        call.result in ("", "dropped")
        or call.loops
        or call.function.rpartition(".")[2] == "forward"
    ):
        return False
    if function:
        tensors = call.callee.startswith("torch.") and call.callee not in MAKERS
        return not (tensors or call.callee in _BUILTINS or call.name.startswith("__"))
    if call.receiver_text.startswith(_LITERALS):
        return False
    return call.name not in TENSOR_METHODS and call.name not in CONTAINER_METHODS


def _on(call: Call, kind: str, callee: bool = False) -> Sketch:
    if callee or call.receiver is None:
        return Sketch("on", kind, call.callee_span, call.function, call.callee, call.callee_text)
    return Sketch("on", kind, call.receiver, call.function, call.callee, call.receiver_text)


def _after(call: Call, kind: str, arguments: Mapping[str, str] | None = None) -> Sketch:
    function, callee, text = call.function, call.callee, call.callee_text
    return Sketch("after", kind, call.span, function, callee, text, "", arguments or {})


def _value(
    call: Call, argument: Argument, kind: str, attribute: str, arguments: Mapping[str, str]
) -> Sketch:
    function, callee = call.function, call.callee
    return Sketch(
        "after", kind, argument.span, function, callee, argument.text, attribute, arguments
    )


def _argument(call: Call, names: tuple[str, ...], position: int) -> Argument | None:
    """An argument by keyword, else by its 0-based position where no star stands before it."""
    for argument in call.arguments:
        if argument.keyword in names:
            return argument
    positional = []
    for argument in call.arguments:
        if argument.keyword == "*":
            break
        if not argument.keyword:
            positional.append(argument)
    return positional[position] if len(positional) > position else None


def _literals(call: Call) -> dict[str, str]:
    """Keyword arguments that are literals, and positional ones by their index, as text."""
    found: dict[str, str] = {}
    for index, argument in enumerate(call.arguments):
        if argument.keyword == "*":
            break
        if argument.literal and argument.keyword != "**":
            found[argument.keyword or str(index)] = argument.text
    return found
