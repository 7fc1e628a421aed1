"""Tracebacks of rewritten programs equal those of the originals, as text, carets included."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.rewrite.passing import (
    compile_instrumented,
    rewritten,
    source_of,
    three_ways,
)
from tests.unit.rewrite.programs import PROGRAMS

FAILING = {
    "call": "def f(): 1 / 0\nf()\n",
    "call in a line": "x, d = 1, {}\ny = x + d['k'] + len('a')\n",
    "nested calls": """
        def g(x): return x.nope
        def f(*a): return a
        print(f(1, f(2, g(str(3))), f(4)))
        """,
    "arguments over lines": """
        def g(x): return x.nope
        def f(*a): return a
        f(
            1,
            g(  # here
                str(
                    3
                )
            ),
            f(4),
        )
        """,
    "chained methods": """
        class A:
            def a(self): return self
            def b(self): raise ValueError("b")
        A().a().a().b().a()
        """,
    "chained methods over lines": """
        class A:
            def a(self): return self
            def b(self): raise ValueError("b")
        (A()
            .a()
            .b()
            .a())
        """,
    "missing method over lines": """
        x = [1]
        (x
            .copy()
            .nope
            .copy())
        """,
    "attribute assignment": """
        class A:
            __slots__ = ("a",)
        a = A(); a.a = A()
        a.a.nope = len("ab")
        """,
    "attribute assignment to None": "a = [None]\na[0].x = a.copy()\n",
    "augmented assignment": "a = [None]\na.copy()[0].x += len(str(1))\n",
    "deletion": "class A: x = 1\na = A()\ndel A.x, a.nope.deeper, a\n",
    "not iterable": "n = 5\nfor x in n: print(x)\n",
    "not iterable call": "for x in len('ab'): print(x)\n",
    "iterator that fails": """
        def it():
            yield 1
            raise KeyError("it")
        for x in it():
            pass
        """,
    "unpacking in a loop": "for a, b in [(1, 2), (3,)]:\n    pass\n",
    "with": """
        class C:
            def __enter__(self): return self
            def __exit__(self, *a): raise OSError("exit")
        c = C()
        with c, c as d:
            d.nope()
        """,
    "not a context manager": "x = [1]\nwith x.copy() as y: pass\n",
    "comprehension": "print([int(x) for x in map(str, ['1', 'a'])])\n",
    "lambda": "f = lambda x: str(x).nope(1)\nf(2)\n",
    "decorator": """
        def d(n):
            return n.nope
        @d(
            str(1)
        )
        def f(): pass
        """,
    "default": "def f(a=str(1), b=int('x')): pass\n",
    "class body": "class A:\n    x = str(1)\n    y = x.nope()\n",
    "metaclass": "class A(metaclass=print): pass\nclass B(A(), x=str(1)): pass\n",
    "chained exceptions": """
        def f():
            try:
                {}["k"].get(1)
            except KeyError as e:
                raise ValueError(str(e).upper()) from e
        def g():
            try: f()
            except ValueError: int("x".lower())
        g()
        """,
    "format string": "x = 'a'\nprint(f'{x.upper()} {x.nope()} {len(x)}')\n",
    "format string over lines": "x = 'a'\nprint(f'''{x.upper()}\n  {x.nope()} {len(x)}''')\n",
    "wide characters": "x = 'é'\nprint('äöü'.upper(), '😀'.nope(x), x.upper())\n",
    "tabs": "if 1:\n\tx\t=\tlen('a')\t+\tstr(1).nope()\n",
    "generator": """
        def g():
            x = yield len("a")
            yield str(x).nope((yield))
        it = g(); next(it)
        it.send(1); it.send(2)
        """,
    "coroutine": """
        import asyncio
        async def f(x): return x.nope
        async def main():
            return await f(await asyncio.sleep(0, str(1)))
        asyncio.run(main())
        """,
    "wrong arguments": "def f(a): pass\nf(1, len('ab'), k=str(2))\n",
    "not callable": "x = 1\nx(len('a'))(2)\n",
    "syntax error inside": "compile(str('1 +'), 'inner.py', 'eval')\n",
    "name error": "def f():\n    return undefined_name(len('a')).x\nf()\n",
    "assertion": "x = [1]\nassert x.copy() == \\\n    list(range(len(x) + 1)), str(x)\n",
    "exit": "import sys\nsys.exit(str(3))\n",
    "recursion": "def f(n):\n    return f(n - 1) if n else int('x')\nf(3)\n",
    "binary operation": "x = 'a'\nprint((x.upper() + x.lower()) + (len(x) / len('')) * 2)\n",
    "subscript": "x = {'a': [1]}\nprint(x.get('a')[0].real['b'].upper())\n",
    "parentheses": "x = 'a'\n(((x).upper())).nope((x))\n",
    "import": "import json\nfrom os import (path,\n    not_there)\n",
    "match": "match int(str('x')):\n    case 1: pass\n",
}


@pytest.mark.parametrize("name", FAILING)
def test_the_traceback_is_the_same_text(name: str, tmp_path: Path) -> None:
    source = source_of(FAILING[name])
    path = tmp_path / "failing.py"
    path.write_bytes(source)
    original, as_run, _, _ = three_ways(source, path)
    assert original.error
    assert as_run == original


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::SyntaxWarning")
def test_no_instruction_has_a_line_of_its_own() -> None:
    # What debuggers, coverage and profilers see: no line that the original does not have.
    for program in PROGRAMS.values():
        source = source_of(program)
        before = compile(source, "p.py", "exec", dont_inherit=True)
        text = rewritten(source, recorded=True).text
        after = compile_instrumented(source, text, "p.py")
        for old, new in zip(_codes(before), _codes(after), strict=True):
            assert old.co_qualname == new.co_qualname
            assert old.co_firstlineno == new.co_firstlineno
            assert {line for *_, line in new.co_lines()} == {line for *_, line in old.co_lines()}


def _codes(code):  # type: ignore[no-untyped-def]
    yield code
    for constant in code.co_consts:
        if hasattr(constant, "co_code"):
            yield from _codes(constant)
