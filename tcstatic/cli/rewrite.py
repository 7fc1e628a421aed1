"""``tcstatic rewrite``: the instrumented copy, for any launcher."""

from __future__ import annotations

from typing import Any

import click

from tcstatic.cli.options import explain_plan, named, planning, running, watching


@click.command()
@click.argument("script", metavar="SCRIPT")
@click.option(
    "-o",
    "output",
    metavar="DIR",
    callback=named,
    help="The folder for the copy; new or empty, or that of an earlier copy.",
)
@click.option("--show-rewrite", is_flag=True, help="Print the instrumented source.")
@click.option("--diff", is_flag=True, help="Print what was inserted, as a diff.")
@click.option(
    "--calls",
    is_flag=True,
    help="Probe calls as well, as `run --trace` does, for a copy that TCSTATIC_TRACE records.",
)
@watching
def rewrite(
    script: str,
    output: str | None,
    show_rewrite: bool,
    diff: bool,
    calls: bool,
    **options: Any,
) -> int:
    """Write an instrumented copy of SCRIPT and its local modules.

    The copy runs under any launcher (python, torchrun, accelerate launch) without a command of
    tcstatic, and trains on where tcstatic is not installed.
    """
    from pathlib import Path

    from tcstatic import pipeline
    from tcstatic.report import named_once

    if output is None and not (show_rewrite or diff or options["explain"]):
        expected = "expected -o DIR, --show-rewrite, --diff or --explain"
        raise click.UsageError(f"nothing to do; {expected}")
    request = pipeline.request_for_script(script, **planning(options), calls=calls)
    pipeline.check_readable(script)
    plan = pipeline.make_plan(request, running(options))
    for shown, as_diff in ((show_rewrite, False), (diff, True)):
        for name, text in pipeline.shown_rewrite(plan, as_diff=as_diff) if shown else ():
            if not as_diff:
                click.echo(f"# {name}", err=True)
            click.echo(text, nl=not text.endswith("\n"))
    if output is not None:
        pipeline.write_copy(plan, Path(output))
    if options["explain"]:
        explain_plan(plan)
    for skipped in plan.skipped:
        line = named_once(skipped.path, skipped.reason)
        click.echo(f"tcstatic: file left alone: {line}", err=True)
    return 0
