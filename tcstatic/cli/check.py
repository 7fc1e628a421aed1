"""``tcstatic check``: recorded runs against rules and invariants."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tcstatic.cli.options import judging, words


@click.command(short_help="Judge what was recorded by rules and invariants.")
@click.argument("traces", metavar="TRACE...", nargs=-1, required=True)
@judging
@click.option(
    "--output-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="What is printed on stdout: the text, or the report as json.",
)
def check(traces: tuple[str, ...], output_format: str, **options: Any) -> int:
    """Judge what `tcstatic run --trace TRACE` has recorded, as the run itself would have.

    Nothing of the program is run. Exit codes: 0 clean, 1 findings (a note is none), 2 a usage or
    input error.
    """
    from tcstatic import pipeline
    from tcstatic.report import check_path, full_text, to_json, write
    from tcstatic.report.lines import shown

    for path in options["report"]:
        check_path(Path(path))
    request = pipeline.Request(
        script="",
        root="",
        rules=options["rules"],
        invariants=options["invariants"],
        select=words(options["select"]),
        ignore=words(options["ignore"]),
    )
    report = pipeline.check(traces, request)
    for path in options["report"]:
        write(report, Path(path))
    if output_format == "json":
        click.echo(to_json(report), nl=False)
    else:
        # What a recording and rules say may be anybody's text.
        click.echo("\n".join(map(shown, full_text(report).split("\n"))), nl=False)
    return report.exit_status or 0
