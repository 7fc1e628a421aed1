"""Decoding as Python does, and columns in characters."""

from __future__ import annotations

import ast
import codecs

import pytest

from tcstatic.errors import InputError
from tcstatic.program.source import Span, decode, parse


def spans(source: bytes) -> list[tuple[str, Span]]:
    text = decode(source)
    names = (node for node in ast.walk(parse(text.text)) if isinstance(node, ast.Name))
    return [(text.segment(text.span(name)), text.span(name)) for name in names]


def test_columns_count_characters_from_one() -> None:
    assert spans("'äöü😀', a, 'é', bc\n".encode()) == [
        ("a", Span(1, 9, 1, 10)),
        ("bc", Span(1, 17, 1, 19)),
    ]


@pytest.mark.parametrize(
    ("source", "encoding"),
    [
        ("'ü', a".encode("latin-1").replace(b"'", b"# coding: latin-1\n'", 1), "iso-8859-1"),
        (codecs.BOM_UTF8 + "'ü', a".encode(), "utf-8"),
        ("\n'ü', a\r\n".encode(), "utf-8"),
    ],
)
def test_columns_in_other_encodings(source: bytes, encoding: str) -> None:
    text = decode(source)
    assert text.encoding == encoding
    assert text.bom == source.startswith(codecs.BOM_UTF8)
    assert not text.text.startswith("\ufeff")
    ((segment, span),) = spans(source)
    assert (segment, span.column) == ("a", 6)
    assert text.encode(text.text) == source


def test_lines_end_where_python_ends_them() -> None:
    source = b"a\x0c\nb\r\n\x0cc\rd = '\xe2\x80\xa8', e"
    assert [(name, span.line) for name, span in spans(source)] == [
        ("a", 1),
        ("b", 2),
        ("c", 3),
        ("d", 4),
        ("e", 4),
    ]


def test_a_segment_over_lines_is_one_line() -> None:
    text = decode(b"(a .\n   b   ( c,\n d))\n")
    call = parse(text.text).body[0].value  # type: ignore[attr-defined]
    assert text.segment(text.span(call)) == "a . b ( c, d)"


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (b"\xff\n", "cannot be decoded"),
        (b"# coding: no-such\n", "cannot be decoded"),
        (b"def f(:\n", "f.py:1: syntax error"),
        (b"a\x00b\n", "f.py"),
        (b"(" * 500 + b"\n", "f.py"),
    ],
)
def test_what_python_cannot_read_is_an_input_error(source: bytes, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        parse(decode(source, "f.py").text, "f.py")
