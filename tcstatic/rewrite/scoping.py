"""Sites that a run can do without: what the source decides is not asked again while it runs.

A site goes only where a reason is known; a call that was never reached, or that is not known even
once, keeps its sites.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, final

from tcstatic.model import Location, Site
from tcstatic.program.paths.recording import Recorder, Seen, record
from tcstatic.program.paths.values import Class, Const, External, Object, Phi, Value, options
from tcstatic.program.source import Call, Loop, ModuleFacts, Span
from tcstatic.rewrite.proving import ANSWERED
from tcstatic.rewrite.worlds import World

UNASKED: Final = "no rule asks what it gives"
ALONE: Final = "one process trains: there is no other to part from"
HOOKED: Final = "torch's own hook tells of this step"
MODELESS: Final = "no layer of this program behaves otherwise in evaluation"
LITERAL: Final = "the source tells its value"
NO_MODEL: Final = "what is called here is no model"
GIVES_NONE: Final = "it gives neither a model nor an optimizer"
PART: Final = "it is part of a model whose making is seen as a whole"
NESTED: Final = "the call of the model around it is seen as a whole"
SELF: Final = "the call gives its model back"
GIVEN: Final = "given"  # the attribute of sites of what models and losses are given
STILL_LOOP: Final = "nothing is trained or evaluated in this loop"
# Kinds of which a call's value tells nothing.
_UNASKED: Final = frozenset(
    """sampler.set_epoch dist.init dist.collective
    optimizer.step model.freeze model.move grad.write scaler.scale scaler.unscale scaler.step
    scaler.update""".split()
)
# Kinds whose receivers are looked at only to find where ranks part.
_PASSED: Final = frozenset("call scaler.update optimizer.new".split())
_MADE: Final = frozenset("model.new wrap.new optimizer.new model.load".split())
_TELLING: Final = frozenset({"makes", "layer", "fills", "hooks"})
_MODES: Final = frozenset({"model.train", "model.eval"})
_CONTAINERS: Final = frozenset(
    f"torch.nn.{name}" for name in ("Sequential", "ModuleList", "ModuleDict")
)


@final
class Scoping:
    """Tells why a site is not needed. `recorder`: what every call was seen to be, if that is known
    and holds (`World.steady`)."""

    def __init__(self, world: World, recorder: Recorder | None) -> None:
        self._world = world
        self._recorder = recorder if world.steady else None
        self._seen: dict[tuple[Path, Span], Seen] = {}
        self._walked: dict[tuple[Path, Span], bool] = {}
        self.answered: frozenset[str] = frozenset()
        if self._recorder is not None:
            for seen in self._recorder.calls.values():
                self._seen[seen.module.path, seen.span] = seen
            for walked in self._recorder.loops.values():
                self._walked[walked.module.path, walked.span] = walked.tame

    def split(
        self, path: Path, facts: ModuleFacts, sites: Sequence[Site]
    ) -> tuple[list[Site], list[tuple[Site, str]]]:
        """The sites of a file that a run needs, and the others, each with the reason."""
        file = _File(self, path, facts, sites)
        kept: list[Site] = []
        left: list[tuple[Site, str]] = []
        for site in sites:
            reason = file.reason(site)
            if reason:
                left.append((site, reason))
            else:
                kept.append(file.told(site))
        return kept, left

    def answer(self, kinds: frozenset[str]) -> None:
        """Nothing is asked any more of sites of these kinds."""
        self.answered = kinds

    # -- what is known of one call --------------------------------------------------------------

    def seen(self, path: Path, call: Call | None, facts: ModuleFacts) -> Seen | None:
        """What is known of a call, if it was reached and never cut short."""
        if call is None or facts.stars:
            return None
        seen = self._seen.get((path, call.span))
        return None if seen is None or seen.cut else seen

    def is_tame(self, path: Path, span: Span) -> bool:
        """Whether a loop goes over something that runs nothing of the program."""
        return self._walked.get((path, span), False)

    def gives_none(self, seen: Seen) -> bool:
        """Whether a call gives neither a model nor an optimizer, nor a few of them."""
        recorder = self._recorder
        if recorder is None or len(seen.results) < len(seen.callees):
            return False
        return self.is_resolved(seen) and all(
            recorder.is_plain(one) for value in seen.results for one in options(value)
        )

    def is_no_model(self, seen: Seen) -> bool:
        """Whether what is called is a function, a method, or an object that is no model."""
        recorder = self._recorder
        return recorder is not None and all(
            recorder.is_method(one, receiver)
            for callee, receiver in _pairs(seen)
            for one in (options(callee) if callee is not None else (None,))
        )

    def is_resolved(self, seen: Seen) -> bool:
        """Whether what a call does is as written: no decorator changes what it gives."""
        return self.is_no_model(seen) or all(
            isinstance(callee, External | Object) or callee is None for callee in seen.callees
        )

    def is_part(self, seen: Seen) -> bool:
        """Whether a call makes a layer, each time while the model around it is made."""
        if self._recorder is None or not self._recorder.is_part(seen):
            return False
        made = all(
            isinstance(one, Class) or (isinstance(one, External) and _is_layer(one.path))
            for one in seen.callees
        )
        return made and all(
            isinstance(one, Object) and one.role in ("model", "loss") for one in seen.results
        )

    def receivers(self, seen: Seen) -> list[Value]:
        """What the method of a call is of; empty where some of it is not known."""
        found = []
        for value in seen.receivers:
            for one in options(value) if value is not None else ():
                if not (isinstance(one, Const) and one.value is None):
                    found.append(one)
        known = all(isinstance(one, Object) for one in found)
        return found if known and None not in seen.receivers else []


def _is_told(site: Site) -> bool:
    """Whether a plain call's value says something: functional dropout, what makes a loss, fills a
    tensor or registers a hook."""
    return "dropout" in site.callee or bool(site.arguments.keys() & _TELLING)


@final
class _File:
    """One file whose sites are judged."""

    def __init__(
        self, scoping: Scoping, path: Path, facts: ModuleFacts, sites: Sequence[Site]
    ) -> None:
        self._scoping = scoping
        self._world = scoping._world
        self._path = path
        self._facts = facts
        self._values = {call.span: call for call in facts.calls}
        self._called = {call.callee_span: call for call in facts.calls}
        self._receivers = {call.receiver: call for call in facts.calls if call.receiver}
        self._givers = {a.span: call for call in facts.calls for a in call.arguments}
        self._loops = {loop.iterable: loop for loop in (*facts.loops, *facts.comprehensions)}
        self._layers = _layers_in_containers(facts, sites)

    def reason(self, site: Site) -> str:
        """Why a run needs no probe here, '' where it does."""
        span = _span(site.location)
        if site.kind in self._scoping.answered:
            return ANSWERED
        if site.probe == "after":
            return self._of_value(site, span)
        if site.probe == "target":
            inert = self._world.alone and site.attribute not in ("grad", "requires_grad")
            fills = site.attribute == "data" and site.arguments.get("action") == "assign"
            return ALONE if inert and not fills else ""
        if site.probe == "loop":
            return STILL_LOOP if self._is_still(self._loops.get(span)) else ""
        return self._of_receiver(site, span)

    def told(self, site: Site) -> Site:
        """A site that is kept; where its value stands for the receiver as well, it says so."""
        if site.attribute == GIVEN:
            call = self._givers.get(_span(site.location))
            return replace(site, kind="loss.forward") if self._is_of_loss(call) else site
        if site.probe == "after" and site.kind == "model.forward" and self._is_loss(site):
            return replace(site, kind="call", arguments={"makes": "loss"})
        if site.probe != "after" or site.kind not in _MODES:
            return site
        if not self._of_self(self._values.get(_span(site.location))):
            return site
        return replace(site, arguments={**site.arguments, "gives": "self"})

    def _of_value(self, site: Site, span: Span) -> str:
        kind = site.kind
        if site.attribute == GIVEN:
            return self._of_given(site, self._givers.get(span))
        if kind == "dist.collective" and (site.attribute or "brings" in site.arguments):
            return ALONE if self._world.alone else ""
        if site.attribute:
            rate = site.attribute == "dropout_p"
            literal = kind == "grad.clip" and site.attribute in site.arguments
            return LITERAL if literal else UNASKED if kind == "call" and not rate else ""
        call = self._values.get(span)
        if self._may_be_pipeline(kind, call):
            return ""
        if kind in _UNASKED or (kind == "call" and not _is_told(site)):
            return UNASKED
        if kind in _MODES:
            return self._of_mode(call)
        if kind == "model.forward":
            seen = self._scoping.seen(self._path, call, self._facts)
            if seen is not None and self._is_nested(seen):
                return NESTED
            other = seen is not None and self._is_other(seen)
            return NO_MODEL if other and not self._is_loss(site) else ""
        return self._of_made(kind, call) if kind in _MADE else ""

    def _of_made(self, kind: str, call: Call | None) -> str:
        """What may be a model or an optimizer."""
        if kind == "model.new" and call is not None:
            if call.span in self._layers:
                return PART
            if call.name.endswith("GradScaler"):
                return ""  # one that is switched off may have to be named
            if _loads_weights(call):
                return GIVES_NONE
        seen = self._scoping.seen(self._path, call, self._facts)
        if seen is None:
            return ""
        if kind == "model.new" and self._scoping.is_part(seen):
            return PART
        return GIVES_NONE if self._scoping.gives_none(seen) else ""

    def _may_be_pipeline(self, kind: str, call: Call | None) -> bool:
        """Whether a step may be that of a pipeline's schedule, which a batch is given to."""
        given = kind == "optimizer.step" and call is not None and call.arguments
        return bool(given) and not self._world.alone

    def _is_loss(self, site: Site) -> bool:
        """Whether a call is known to be one of a loss function's object: no model, which is seen
        only for what it gives."""
        return self._is_of_loss(self._values.get(_span(site.location)))

    def _of_given(self, site: Site, call: Call | None) -> str:
        """What a call gives to a model or a loss: asked where a first batch is fetched alone."""
        if self._world.passing:
            return UNASKED
        seen = self._scoping.seen(self._path, call, self._facts)
        if site.kind == "loss.forward" or seen is None:
            return ""
        if self._is_nested(seen):
            return NESTED
        return NO_MODEL if self._is_other(seen) and not self._is_of_loss(call) else ""

    def _is_of_loss(self, call: Call | None) -> bool:
        seen = self._scoping.seen(self._path, call, self._facts)
        if seen is None or not self._is_other(seen):
            return False
        called = [one for callee in seen.callees if callee is not None for one in options(callee)]
        return bool(called) and all(isinstance(o, Object) and o.role == "loss" for o in called)

    def _is_other(self, seen: Seen) -> bool:
        return self._scoping.is_no_model(seen) and self._scoping.gives_none(seen)

    def _of_receiver(self, site: Site, span: Span) -> str:
        kind = site.kind
        if kind in _PASSED:
            return ALONE if self._world.alone else ""
        if kind == "model.forward":
            seen = self._scoping.seen(self._path, self._called.get(span), self._facts)
            if seen is not None and self._is_nested(seen):
                return NESTED
            return NO_MODEL if seen is not None and self._scoping.is_no_model(seen) else ""
        if kind == "loader.next":
            return STILL_LOOP if self._is_still(self._loop_of(span)) else ""
        call = self._receivers.get(span)
        if kind in _MODES:
            return self._of_mode(call) or self._of_self(call)
        if kind == "optimizer.step" and self._world.alone:
            seen = self._scoping.seen(self._path, call, self._facts)
            return _of_step(self._scoping.receivers(seen)) if seen is not None else ""
        return ""

    def _of_mode(self, call: Call | None) -> str:
        """``train()`` and ``eval()``: of a model, where the mode matters."""
        if not self._world.alone:
            return ""
        if self._world.modeless:
            return MODELESS
        seen = self._scoping.seen(self._path, call, self._facts)
        if seen is None:
            return ""
        owners = self._scoping.receivers(seen)
        own = owners and all(isinstance(o, Object) and o.role == "" for o in owners)
        return NO_MODEL if own and self._is_other(seen) else ""

    def _of_self(self, call: Call | None) -> str:
        """torch's own ``train()`` and ``eval()`` give back what they were called on."""
        seen = self._scoping.seen(self._path, call, self._facts)
        if seen is None or not self._world.alone or any(one is not None for one in seen.callees):
            return ""
        owners = self._scoping.receivers(seen)
        own = owners and all(isinstance(o, Object) and o.role == "model" for o in owners)
        return SELF if own else ""

    def _is_nested(self, seen: Seen) -> bool:
        """Whether a call stands within one of a model, each time, and gives no new model."""
        recorder = self._scoping._recorder
        if recorder is None or not recorder.is_nested(seen):
            return False
        return all(recorder.is_plain(one) for value in seen.results for one in options(value))

    def _loop_of(self, span: Span) -> Loop | None:
        """The loop whose items come from here, however deep in ``enumerate(zip(...))``."""
        around = [loop for loop in self._loops.values() if _within(span, loop.iterable)]
        return min(around, key=lambda loop: _size(loop.iterable), default=None)

    def _is_still(self, loop: Loop | None) -> bool:
        if loop is None or not self._scoping.is_tame(self._path, loop.iterable):
            return False
        first, last = loop.body
        inside = [
            call
            for call in self._facts.calls
            if call.function == loop.function
            and (first <= call.ordinal < last or _within(call.span, loop.iterable))
        ]
        return bool(inside) and all(self._is_quiet(call) for call in inside)

    def _is_quiet(self, call: Call) -> bool:
        seen = self._scoping.seen(self._path, call, self._facts)
        if seen is None or not seen.quiet:
            return False
        carried = any(isinstance(callee, Phi) for callee in seen.callees)
        return not carried or self._scoping.is_no_model(seen)


