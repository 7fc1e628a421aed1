"""What every call of a program was seen to be: a run of the abstract machine, written down.

A call that was never reached, or that a limit cut short, is not told of; a value that the source
does not tell stays unknown. So what is said of a call holds each time that it is evaluated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, final

from tcstatic.program.paths import lookup
from tcstatic.program.paths.exploring import run_body
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.plain import (
    DATA,
    HANDING,
    PLAIN_METHODS,
    is_as_written,
    is_harmless_base,
    is_known,
    is_library_method,
    is_partial,
    is_plain_object,
    is_plain_path,
)
from tcstatic.program.paths.project import Module, Project
from tcstatic.program.paths.tree import Happening
from tcstatic.program.paths.values import (
    Bound,
    Class,
    Const,
    External,
    Function,
    Listing,
    ModuleRef,
    Node,
    Object,
    Phi,
    Unknown,
    Value,
    options,
)
from tcstatic.program.source import Span, syntax

# Expressions that are looked at: beyond that, nothing is said of the program.
EFFORT: Final = 30_000
# What happens at a probe's place, as opposed to what is only noted of the source.
_EVENTS: Final = frozenset(
    """model.forward loss.backward optimizer.step optimizer.zero_grad grad.clip scaler.scale
    scaler.unscale scaler.step scaler.update""".split()
)
Key = tuple[Path, int, int, int, int]


@final
@dataclass(slots=True)
class Walked:
    """What a ``for`` iterates over; `tame`: going on in it runs nothing of the program."""

    module: Module
    node: syntax.expr
    tame: bool = True

    @property
    def span(self) -> Span:
        """Its range."""
        return self.module.text.span(self.node)


@final
@dataclass(slots=True)
class Seen:
    """A call: what was called and what came back, evaluation by evaluation.

    `receivers` are what its method is of; `layers` the classes of the models that were being made
    meanwhile, `around` the calls of models that were going on, outermost first; `quiet` says that
    nothing that a probe tells of can have happened in it; `cut` that it may have been evaluated in
    ways that nobody saw.
    """

    module: Module
    node: syntax.Call
    callees: list[Value | None] = field(default_factory=list)
    receivers: list[Value | None] = field(default_factory=list)
    results: list[Value] = field(default_factory=list)
    layers: list[syntax.ClassDef | None] = field(default_factory=list)
    around: list[Key | None] = field(default_factory=list)
    quiet: bool = True
    cut: bool = False

    @property
    def span(self) -> Span:
        """Its range."""
        return self.module.text.span(self.node)


@final
class Recorder:
    """Is told by a machine of calls and loops; `noise` counts what may be an event of training."""

    def __init__(self) -> None:
        self.calls: dict[Key, Seen] = {}
        self.loops: dict[Key, Walked] = {}
        self.noise = 0
        self._plain: set[int] = set()
        self._opaque: set[int] = set()
        self._cut: set[syntax.AST] = set()
        self._callees: dict[syntax.AST, set[syntax.AST]] = {}
        self._bodies: dict[syntax.AST, set[Key]] = {}
        self._optimizing: set[syntax.ClassDef] = set()

    # -- told by the machine --------------------------------------------------------------------

    def called(
        self,
        m: Machine,
        node: syntax.Call,
        receiver: Value | None,
        callee: Value | None,
        arguments: tuple[Value, ...],
        keywords: Mapping[str, Value],
    ) -> None:
        """A call is about to happen; without a `callee` it is a method of a library's class, or an
        attribute that nobody has set."""
        if callee is None and not is_library_method(receiver, node):
            callee = Unknown("attribute")
        key = _key(m.frame.module, node)
        seen = self.calls.get(key)
        if seen is None:
            seen = self.calls[key] = Seen(m.frame.module, node)
            function = m.frame.function
            if function is not None:
                self._bodies.setdefault(function.node, set()).add(key)
        seen.callees.append(callee)
        seen.receivers.append(receiver)
        seen.around.append(_forward_around(m))
        handed = any(
            isinstance(one, Function | Bound | Class)
            for value in (*arguments, *keywords.values())
            for one in options(value)
        )
        if not self._is_quiet(m, receiver, callee, handed):
            self.noise += 1

    def returned(self, m: Machine, node: syntax.Call, result: Value, before: int) -> None:
        """A call gave `result`; `before` is the noise ahead of it."""
        seen = self.calls.get(_key(m.frame.module, node))
        if seen is None or not seen.callees:
            return  # super().method()
        seen.quiet = seen.quiet and self.noise == before
        if isinstance(result, Node):
            self._note_result(seen.callees[-1], result)
        leaves: list[Value] = []
        for one in options(result):
            if isinstance(one, Listing) and one.kind in ("list", "tuple"):
                held = lookup.items(m, one)
                leaves.extend(held or ([Unknown("items")] if lookup.is_open(m, one) else []))
            else:
                leaves.append(one)
            if isinstance(one, Object) and one.role == "optimizer":
                self._optimizing.update(_constructing(m))
        seen.results.extend(leaves)
        within = _constructing(m)
        seen.layers.append(within[0] if within else None)

    def iterated(self, m: Machine, node: syntax.expr, iterable: Value) -> None:
        """A loop begins over a value; a generator's body would run as it goes on."""
        module = m.frame.module
        walked = self.loops.setdefault(_key(module, node), Walked(module, node))
        walked.tame = walked.tame and all(self._is_tame(one) for one in options(iterable))

    def happened(self, happening: Happening) -> None:
        """The machine wrote a happening."""
        if happening.wild or happening.kind in _EVENTS:
            self.noise += 1

    def entered(self, m: Machine, function: Function) -> None:
        """A function's body is about to run."""
        caller = m.frame.function
        if caller is not None:
            self._callees.setdefault(caller.node, set()).add(function.node)

    def cut(self, function: Function) -> None:
        """A function was not followed this time: it may be called in ways that nobody saw."""
        self._cut.add(function.node)
        self.noise += 1

    def finish(self) -> None:
        """Everything was seen: calls in functions that were cut short count as cut, too."""
        waiting = list(self._cut)
        while waiting:
            one = waiting.pop()
            waiting.extend(self._callees.pop(one, ()))
            for key in self._bodies.pop(one, ()):
                self.calls[key].cut = True

    # -- asked afterwards -----------------------------------------------------------------------

    def is_part(self, seen: Seen) -> bool:
        """Whether each time a part of a model was made while that model itself was made."""
        return bool(seen.layers) and all(
            one is not None and one not in self._optimizing for one in seen.layers
        )

    def is_nested(self, seen: Seen) -> bool:
        """Whether each time a model was being called, by a call of the model itself."""
        outer = [self.calls.get(key) if key is not None else None for key in seen.around]
        return bool(outer) and all(
            one is not None
            and not one.cut
            and all(
                isinstance(option, Object) and option.role == "model"
                for callee in one.callees
                for option in (options(callee) if callee is not None else (None,))
            )
            for one in outer
        )

    def is_data(self, value: Value, depth: int = 12) -> bool:
        """Whether a value is a tensor, a number and the like, and so are its parts and methods."""
        if isinstance(value, Const):
            return value.value is not None
        if isinstance(value, Phi):
            return all(self.is_data(one, depth - 1) for one in options(value)) if depth else False
        if not isinstance(value, Node) or not depth:
            return isinstance(value, Object) and value.role in ("loader", "dataset")
        if value.number in self._opaque:
            return False
        if value.number in self._plain or value.op in DATA:
            return True
        if value.op.startswith(("call", "context")):
            return False
        return bool(value.inputs) and self.is_data(value.inputs[0], depth - 1)

    def is_plain(self, value: Value) -> bool:
        """Whether a value is known to be neither model nor optimizer."""
        if isinstance(value, Const | Function | Class | ModuleRef | Listing):
            return True  # a listing within a listing, which nobody looks into
        if isinstance(value, Object):
            return is_plain_object(value)
        return self.is_data(value)

    def is_method(self, value: Value | None, receiver: Value | None) -> bool:
        """Whether what is called is a function or a method, and so no model itself."""
        if value is None:
            return True
        if isinstance(value, Function):
            return is_as_written(value)
        if isinstance(value, Class):
            return True
        if isinstance(value, Bound):
            if value.method is not None:
                return is_as_written(value.method)
            return is_known(value.receiver)
        if isinstance(value, External):
            return is_plain_path(value.path)
        if isinstance(value, Object):
            return is_plain_object(value) and value.role not in ("partial", "region")
        return receiver is not None and isinstance(value, Node) and self.is_data(receiver)

    def is_scheduler(self, path: Path, node: syntax.Call) -> bool:
        """Whether each time a call was one of a method of torch's learning-rate schedulers."""
        seen = self.calls.get(_key_at(path, node))
        if seen is None or seen.cut or not seen.receivers or None in seen.receivers:
            return False
        return all(
            isinstance(one, Object)
            and isinstance(one.type, str)
            and one.type.startswith("torch.optim.lr_scheduler.")
            for value in seen.receivers
            if value is not None
            for one in options(value)
        )

    # -- deciding -------------------------------------------------------------------------------

    def _is_quiet(
        self, m: Machine, receiver: Value | None, callee: Value | None, handed: bool
    ) -> bool:
        if callee is None:
            return not handed
        return all(
            self._is_quiet_one(m, one, receiver, handed)
            for one in options(callee)
            if not (isinstance(callee, Phi) and isinstance(one, Const) and one.value is None)
        )

    def _is_quiet_one(
        self, m: Machine, callee: Value, receiver: Value | None, handed: bool
    ) -> bool:
        if isinstance(callee, Class):
            bases = lookup.ancestry(callee)
            return all(isinstance(one, Class) or is_harmless_base(one) for one in bases)
        if isinstance(callee, External):
            made = callee.path.startswith(("torch.nn.", "torch.optim.")) and (
                callee.path.rpartition(".")[2][:1].isupper()
            )
            handing = HANDING.fullmatch(callee.path) is not None
            return not handed and (made or handing or is_plain_path(callee.path))
        if isinstance(callee, Object):
            if callee.role in ("model", "loss"):
                return True
            own = callee.type
            return isinstance(own, Class) and isinstance(
                lookup.class_attribute(m, own, "__call__"), Function
            )
        if isinstance(callee, Function) or (
            isinstance(callee, Bound) and callee.method is not None
        ):
            return self.is_method(callee, receiver)
        if isinstance(callee, Bound) and isinstance(callee.receiver, Listing):
            return not handed
        return not handed and self.is_method(callee, receiver)

    def _note_result(self, callee: Value | None, result: Node) -> None:
        """Whether what a library gave is plain data; of other results, their inputs tell."""
        if self._gives_data(callee, result):
            self._plain.add(result.number)
        elif result.op != "parameter" and (
            isinstance(callee, External | Phi) or is_partial(callee)
        ):
            self._opaque.add(result.number)

    def _gives_data(self, callee: Value | None, result: Node) -> bool:
        if isinstance(callee, External):
            return is_plain_path(callee.path)
        library = callee is None or (isinstance(callee, Bound) and callee.method is None)
        return library and result.op.startswith("method:") and result.op[7:] in PLAIN_METHODS

    def _is_tame(self, iterable: Value) -> bool:
        if isinstance(iterable, Listing):
            made = iterable.place.node if iterable.place is not None else None
            return iterable.kind != "generator" and not isinstance(made, syntax.GeneratorExp)
        if isinstance(iterable, Node) and iterable.op in ("enumerate", "zip", "items", "range"):
            return all(self._is_tame(one) for part in iterable.inputs for one in options(part))
        if isinstance(iterable, Object):
            return iterable.role == "model" and isinstance(iterable.type, str)
        if isinstance(iterable, Node) and iterable.op in ("parameters", "named_parameters"):
            return True
        return self.is_data(iterable)


