"""``tcstatic rules``: what is checked."""

from __future__ import annotations

import click


@click.command(short_help="List all rules, and which commands decide them.")
@click.option(
    "--output-format", type=click.Choice(["text", "json"]), default="text", show_default=True
)
def rules(output_format: str) -> int:
    """List all rules: code, name, severity, and which commands decide them."""
    from tcstatic.lint.own_rules import USELESS
    from tcstatic.lint.ruleset import every_rule
    from tcstatic.report.rulepage import rule_data

    every = (USELESS, *every_rule())
    if output_format == "json":
        import json

        click.echo(json.dumps([rule_data(one) for one in every], indent=2))
        return 0
    width = max(len(one.name) for one in every)
    for one in every:
        feeds = ", ".join(one.feeds)
        fix = f"; fix {one.fix}" if one.fix else ""
        click.echo(f"{one.code}  {one.name:<{width}}  {one.severity:<7}  {feeds}{fix}")
    return 0
