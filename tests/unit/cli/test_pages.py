"""`tcstatic explain` and `tcstatic rules`: every rule has its page, and is listed."""

from __future__ import annotations

import json
import re

import pytest

from tcstatic import cli
from tcstatic.lint.own_rules import USELESS
from tcstatic.lint.ruleset import every_rule
from tcstatic.report.rulepage import rule_page

HEADS = ("What it finds", "Why that is bad", "What to do", "Fix", "Who decides it", "Bad", "Good")


@pytest.mark.parametrize("word", ["TCS112", "tcs112", "gradients-not-cleared"])
def test_a_page(word: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain", word]) == 0
    page = capfd.readouterr().out
    assert page.startswith("# gradients-not-cleared (TCS112)\n")
    assert [head for head in HEADS if f"\n## {head}\n" in page] == list(HEADS)
    assert "## Look-alikes that are fine" in page
    assert "`insert-zero-grad`: clear the gradients after the step (unsafe" in page
    assert "- `# noqa: TCS112`, or `# tcstatic: allow gradients-not-cleared` with the re" in page
    assert "- for a whole `tcstatic run`: `--ignore TCS112`" in page
    assert "optimizer.step()  # TCS112, in step 1\n" in page
    assert "# expect" not in page
    assert "\n```\n\n" in page and not re.search(r"\n```\n[^\n]", page)


@pytest.mark.parametrize(("code", "ignored"), [("TCS502", True), ("TCS131", False)])
def test_a_comment_allows_what_a_run_finds_and_what_lint_does(
    capfd: pytest.CaptureFixture[str], code: str, ignored: bool
) -> None:
    assert cli.main(["explain", code]) == 0
    page = capfd.readouterr().out
    assert f"- `# noqa: {code}`, or `# tcstatic: allow " in page
    assert (f"`--ignore {code}`" in page) == ignored


def test_the_page_of_our_own_rule(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain", "useless-suppression"]) == 0
    assert "(safe)" in capfd.readouterr().out


def test_a_rule_that_is_not_there(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain", "TCS1112"]) == 2
    said = capfd.readouterr().err
    assert said.startswith("tcstatic: no such rule, got 'TCS1112'; expected a code or a name; did")
    assert said.count("\n") == 1


def test_every_rule_has_a_page() -> None:
    for rule in (USELESS, *every_rule()):
        page = rule_page(rule)
        assert rule.cure in page and rule.why in page


def test_the_list(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["rules"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [rule.code for rule in (USELESS, *every_rule())]
    assert cli.main(["rules", "--output-format", "json"]) == 0
    data = json.loads(capfd.readouterr().out)
    assert len(data) == len(lines)
    assert {"code", "name", "severity", "why", "cure", "feeds", "fix", "status"} <= set(data[0])
