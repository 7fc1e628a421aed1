"""``tcstatic explain``: the page of one rule."""

from __future__ import annotations

import click


@click.command(short_help="Print the page of a rule.")
@click.argument("rule", metavar="CODE|NAME")
def explain(rule: str) -> int:
    """Print the page of a rule: what it finds, why that is bad, the cure, examples, its fix."""
    from tcstatic.errors import InputError, input_problem
    from tcstatic.lint.fixes import FIXES
    from tcstatic.lint.own_rules import REMOVE_SUPPRESSION, USELESS
    from tcstatic.lint.ruleset import every_rule
    from tcstatic.lint.settings import near
    from tcstatic.report.rulepage import rule_page

    every = {word: one for one in (USELESS, *every_rule()) for word in (one.code, one.name)}
    found = every.get(rule.upper()) or every.get(rule.lower())
    if found is None:
        cure = near(rule, tuple(every))
        problem = input_problem(
            "no such rule", got=repr(rule), expected="a code or a name", cure=cure
        )
        raise InputError(problem)
    kind = FIXES.get(found.fix)
    fix = ""
    if kind is not None:
        safety = "safe" if kind.safe else "unsafe: it changes what training computes"
        fix = f"`{found.fix}`: {kind.title} ({safety})."
    elif found.fix == REMOVE_SUPPRESSION:
        fix = f"`{found.fix}`: remove the comment (safe)."
    click.echo(rule_page(found, fix), nl=False)
    return 0
