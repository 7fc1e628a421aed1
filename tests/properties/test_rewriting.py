"""What holds for every program that is rewritten with a probe in every place."""

from __future__ import annotations

import ast
import warnings
from pathlib import Path

import hypothesmith
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tcstatic.errors import InputError
from tcstatic.model import RewriteOutcome, Rewritten, Skipped, Unchanged
from tcstatic.program.source import decode, read_module
from tcstatic.rewrite import compile_instrumented, every_site, instrument, select_sites
from tests.properties.programs import PROGRAMS

PATH = Path("generated.py")
METHODS = {"after", "on", "target", "loop"}

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::SyntaxWarning")


class Strip(ast.NodeTransformer):
    """Take the probes and their import out again; written apart from the rewriter's own check."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.func, ast.Attribute) and node.func.attr in METHODS:
            base = ast.unparse(node.func.value)
            if base in ("_tcstatic", "__import__('_tcstatic')"):
                return node.args[1]
        return node

    def visit_Import(self, node: ast.Import) -> ast.AST | None:
        return None if node.names[0].name == "_tcstatic" else node


def parsed(text: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text)


def statement_lines(tree: ast.Module) -> list[tuple[int, int | None]]:
    nodes = (node for node in ast.walk(tree) if isinstance(node, ast.stmt))
    return sorted((node.lineno, node.end_lineno) for node in nodes)


def check_everywhere(source: bytes) -> RewriteOutcome:
    """Rewrite with a probe in every place, and check all that must hold of the result."""
    facts = read_module(PATH, source, "")
    sites = every_site(facts, 1, recorded=True)
    outcome = instrument(PATH, source, sites)
    if isinstance(outcome, Unchanged):
        assert not sites or b"f'" in source or b'f"' in source
        return outcome
    if isinstance(outcome, Skipped):
        assert "LibCST" in outcome.reason
        return outcome
    assert isinstance(outcome, Rewritten), outcome
    text = decode(source)
    original, result = parsed(text.text), parsed(outcome.text)
    stripped = Strip().visit(result)
    assert ast.dump(stripped) == ast.dump(original)
    assert statement_lines(stripped) == statement_lines(original)
    assert len(decode(text.encode(outcome.text)).lines) == len(text.lines)
    if b"f'" not in source and b'f"' not in source:
        assert outcome.insertions == len(sites)
    again = instrument(PATH, text.encode(outcome.text), sites)
    assert again == Skipped(str(PATH), "already instrumented")
    return outcome


def check_code(source: bytes, outcome: RewriteOutcome) -> None:
    """Where Python compiles the original, the rewritten text compiles to the same lines."""
    if not isinstance(outcome, Rewritten):
        return
    try:
        original = compile(source, str(PATH), "exec", dont_inherit=True)
    except SyntaxError:
        return
    code = compile_instrumented(source, outcome.text, str(PATH))
    assert {line for *_, line in code.co_lines()} <= {line for *_, line in original.co_lines()} | {
        None,
        0,
        1,
    }
    assert original.co_names == tuple(
        name for name in code.co_names if name not in METHODS and name != "_tcstatic"
    ) or METHODS & set(original.co_names)


def check_selection(source: bytes) -> None:
    """The sites of a real run are rewritten without a failure as well."""
    sites = select_sites(read_module(PATH, source, ""), 1)
    outcome = instrument(PATH, source, sites)
    assert isinstance(outcome, Rewritten | Unchanged | Skipped), outcome
    if not sites:
        assert outcome == Unchanged(str(PATH))


@given(PROGRAMS)
@settings(max_examples=300)
def test_programs_of_what_a_rewriter_touches(text: str) -> None:
    source = text.encode()
    check_code(source, check_everywhere(source))
    check_selection(source)


@given(PROGRAMS)
@settings(max_examples=60)
def test_other_line_ends(text: str) -> None:
    source = text.replace("\\\n", "").replace("\n", "\r\n").encode()
    check_everywhere(source)


@given(PROGRAMS, st.sampled_from(["latin-1", "cp1252", "utf-8-sig"]))
@settings(max_examples=60)
def test_other_encodings(text: str, encoding: str) -> None:
    cookie = "" if encoding == "utf-8-sig" else f"# coding: {encoding}\n"
    check_everywhere(f"{cookie}{text}".encode(encoding))


@given(hypothesmith.from_grammar())
@settings(max_examples=80, suppress_health_check=list(HealthCheck))
def test_programs_from_the_grammar(text: str) -> None:
    check_generated(text)


@given(hypothesmith.from_node())
@settings(max_examples=80, suppress_health_check=list(HealthCheck))
def test_programs_from_libcst_nodes(text: str) -> None:
    check_generated(text)


def check_generated(text: str) -> None:
    source = text.encode("utf-8", "replace")
    try:
        read_module(PATH, source, "")
    except InputError:
        return
    check_code(source, check_everywhere(source))
