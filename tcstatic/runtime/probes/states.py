"""What is done at the sites of states: where one is taken, loaded, saved, or made anew; where
what a tensor holds is written, and where hooks are registered. And where an attention is given its
rate of dropout: all of evaluation may lie where nothing else is watched."""

from __future__ import annotations

from types import FrameType
from typing import Any

from tcstatic.model import Site
from tcstatic.runtime.probes.budget import Budget
from tcstatic.runtime.probes.entry import Handler
from tcstatic.runtime.probes.parts import Parts


def handler_of(site: Site, parts: Parts, budget: Budget, saving: Handler) -> Handler | None:
    """What is done at a site that is one of a state, None at any other. On every step: the best
    state may be taken, and loaded, where nothing else is watched."""
    if "hooks" in site.arguments:
        return lambda handle, frame: parts.structure.piling.registered(handle, site)
    if "fills" in site.arguments:
        return lambda value, frame: parts.structure.initials.filled(value, site)
    if site.kind == "model.save" and site.probe == "on":
        return saving
    if site.kind == "model.save":
        return lambda state, frame: parts.kept.took(site, state)
    if site.kind == "model.move" and site.probe == "on":
        return lambda thing, frame: parts.ties.moved(thing, site.location)
    if site.kind == "model.load" and site.probe == "on":
        return _receiving(site, parts, budget)
    if site.kind == "model.load" and site.attribute:
        return _given(site, parts)
    if site.attribute == "dropout_p":
        return lambda rate, frame: parts.dropouts.given(site, rate, frame)
    return None


def _receiving(site: Site, parts: Parts, budget: Budget) -> Handler:
    def receives(thing: Any, frame: FrameType) -> None:
        if budget.watching:
            parts.replicas.passed(site)
        parts.structure.initials.loaded(thing, site.location)
        parts.kept.begins(thing)
        parts.structure.followers.receives(thing)
        parts.unmatched.begins(site, thing)

    return receives


def _given(site: Site, parts: Parts) -> Handler:
    def given(state: Any, frame: FrameType) -> None:
        if "keeps" in site.arguments:
            parts.kept.took(site, state)
        parts.kept.loads(site, state)
        parts.structure.followers.loads(state)
        parts.unmatched.loads(site, state)

    return given
