"""Generated programs do the same while each of their calls is an event, and no summary fails."""

from __future__ import annotations

import builtins
import warnings
from dataclasses import replace

from hypothesis import given, settings

from tcstatic.model import Event, Needs, Rewritten
from tcstatic.program.source import read_module
from tcstatic.rewrite import compile_instrumented, every_site, instrument
from tcstatic.runtime.probes import Watch
from tests.properties.programs import PROGRAMS
from tests.properties.test_behaviour import PATH, did


@given(PROGRAMS)
@settings(max_examples=300)
def test_generated_programs_do_the_same(text: str) -> None:
    source = text.replace("while(", "if(").encode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            original = compile(source, str(PATH), "exec", dont_inherit=True)
        except SyntaxError:
            return
        every = every_site(read_module(PATH, source, ""), 1, recorded=True)
        calls = [site for site in every if "part" in site.arguments]
        sites = [replace(site, number=number) for number, site in enumerate(calls, 1)]
        outcome = instrument(PATH, source, sites)
        if isinstance(outcome, Rewritten):
            rewritten = compile_instrumented(source, outcome.text, str(PATH))
            expected = did(original)
            events: list[Event] = []
            watch = Watch(
                sites, ".", Needs(frozenset()), 1.0, events.extend, lambda: None, [str(PATH)]
            )
            builtins._tcstatic = watch  # type: ignore[attr-defined]
            try:
                assert did(rewritten) == expected
            finally:
                counts = watch.close()
                del builtins._tcstatic  # type: ignore[attr-defined]
            assert counts.disabled == ()
            for event in events:
                assert all(
                    isinstance(value, bool | int | float | str | None)
                    for value in event.values.values()
                )