def _constructing(m: Machine) -> list[syntax.ClassDef]:
    """The classes of the models that are being made, outermost first, by a call in the source."""
    found = []
    for frame in m.frames:
        function, made = frame.function, frame.owner_self
        if (
            function is not None
            and isinstance(function.node, syntax.FunctionDef)
            and function.node.name == "__init__"
            and isinstance(made, Object)
            and made.role == "model"
            and isinstance(made.type, Class)
            and frame.at is not None
            and isinstance(frame.at.node, syntax.Call)
        ):
            found.append(made.type.node)
    return found


def _forward_around(m: Machine) -> Key | None:
    """The outermost call of a model that is going on, if it is one of the source."""
    for frame in m.frames:
        function = frame.function
        if function is None or not function.name.endswith(".forward"):
            continue
        if frame.at is None or not isinstance(frame.at.node, syntax.Call):
            return None
        return _key(frame.at.module, frame.at.node)
    return None


def _key(module: Module, node: syntax.expr) -> Key:
    return _key_at(module.path, node)


def _key_at(path: Path, node: syntax.expr) -> Key:
    last, end = node.end_lineno or node.lineno, node.end_col_offset or 0
    return (path, node.lineno, node.col_offset, last, end)


def record(root: Path, script: Path) -> Recorder | None:
    """Run a script's body abstractly, with all that it calls; None where a limit was reached.

    Raises InputError where the script cannot be read or parsed."""
    project = Project(root)
    module = project.module(script)
    machine = Machine(project)
    machine.limit = EFFORT
    machine.recorder = recorder = Recorder()
    module.main = True
    run_body(machine, module)
    recorder.finish()
    return None if machine.exhausted else recorder
