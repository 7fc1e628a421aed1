"""Rule files: a good one is read whole, and each way to be wrong gives one line with its place."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcstatic.errors import ConditionError, InputError, RuleError
from tcstatic.invariants.rules import load_rules, rule_files, rules_hash
from tcstatic.invariants.rules.files import MAX_BYTES
from tcstatic.model import Blame, Example

RULE = """\
code: TCS112
name: gradients-not-cleared
relation: order
that: {existence: optimizer.zero_grad, between: [optimizer.step, loss.backward]}
severity: error
message: "{optimizer} is stepped again at {site}"
why: Gradients of earlier batches add up,
  so every step follows a stale direction.
cure: Call optimizer.zero_grad() once per step.
unless: accumulating
blame:
  - {when: cleared_other_optimizer, at: optimizer.zero_grad}
  - at: loop.step
explains: [TCS204]
references: [torch.optim documentation]
examples:
  - bad: |
      for x, y in loader:
          step()  # expect: TCS112 step=1
    title: as found
  - good: "pass"
    ranks: 2
status: preview
"""


def support(held: object = 1, contexts: object = 1, runs: str = "[a]") -> str:
    """What an inferred rule rests on."""
    return f"support: {{held: {held}, contexts: {contexts}, excluded: 0, runs: {runs}}}"


@pytest.fixture
def rule(tmp_path: Path) -> Path:
    path = tmp_path / "TCS112.yaml"
    path.write_text(RULE, encoding="utf-8")
    return path


def test_a_rule_is_read_whole(rule: Path) -> None:
    (one,) = load_rules([rule])
    assert (one.code, one.name, one.relation) == ("TCS112", "gradients-not-cleared", "order")
    assert one.params == {
        "existence": "optimizer.zero_grad",
        "between": ["optimizer.step", "loss.backward"],
    }
    assert one.why.endswith("add up, so every step follows a stale direction.")
    assert one.precondition == "not (accumulating)"
    assert one.blame == (
        Blame("optimizer.zero_grad", "cleared_other_optimizer"),
        Blame("loop.step"),
    )
    assert one.explains == ("TCS204",)
    bad, good = one.examples
    assert bad == Example("bad", bad.text, "as found")
    assert bad.text.splitlines()[1] == "    step()  # expect: TCS112 step=1"
    assert good == Example("good", "pass", "", 2)
    assert one.source == f"{rule}:1"


def test_a_file_may_hold_a_list(tmp_path: Path) -> None:
    two = RULE.replace("TCS112\nname: g", "TCS111\nname: no-g", 1)
    text = "".join(
        ("- " if number == 0 else "  ") + line + "\n"
        for rule in (RULE, two)
        for number, line in enumerate(rule.splitlines())
    )
    (tmp_path / "all.yaml").write_text(text, encoding="utf-8")
    found = load_rules([tmp_path])
    assert [(one.code, one.source.rpartition(":")[2]) for one in found] == [
        ("TCS111", str(1 + len(RULE.splitlines()))),
        ("TCS112", "1"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("severity:", "severty:", 5, ["unknown key 'severty'", "did you mean 'severity'?"]),
        ("severity: error", "severity:", 5, ["'severity' is empty"]),
        ("severity: error", "severity: eror", 5, ["got 'eror'", "did you mean 'error'?"]),
        ("severity: error\n", "", 1, ["the key 'severity' is missing"]),
        ("severity: error", "severity: error\nseverity: error", 6, ["duplicate key 'severity'"]),
        ("severity: error", "severity: [error]", 5, ["got a list", "expected text"]),
        ("code: TCS112", "code: tcs112", 1, ["code, got 'tcs112'"]),
        ("name: gradients-not", "name: gradients_not", 2, ["name, got"]),
        ("that: {", "that: &a {", 4, ["anchors and aliases"]),
        ("that: {", "that: !!python/object:os.system {", 4, ["tag"]),
        ("unless: accumulating", "unless: accumulating ==", 10, ["no expression"]),
        ("unless: accumulating", "unless: no", 10, ["got False", "expected text"]),
        ("unless: accumulating", "unless: 2020-01-01", 10, ["timestamp", "in quotes"]),
        ("at: loop.step", "at: loop.stp", 13, ["unknown event kind", "did you mean 'loop.step'?"]),
        ("- at: loop.step", "- loop.step", 13, ["expected a mapping"]),
        ("- at: loop.step", "- when: x", 13, ["the key 'at' is missing"]),
        ("{when: cleared_other", "{wen: cleared_other", 12, ["did you mean 'when'?"]),
        ("[TCS204]", "[TCS112]", 14, ["codes of other rules"]),
        ("[TCS204]", "TCS204", 14, ["expected a list"]),
        ("{site}", "{site", 6, ["broken placeholder"]),
        ("{site}", "{}", 6, ["placeholder"]),
        ("  - bad: |", "  - worse: |", 17, ["either bad or good", "got title, worse"]),
        ("ranks: 2", "ranks: 99", 22, ["got 99"]),
        ("ranks: 2", "ranks: two", 22, ["expected a whole number"]),
        ("status: preview", "status: soon", 23, ["status, got 'soon'"]),
        ("status: preview", "status: stable since ٣", 23, ["status, got"]),
        ("code: TCS112", "code: TCS１１２", 1, ["code, got"]),
        ("{site}", "{site:>9999999999}", 6, ["placeholder '{site:>9999999999}'"]),
        ("{site}", "{site!z}", 6, ["placeholder '{site!z}'"]),
        ("status: preview", support(held=-1), 23, ["'held', got -1; expected 0 or more"]),
        ("status: preview", support(contexts=".inf"), 23, ["got inf", "a whole number"]),
        ("status: preview", support(runs="[a, [b]]"), 23, ["a run, got a list; expected text"]),
        ("status: preview", "status: 'preview", 24, ["no valid yaml"]),
        ("status: preview", "---\na: b", 23, ["second document"]),
        ("status: preview", "<<: {a: b}", 23, ["no plain word"]),
        ("status: preview", "? [a]\n: b", 23, ["no plain word"]),
    ],
)
def test_each_mistake_has_one_line_with_its_place(
    rule: Path, old: str, new: str, line: int, words: list[str]
) -> None:
    assert RULE.count(old) >= 1
    rule.write_text(RULE.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(RuleError) as caught:
        load_rules([rule])
    message = str(caught.value)
    assert message.startswith(f"{rule}:{line}: "), message
    assert "\n" not in message
    for word in words:
        assert word in message


def test_a_relation_judges_its_own_parameters(rule: Path) -> None:
    def schema(relation: str, params: Mapping[str, Any]) -> None:
        assert relation == "order"
        for key in params:
            if key != "existence":
                raise ValueError(f"unknown key {key!r}; did you mean 'among'?")

    with pytest.raises(RuleError, match=r"TCS112\.yaml:4: unknown key 'between'; did you mean"):
        load_rules([rule], schema=schema)


@pytest.mark.parametrize(
    ("problem", "line"),
    [
        (ValueError("unknown relation 'order'"), 3),
        (ValueError("missing key 'x'"), 4),
        (ValueError("between: 'x' is not an event kind"), 5),
        (ConditionError("the condition 'x' in 'between' is no expression"), 5),
        (TypeError("unhashable"), 4),
    ],
)
def test_what_a_relation_says_has_its_line(rule: Path, problem: Exception, line: int) -> None:
    def schema(relation: str, params: Mapping[str, Any]) -> None:
        raise problem

    rule.write_text(RULE.replace("_grad, between", "_grad,\n  between"))
    with pytest.raises(RuleError, match=rf"^{rule}:{line}: .*{problem}"):
        load_rules([rule], schema=schema)


def test_what_is_told_of_a_long_text_is_short(rule: Path) -> None:
    def schema(relation: str, params: Mapping[str, Any]) -> None:
        raise ValueError(f"existence: {params['existence']!r} is no event kind")

    rule.write_text(RULE.replace("optimizer.zero_grad,", f"{'x' * 100_000},", 1))
    with pytest.raises(RuleError, match="is no event kind") as caught:
        load_rules([rule], schema=schema)
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "holds no rule"),
        (b"# nothing\n", "holds no rule"),
        (b"[]", "holds no rule"),
        (b"just text", "expected a mapping"),
        (b"a: b\nc: \xff\n", ":2: the rule file is not UTF-8 text, got the byte 0xff"),
        (b"a: \0", "no valid yaml"),
        (b"[" * 100_000, "nested too deeply"),
        (b"a: [" * 1000, "nested too deeply"),
        (b"#" * (MAX_BYTES + 1), "too large"),
        (b"a: " + b"9" * 5000, "in quotes"),
    ],
)
def test_no_content_harms(rule: Path, content: bytes, words: str) -> None:
    rule.write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_rules([rule])
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=200) | st.text(alphabet="ab:-[]{}&*!|>'\"#\n ,?%@`", max_size=80))
def test_any_content_is_refused_in_one_line(content: bytes | str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(InputError) as caught:
            load_rules([path])
    assert "\n" not in str(caught.value)


def test_a_billion_laughs_are_refused_at_the_first(rule: Path) -> None:
    lines = ["a0: &a0 [lol]"] + [f"a{n}: &a{n} [{f'*a{n - 1}, ' * 9}]" for n in range(1, 20)]
    rule.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(RuleError, match=r":1: anchors and aliases"):
        load_rules([rule])


def test_codes_and_names_are_unique(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(RULE, encoding="utf-8")
    (tmp_path / "b.yaml").write_text(RULE, encoding="utf-8")
    with pytest.raises(RuleError, match=r"b\.yaml:1: TCS112 is defined twice.*a\.yaml:1"):
        load_rules([tmp_path])


@pytest.mark.parametrize(
    ("select", "ignore", "left"),
    [
        ((), (), ["TCS101", "TCS112", "TCS201"]),
        (("TCS1",), (), ["TCS101", "TCS112"]),
        (("TCS201", "gradients-not-cleared"), (), ["TCS112", "TCS201"]),
        ((), ("TCS1",), ["TCS201"]),
        (("TCS",), ("TCS101", "stale"), ["TCS112"]),
    ],
)
def test_selection(
    tmp_path: Path, select: tuple[str, ...], ignore: tuple[str, ...], left: list[str]
) -> None:
    for code, name in (("TCS201", "stale"), ("TCS112", "gradients-not-cleared"), ("TCS101", "x")):
        text = RULE.replace("TCS112", code).replace("name: gradients-not-cleared", f"name: {name}")
        (tmp_path / f"{code}.yaml").write_text(text, encoding="utf-8")
    assert [one.code for one in load_rules([tmp_path], select=select, ignore=ignore)] == left


@pytest.mark.parametrize("word", ["TCS113", "gradients-not-cleard", ""])
def test_a_word_that_selects_nothing_is_refused(rule: Path, word: str) -> None:
    with pytest.raises(InputError, match="--select matches no rule"):
        load_rules([rule], select=[word])
    with pytest.raises(InputError, match="--ignore matches no rule"):
        load_rules([rule], ignore=[word])


def test_files_of_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no rule file in this folder"):
        rule_files([tmp_path])
    with pytest.raises(InputError, match="no such rule file"):
        rule_files([tmp_path / "x.yaml"])
    for name in ("b.yml", "a.yaml", "README.md"):
        (tmp_path / name).write_text(RULE, encoding="utf-8")
    assert [file.name for file in rule_files([tmp_path])] == ["a.yaml", "b.yml"]
    assert rule_files([tmp_path, tmp_path / "a.yaml"]) == rule_files([tmp_path])


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.yaml")
    for read in (load_rules, rules_hash):
        with pytest.raises(InputError, match="cannot be read \\(a pipe or a device, and no file"):
            read([tmp_path])


def test_the_hash_follows_names_and_contents(rule: Path) -> None:
    first = rules_hash([rule])
    assert first == rules_hash([rule.parent])
    rule.write_text(RULE + "\n", encoding="utf-8")
    second = rules_hash([rule])
    rule.rename(rule.with_name("other.yaml"))
    assert len({first, second, rules_hash([rule.parent])}) == 3
