"""``tcstatic run``: the script under checks."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NoReturn

import click

from tcstatic.cli.options import explain_plan, named, planning, running, watching


@click.command(
    # All that follows SCRIPT is the script's.
    context_settings={"allow_interspersed_args": False},
)
@watching
@click.option(
    "--trace",
    metavar="DIR",
    callback=named,
    help="Record every event into a new folder, for `check`, `infer` and `trace`. Every step is "
    "then watched in full, unless --overhead-budget is given.",
)
@click.option("-m", "is_module", is_flag=True, help="SCRIPT is the name of a module.")
@click.argument("script", metavar="SCRIPT")
@click.argument("arguments", metavar="[ARGS]...", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def run(
    ctx: click.Context,
    /,
    script: str,
    arguments: tuple[str, ...],
    is_module: bool,
    trace: str | None,
    **options: Any,
) -> Callable[[], NoReturn]:
    """Run SCRIPT with ARGS as python would, and watch its training.

    All that follows SCRIPT belongs to the script. Findings are printed on stderr when they are
    known, a summary at the end.
    """
    from tcstatic import pipeline

    # The script may change its folder.
    options["report"] = tuple(map(os.path.abspath, options["report"]))
    request_for = pipeline.request_for_module if is_module else pipeline.request_for_script
    request = request_for(script, **planning(options), calls=bool(trace))
    if trace and _is_default(ctx, "overhead_budget"):
        options["overhead_budget"] = 1.0
    asked = replace(running(options), trace=_trace_folder(trace))
    prepared = pipeline.prepare(request, asked)
    if prepared.problem:
        click.echo(f"tcstatic: not watched, planning failed: {prepared.problem}", err=True)
    if options["explain"]:
        explain_plan(prepared.plan)
    from tcstatic.runtime.live import run_module, run_script

    become = run_module if is_module else run_script
    return lambda: become(prepared.plan, [script, *arguments])


def _is_default(ctx: click.Context, name: str) -> bool:
    return ctx.get_parameter_source(name) == click.core.ParameterSource.DEFAULT


def _trace_folder(named: str | None) -> str:
    """Return the absolute path of a folder to record into, made if need be; '' for none."""
    if not named:
        return ""
    from pathlib import Path

    from tcstatic.trace import prepare_folder

    folder = Path(named).absolute()
    prepare_folder(folder)
    return str(folder)
