"""Gradients of sharded models that are clipped by the norm of one rank's shard.

What is looked at is the text of one file. ``FullyShardedDataParallel`` keeps plain tensors, of
which each rank holds a part, so that only its own method knows the norm of all of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, final

from tcstatic.program.paths import wording
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.facts.scopes import Scope, scopes
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import Module, title_around
from tcstatic.program.paths.tree import Block
from tcstatic.program.paths.values import Place
from tcstatic.program.source import syntax

_WORTH: Final = re.compile(r"FullyShardedDataParallel")
# Parameters that are whole on each rank, or whose norm knows of all ranks.
_OTHERWISE: Final = re.compile(r"NO_SHARD|fully_shard\(|summon_full_params|DTensor|ignored_\w+ *=")
_CLIPS: Final = frozenset({"clip_grad_norm_", "clip_grad_norm"})
_UTILS: Final = re.compile(r"(^|\.)(utils|clip_grad)$")
_KEEPS: Final = frozenset({"to", "cuda", "train", "compile"})
_ROUNDS: Final = 4
_Found = tuple[syntax.Call, str, bool]


@surveys
def sharding(m: Machine, block: Block) -> None:
    """``of_a_shard`` of the call that clips."""
    for module, (call, name, assumed) in wording.found(block, _WORTH, _in_module):
        place = Place(module, call, title_around(module.tree, call.lineno))
        tell(block, "of_a_shard", place, assumed=assumed, name=name)


def _in_module(module: Module) -> Iterator[_Found]:
    if _OTHERWISE.search(module.text.text):
        return
    every = scopes(module)
    wrapped = _Wrapped(module, every)
    clips: list[_Found] = []
    for scope in every:
        for statement in scope.own:
            for call in wording.calls(statement):
                if wording.called(call) not in _CLIPS or not call.args:
                    continue
                if not _is_of_utils(call):
                    return  # the model's own method: somebody chooses between the two
                name = _whose(scope, call.args[0], call.lineno)
                if wrapped.holds(scope, name) and not _endless(call):
                    clips.append((call, name, wrapped.doubtful))
    yield from clips


def _is_of_utils(call: syntax.Call) -> bool:
    holder = wording.name(getattr(call.func, "value", None))
    return isinstance(call.func, syntax.Name) or bool(_UTILS.search(holder))


def _endless(call: syntax.Call) -> bool:
    """Whether the bound is infinite: only the norm is asked for."""
    return "inf" in " ".join(syntax.unparse(one) for one in call.args[1:2])


def _whose(scope: Scope, given: Any, line: int) -> str:
    """The name of the model whose parameters are given."""
    for _ in range(_ROUNDS):
        if isinstance(given, syntax.Call) and wording.called(given) == "parameters":
            return wording.name(getattr(given.func, "value", None))
        if isinstance(given, syntax.Call) and wording.called(given) == "list" and given.args:
            given = given.args[0]
        elif wording.name(given):
            given = scope.bound(wording.name(given), line)
    return ""


@final
class _Wrapped:
    """The names of models that are sharded, of each function; attributes of ``self`` count in all
    of them. `doubtful` says that something decides whether one is."""

    def __init__(self, module: Module, every: list[Scope]) -> None:
        self.doubtful = False
        self._names: set[tuple[int, str]] = set()
        self._every = every
        self._gives: set[str] = set()
        self._wraps = _imported(module)
        for _ in range(_ROUNDS):
            for scope in every:
                self._look(scope)

    def holds(self, scope: Scope, name: str) -> bool:
        """Whether a name stands for a model that is sharded."""
        if name.startswith("self."):
            return (0, name) in self._names
        if (id(scope.node), name) in self._names:
            return True
        local = name in scope.binds or name in scope.parameters
        outer = scope.outer
        return not local and outer is not None and (id(outer.node), name) in self._names

    def _look(self, scope: Scope) -> None:
        for name, bound in scope.binds.items():
            last = bound[-1]
            found = [one for one, value in bound if self._is_wrapped(scope, value)]
            if not found:
                continue
            self._names.add((0 if name.startswith("self.") else id(scope.node), name))
            if last[0] is not found[-1] or found[-1] not in scope.node.body:
                self.doubtful = True
        for one in scope.own:
            if isinstance(one, syntax.Return) and self._is_wrapped(scope, one.value):
                self._gives.add(getattr(scope.node, "name", ""))
            for call in wording.calls(one):
                self._hand_on(scope, call)

    def _hand_on(self, scope: Scope, call: syntax.Call) -> None:
        """What a function of this file is given."""
        for other in self._every:
            if not isinstance(call.func, syntax.Name) or call.func.id != getattr(
                other.node, "name", None
            ):
                continue
            pairs = [*zip(other.parameters, call.args, strict=False)]
            pairs += [(one.arg or "", one.value) for one in call.keywords]
            for name, given in pairs:
                if self._is_wrapped(scope, given) and name not in other.binds:
                    self._names.add((id(other.node), name))

    def _is_wrapped(self, scope: Scope, value: Any) -> bool:
        while isinstance(value, syntax.Call) and wording.called(value) in _KEEPS:
            holder = getattr(value.func, "value", None)
            value = value.args[0] if wording.called(value) == "compile" and value.args else holder
        if isinstance(value, syntax.Call):
            return wording.called(value) in self._wraps or (
                isinstance(value.func, syntax.Name) and value.func.id in self._gives
            )
        return bool(wording.name(value)) and self.holds(scope, wording.name(value))


def _imported(module: Module) -> set[str]:
    """The names under which the wrapper goes in a file."""
    found = {"FullyShardedDataParallel"}
    for node in syntax.walk(module.tree):
        if isinstance(node, syntax.ImportFrom) and "fairscale" not in (node.module or ""):
            found |= {
                one.asname
                for one in node.names
                if one.name == "FullyShardedDataParallel" and one.asname
            }
    return found
