"""``tcstatic run``: the script under checks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

import click

from tcstatic.cli.options import planning, running, watching

if TYPE_CHECKING:
    from pathlib import Path


@click.command(
    # All that follows SCRIPT is the script's.
    context_settings={"allow_interspersed_args": False},
)
@watching
@click.option("-m", "is_module", is_flag=True, help="SCRIPT is the name of a module.")
@click.argument("script", metavar="SCRIPT")
@click.argument("arguments", metavar="[ARGS]...", nargs=-1, type=click.UNPROCESSED)
def run(
    script: str, arguments: tuple[str, ...], is_module: bool, **options: Any
) -> Callable[[], NoReturn]:
    """Run SCRIPT with ARGS as python would, and watch its training.

    All that follows SCRIPT belongs to the script. Findings are printed on stderr when they are
    known, a summary at the end.
    """
    from tcstatic import pipeline

    # The script may change its folder.
    options["report"] = tuple(map(os.path.abspath, options["report"]))
    request_for = pipeline.request_for_module if is_module else pipeline.request_for_script
    request = request_for(script, **planning(options))
    prepared = pipeline.prepare(request, running(options))
    if prepared.problem:
        click.echo(f"tcstatic: not watched, planning failed: {prepared.problem}", err=True)
    return lambda: _become(script, arguments, is_module, prepared.plan)


def _become(
    script: str, arguments: tuple[str, ...], is_module: bool, plan: Path | None
) -> NoReturn:
    if plan is None:
        # Nothing of ours can help any more, so nothing of ours shall be in the way.
        flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
        words = ["-m", script] if is_module else [script]
        os.execv(sys.executable, [sys.executable, *flags, *words, *arguments])
    from tcstatic.runtime.live.script import run_module, run_script

    if is_module:
        run_module(plan, script, arguments)
    run_script(plan, script, arguments)