def recorded(script: Path, root: Path, world: World) -> tuple[Recorder | None, str]:
    """What every call of a program was seen to be, or why that is not known."""
    if not world.steady:
        return None, ""
    try:
        return record(root, script), ""
    except Exception as error:
        return None, f"{type(error).__name__}: {error}"


def _of_step(owners: Sequence[Value]) -> str:
    stock = all(
        isinstance(one, Object)
        and isinstance(one.type, str)
        and one.type.startswith("torch.optim.")
        and one.role == "optimizer"
        for one in owners
    )
    return HOOKED if owners and stock else ""


def _pairs(seen: Seen) -> Iterable[tuple[Value | None, Value | None]]:
    return zip(seen.callees, seen.receivers, strict=True)


def _loads_weights(call: Call) -> bool:
    """Whether a call loads tensors, and nothing that has a behaviour."""
    safe = any(a.keyword == "weights_only" and a.text == "True" for a in call.arguments)
    return call.callee == "torch.load" and safe


def _is_layer(path: str) -> bool:
    return path.startswith("torch.nn.") and path.rpartition(".")[2][:1].isupper()


def _layers_in_containers(facts: ModuleFacts, sites: Iterable[Site]) -> Mapping[Span, Call]:
    """Layers written as arguments of a container of torch's, which is seen as a whole."""
    known = {_span(s.location) for s in sites if s.probe == "after" and s.kind == "model.new"}
    by_span = {call.span: call for call in facts.calls if call.resolved}
    return {
        argument.span: by_span[argument.span]
        for call in facts.calls
        if call.resolved and call.callee in _CONTAINERS and call.span in known
        for argument in call.arguments
        if argument.span in by_span and _is_layer(by_span[argument.span].callee)
    }


def _span(where: Location) -> Span:
    return Span(where.line, where.column, where.end_line, where.end_column)


def _within(inner: Span, outer: Span) -> bool:
    begins = (outer.line, outer.column) <= (inner.line, inner.column)
    return begins and (inner.end_line, inner.end_column) <= (outer.end_line, outer.end_column)


def _size(span: Span) -> tuple[int, int]:
    return (span.end_line - span.line, span.end_column - span.column)
