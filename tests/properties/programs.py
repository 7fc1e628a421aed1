"""Generated programs that are made of what a rewriter touches, in unusual spelling."""

from __future__ import annotations

import ast
import warnings

from hypothesis import strategies as st

NAMES = st.sampled_from(["a", "b", "model", "opt", "self", "x1", "é"])
BLANK = st.sampled_from(["", "", "", " ", "  ", "\t"])
ATOMS = st.one_of(
    NAMES,
    st.sampled_from(["1", "0x1f", "1.5", '"s"', "b'b'", "r's'", '"a" "b"', "None", "...", "[]"]),
    st.sampled_from(["()", "{}", "'''x\ny'''", 'f"{a}"', "f'{a.b(c)!r:>{d()}}'", "f'{a()=}'"]),
)


def _extend(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    name, blank = NAMES, BLANK
    return st.one_of(
        st.builds("{}{}({}{})".format, inner, blank, inner, blank).map(_callable),
        st.builds("({}).{}({})".format, inner, name, inner),
        st.builds("{}.{}({}, *{}, k={}, **{})".format, name, name, inner, inner, inner, inner),
        st.builds("{}.{}(\n{}\n)".format, name, name, inner),
        st.builds("({} # note\n)".format, inner),
        st.builds("({}\n.{}\n.{}(){})".format, name, name, name, blank),
        st.builds("({}{}+{}{})".format, inner, blank, blank, inner),
        st.builds("(not({}))".format, inner),
        st.builds("({} if({})else({}))".format, inner, inner, inner),
        st.builds("[{} for {} in({})if {}]".format, inner, name, inner, inner),
        st.builds("({} for {} in {})".format, inner, name, name),
        st.builds("{{{}: {}, **{}}}".format, inner, inner, inner),
        st.builds("(lambda {}, q={}: {})".format, name, inner, inner),
        st.builds("({} := {})".format, name, inner),
        st.builds("({},\\\n{})".format, inner, inner),
        st.builds("{}[{}:{}]".format, name, inner, inner),
        st.builds("(yield {})".format, inner),
        st.builds("(await {}.{}({}))".format, name, name, inner),
    )


def _callable(text: str) -> str:
    return text if text[0] not in "0123456789'\"rbf.NN" else f"g({text.partition('(')[2]}"


EXPRESSIONS = st.recursive(ATOMS, _extend, max_leaves=8)


def _blocks(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    value, name = EXPRESSIONS, NAMES
    body = inner.map(lambda text: "\n".join(f"  {line}" for line in text.split("\n")))
    return st.one_of(
        st.builds("for {} in {}:\n{}\nelse: {}()".format, name, value, body, name),
        st.builds("for {}.{} in {}, {}: {}".format, name, name, value, value, value),
        st.builds("with {} as {}.{}, {}:\n{}".format, value, name, name, value, body),
        st.builds(
            "if {}: {}; {}\nelif {}: pass\nelse:\n{}".format, value, value, value, value, body
        ),
        st.builds("while({}):\n{}".format, value, body),
        st.builds("try:\n{}\nexcept ({}, e.f) as q:\n{}".format, body, name, body),
        st.builds(
            "@{}.d({})\nasync def f(p: {}, /, q={}, *, r) -> {}:\n{}".format,
            name,
            value,
            name,
            value,
            name,
            body,
        ),
        st.builds("class A(B, m={}):\n  '''Doc.'''\n{}".format, value, body),
        st.builds("match {}:\n case A.b(c=d.e) if {}:\n{}".format, value, value, body),
        st.builds("{}\n\n{}".format, inner, inner),
    )


_LINES = st.one_of(
    EXPRESSIONS,
    st.builds("{}.{} = {}".format, NAMES, NAMES, EXPRESSIONS),
    st.builds("{}.{}.{} = {}, {} = {}".format, NAMES, NAMES, NAMES, NAMES, NAMES, EXPRESSIONS),
    st.builds("{}.{} += {}; {}".format, NAMES, NAMES, EXPRESSIONS, EXPRESSIONS),
    st.builds("{}.{}: {} = {}".format, NAMES, NAMES, EXPRESSIONS, EXPRESSIONS),
    st.builds("del {}.{}, ({}.{}),".format, NAMES, NAMES, NAMES, NAMES),
    st.builds("assert({}), {}".format, EXPRESSIONS, EXPRESSIONS),
    st.builds("import {}.{}, b as c # {}".format, NAMES, NAMES, NAMES),
    st.builds("raise {} from({})".format, EXPRESSIONS, EXPRESSIONS),
)


def _valid(text: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ast.parse(text)
        except (SyntaxError, ValueError):
            return False
    return True


_HEADS = st.sampled_from(
    [
        "",
        "",
        "'''Doc.'''\n",
        "import os\n",
        "# coding: utf-8\n\n",
        "'d'; from __future__ import annotations\n",
    ]
)
_TAILS = st.sampled_from(["", "\n", "\n\n  \n", " # end", "\n\x0c\n", "\n# end\n   "])
PROGRAMS = st.builds(
    "{}{}{}".format, _HEADS, st.recursive(_LINES, _blocks, max_leaves=6), _TAILS
).filter(_valid)
