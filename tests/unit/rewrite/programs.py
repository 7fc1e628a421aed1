"""Programs that a rewriter can get wrong, each printing what it computes."""

# ruff: noqa: E501
from __future__ import annotations

import codecs

PROGRAMS: dict[str, str] = {
    "decorators": """
        def twice(f):
            return lambda *a: f(*a) * 2
        def times(n):
            return lambda f: lambda *a: f(*a) * n
        class Registry:
            def register(self, name):
                def put(f):
                    print("registered", name)
                    return f
                return put
        registry = Registry()
        @registry.register(str("f"))
        @times(int("3"))
        @twice
        def f(x): return x + 1
        @(lambda c: c)
        class A:
            @property
            def p(self): return f(1)
            @staticmethod
            def s(): return f(2)
            @classmethod
            def c(cls): return cls.__name__.lower()
        print(f(1), A().p, A.s(), A.c())
        """,
    "nested and chained calls": """
        class Chain:
            def __init__(self): self.seen = []
            def a(self, x): self.seen.append(x); return self
            def b(self, x): self.seen.append(-x); return self
            def __call__(self, x): return self.a(x * 10)
        print(Chain().a(1).b(len(str(abs(-22))))(3).a(4).seen)
        print((Chain()
               .a(1)   # a comment in the chain
               .b(2)
               .seen))
        print(max(min(3, len([1])), sum(map(abs, [-1, -2]))))
        """,
    "comprehensions": """
        data = [3, 1, 2]
        print([str(x) for x in sorted(data) if int(x) > 1])
        print({k: v.upper() for k, v in zip("ab", map(str, "xy"))})
        print({y for x in range(3) for y in range(x)}, list(x.real for x in data))
        class A:
            n = 2
            rows = [i * j for i in range(n) for j in [len("ab")]]
        print(A.rows, sum(x for x in (y for y in data)), [[len(str(z)) for z in range(x)] for x in data])
        """,
    "walrus": """
        import re
        if (m := re.match("a+", "aab")) and (n := len(m.group())) > 1:
            print(n, (k := str(n)).zfill(3), k)
        print([y := abs(-1), y ** 2], any((w := x) > 1 for x in [1, 2]), w)
        def f(*a, **k): return a, k
        print(f(z := int("3")), f(x=(q := int("4"))), z, q)
        while (line := next(iter([None]))) is not None: pass
        """,
    "lambdas": """
        add = lambda x, y=len("ab"): x + y
        print(add(1), (lambda: [].append)()(1), sorted([3, 1], key=lambda v: -abs(v)))
        print((lambda *a, k=dict(a=1), **kw: (a, k, sorted(kw)))(1, b=2))
        for f in (lambda: str(1), lambda: repr("x")): print(f())
        """,
    "f-strings": """
        name, width = "x", 6
        print(f"{name.upper()!r:>{int(width)}}|{'%d' % len(name)}|{{}}|{name.upper()=}|{len(name)  = }")
        print(f'{"-".join(c.upper() for c in "abc")}' f"{f'{len(name)}'}" "plain".upper())
        print(f\"\"\"
        {name.upper()}
          {max(1,
               2)} {name.center(5)!s:*^9}\"\"\")
        print(f"{(lambda: len(name))()} {[str(i) for i in range(2)]} {name.upper()} {name.upper()}")
        """,
    "async": """
        import asyncio
        class Ctx:
            async def __aenter__(self): return self
            async def __aexit__(self, *a): print("exit"); return False
            def __aiter__(self): self.n = 0; return self
            async def __anext__(self):
                self.n += 1
                if self.n > 2: raise StopAsyncIteration
                return self.n
        async def value(x): await asyncio.sleep(0); return x
        async def main():
            async with Ctx() as c, Ctx():
                async for i in c: print(await value(i))
            print([await value(i) for i in range(2)], [i async for i in Ctx()])
            print(await asyncio.gather(value(1), value(await value(2))))
            for x in [await value(3)]: print(x)
        asyncio.run(main())
        """,
    "match": """
        from dataclasses import dataclass
        @dataclass
        class P: x: int; y: int = 0
        class K: ONE = 1
        def what(v):
            match v:
                case P(x=0) | P(x=K.ONE): return "p01"
                case P(x, y) if abs(x) > abs(y): return str(x)
                case {"a": [1, *rest], **more}: return len(rest), sorted(more)
                case K.ONE: return "one"
                case str() as s: return s.upper()
                case _: return type(v).__name__
        match = [what(v) for v in (P(0), P(5), {"a": [1, 2], "b": 3}, 1, "s", None)]
        print(match)
        match(match[0].upper()):
            case "P01": print("soft keyword")
        match "".join(["a", "b"]), len(match):
            case x, y: print(x, y)
        """,
    "star imports": """
        from os.path import *
        from math import *
        print(basename("a/b"), floor(1.5), join("a", "b"), comb(3, 2))
        """,
    "future import": """
        \"\"\"Doc.\"\"\"
        from __future__ import annotations
        from __future__ import division
        def f(x: undefined_name(1), *a: also(2)) -> missing.thing(3): return str(x)
        y: not_there(1) = len("ab")
        class A:
            z: nope.at(1)
            def g(self, q: never()) -> "str": self.w: gone() = q; return q.upper()
        print(f(1), y, f.__annotations__, A.__annotations__, A().g("s"), __doc__)
        """,
    "docstrings": """
        '''Module docstring.'''
        def f():
            "Function docstring."; return f.__doc__
        class A:
            \"\"\"Class
            docstring.\"\"\"
            def m(self): 'm'
        print(__doc__, f(), A.__doc__, A.m.__doc__, A().m())
        """,
    "docstring and semicolons": '"""Doc."""; x = len("ab"); print(x, __doc__);\n',
    "future on a line with calls": """
        "doc"; from __future__ import annotations; print(len("abc"), __doc__)
        print(len("d"))
        """,
    "one-line compound statements": """
        if len("a"): print("yes"); print("two")
        else: print("no")
        for i in range(2): print(i); continue
        while True: print("w"); break
        class A: x = len("ab"); y = str(x)
        def f(): return str(1)
        try: f().nope
        except AttributeError as e: print(type(e))
        finally: print("f")
        with open(__import__("os").devnull) as h: print(h.read())
        print(A.x, A.y, f())
        """,
    "first line is a compound statement": """
        if len("a"):
            print("first")
        def f(x=str(1)):
            return x.upper()
        for c in f(): print(c)
        import os
        print(f(), os.sep.join("ab"))
        """,
    "no simple statement at all": """
        class A:
            def f(self, x=len("ab")):
                return f"{x}{self.g()}"
            def g(self): return str(self.f.__name__)
        if True:
            print(A().f())
        """,
    "first statement is a site": """
        print(len("first"))
        print("second".upper())
        """,
    "first statement is a chain over lines": """
        print("a"
              .upper()
              .lower()); print("b")
        import os
        """,
    "conditional imports": """
        try:
            import no_such_module_at_all as fast
        except ImportError:
            import json as fast
        if len("x") > 5:
            import nothing_either
        else:
            from os import path as p
        def lazy():
            import string
            return string.ascii_lowercase.upper()[:3]
        print(fast.dumps([1]), p.join("a", "b"), lazy())
        """,
    "classes built dynamically": """
        def method(self): return type(self).__name__.upper()
        A = type("A", (object,), {"m": method, "n": len("abc")})
        class Meta(type):
            @classmethod
            def __prepare__(mcs, name, bases, **kw): return {"prepared": sorted(kw)}
            def __new__(mcs, name, bases, ns, **kw): return super().__new__(mcs, name, bases, dict(ns))
            def __init__(cls, name, bases, ns, **kw): super().__init__(name, bases, ns)
            def __call__(cls, *a): return super().__call__(*a)
        class B(A, metaclass=Meta, flag=str(1), other=len("x")):
            k = str(prepared)
            def __init_subclass__(cls, **kw): super().__init_subclass__(); print("sub", sorted(kw))
        class C(B, size=int("3")): pass
        import types, collections, enum
        D = types.new_class("D", (B,), {}, lambda ns: ns.update(v=len("v")))
        P = collections.namedtuple("P", "x y")
        class E(enum.Enum):
            ONE = enum.auto()
            TWO = str("two")
        exec("class X: y = str(3)")
        print(A().m(), A.n, B.k, C().m(), D().v, P(1, 2), list(E), X.y, sorted(vars(B))[-2:])
        """,
    "super without arguments": """
        class A:
            def __init__(self): self.x = 1
            def f(self): return "A"
            @property
            def p(self): return "Ap"
            @p.setter
            def p(self, v): self.v = v
            @classmethod
            def c(cls): return cls.__name__
        class B(A):
            def __init__(self): super().__init__(); super().__setattr__("y", super().f().lower())
            def f(self): return super().f() + super().p + (lambda: super(B, self).f())()
            @classmethod
            def c(cls): return super().c().lower()
            def g(self): return [c.f() for c in [super()]], __class__.__name__
        print(B().f(), B().y, B.c(), B().g())
        """,
    "locals, globals and frames": """
        import sys, inspect
        def f(a, b=2):
            c = [a]
            print(sorted(locals()), eval("a + b"), vars().keys() == locals().keys())
            print(sys._getframe().f_code.co_name, inspect.currentframe().f_back.f_code.co_name)
            return dir()
        print(f(1), sorted(k for k in globals() if k[0] != "_"), __name__)
        def outer():
            x = 5
            def inner(): return x, sorted(locals()), sys._getframe(1).f_code.co_name
            return inner()
        print(outer(), "outer" in globals(), callable(globals().get("outer")))
        """,
    "warnings": """
        import warnings, sys
        def deprecated(): warnings.warn("old", DeprecationWarning, stacklevel=2)
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            deprecated()
            (deprecated)(
            )
            warnings.warn(str("here"))
        print([(w.lineno, w.filename == __file__, str(w.message)) for w in seen])
        """,
    "main guard": """
        def main(argv=None):
            print("main", len(argv or []))
            return 0
        if __name__ == "__main__":
            raise SystemExit(main([1]))
        """,
    "evaluation order": """
        log = []
        def say(x): log.append(x); return x
        class O:
            def __init__(self, n): log.append("new " + n); self.n = n
            def __getattr__(self, k): log.append("get " + k); return lambda *a, **kw: self
            def __setattr__(self, k, v): log.append("set " + k); object.__setattr__(self, k, v)
            def __delattr__(self, k): log.append("del " + k)
        O("a").f(say(1), *say([2]), k=say(3), **say({})).g(say(4))
        O("b").x = O("c").y = say(5)
        O("d").z, O("e").z = say((6, 7))
        O("f").n += str(say(8))
        del O("g").q, O("h").q
        for O("i").v in say([9]): say(10)
        with_say = {say("k"): say("v")}
        print(log)
        """,
    "augmented attribute assignment": """
        class N:
            def __init__(self): self.v = [1]; self.k = 1; self.child = None
        n = N(); n.child = N()
        n.k += len("ab"); n.child.k *= int("5"); n.v += [str(2)]
        n.child.v[0] -= 3; n.child.v[len("")] += 10
        (n).k -= 1; ((n.child)).k += 1
        n.child.note: str = str(n.k)
        print(n.k, n.child.k, n.v, n.child.v, n.child.note)
        """,
    "deletion": """
        class N: pass
        n = N(); n.a = n.b = n.c = N(); n.c.d = {1: 2}
        del n.a, (n.b), n.c.d[int("1")]
        del (n.c.d,)
        x = [1, 2]; del x[len("a")]
        print(sorted(vars(n)), vars(n.c), x)
        """,
    "yield and await inside of calls": """
        def g():
            x = str((yield len("a")))
            print("got", x, max((yield 2), (yield from h())))
            print((yield).upper(), (yield 5).lower())
            for i in (yield 6): print("item", i)
            return str(i)
        def h():
            r = yield 3
            return int(r)
        it = g(); print(next(it))
        for v in ("A", 10, 20, "b", "C", [7]):
            try: print(it.send(v))
            except StopIteration as stop: print("end", stop.value)
        async def a(x): return x
        async def b(): return (await a([1])).index(await a(1)), str(await a(2)), [await a(3)][0].real
        try: b().send(None)
        except StopIteration as stop: print(stop.value)
        """,
    "private names": """
        class _Secret:
            __hidden = len("abc")
            def __init__(self): self.__x = [1]; self.__y = str(self.__x)
            def __f(self): return self.__x.copy()
            def g(self):
                self.__x.append(self.__hidden); self.__z = self; self.__z.__w = 1
                del self.__z
                return self.__f(), sorted(vars(self))
        print(_Secret().g())
        """,
    "global and nonlocal": """
        count = 0
        def f():
            global count, made
            count += len("a"); made = str(count)
            n = [0]
            def g():
                nonlocal n
                n = n + [len(n)]; n.append(1)
                return n
            return g()
        print(f(), f(), count, made)
        """,
    "nested f-strings": """
        a = {"k": [1, 2]}
        print(f"{f'{f"{len(str(1))}"}'}" if False else f"{f'{len(str(1))}'}{f'''{str(f"{len('x')}")}'''}")
        print(f"{a['k'].copy()} {', '.join(f'{str(x):>{len(a)+2}}' for x in a['k'])}")
        """
    if __import__("sys").version_info >= (3, 12)
    else """
        a = {"k": [1, 2]}
        print(f"{f'{len(str(1))}'}{f'''{str(len('x'))}'''}")
        print(f"{a['k'].copy()} {', '.join(f'{str(x):>{len(a)+2}}' for x in a['k'])}")
        """,
    "default arguments": """
        def f(a=len("ab"), *, b=[].copy(), c=(lambda: str(3))()): b.append(a); return a, b, c
        print(f(), f(1), (lambda x=str(1): x)())
        def g(a, /, b=int("2"), *args, c=dict(x=1).get("x"), **kw): return a, b, args, c, kw
        print(g(1), g(1, 3, 4, c=5, d=6))
        """,
    "class keyword arguments": """
        class Base:
            def __init_subclass__(cls, tag=None, **kw): cls.tag = tag
        def bases(): return Base
        class A(bases(), tag=str("t").upper(), **dict(extra=len("x"))): pass
        class B(*[A], tag=A.tag.lower()): pass
        print(A.tag, B.tag, B.__mro__[1].__name__)
        """,
    "no newline at the end": 'import sys\nprint("end".upper(), file=sys.stdout)',
    "loops": """
        class It:
            def __init__(self, n): self.n = n
            def __iter__(self): print("iter"); return iter(range(self.n))
        for i in It(len("ab")): print(i)
        else: print("else")
        for a, (b, *c) in [(1, (2, 3, 4))]: print(a, b, c)
        for x in 1, str(2), *"ab": print(x)
        for x in(3,4):print(x)
        for x in[5].copy():print(x)
        for x in"ab".upper():print(x)
        for x in {1: 2}.items(): print(x)
        for k in lambda: 1, lambda: 2: print(k())
        for q in (y for y in (1, 2) if y): print(q)
        for i in range(3):
            for j in range(i):
                if j: break
            else: continue
            break
        print(i, j)
        it = iter([1, 2, 3])
        for i in it: print(i, next(it, None))
        """,
    "with": """
        import contextlib, io
        @contextlib.contextmanager
        def cm(x): print("in", x); yield x; print("out", x)
        with cm(1) as a, cm(str(2)) as b: print(a, b)
        with (cm(3) as c, cm(4)): print(c)
        lock = contextlib.nullcontext("n")
        with lock as l: print(l)
        with lock, (lock): pass
        class T: pass
        t = T(); t.u = T()
        with cm(5) as t.v, cm((6, 7)) as (t.u.w, z): print(t.v, t.u.w, z)
        with contextlib.redirect_stdout(io.StringIO()) as out: print("hidden")
        with contextlib.suppress(ZeroDivisionError): 1 / len("")
        print(out.getvalue().upper(), [x for x in [1] if x])
        """,
    "keywords without blanks": """
        x = [2, 1]
        print(1if"".join("a")else 0, not"".join(""), [1]if[].copy()else(2).bit_length())
        def f(): return"a".upper()
        def g(): yield(1).bit_length(); yield[1].copy(); yield"b".upper()
        assert"a".upper(); assert(x).copy()
        print(f(), list(g()), 1 in[1].copy(), 1 and{1: 2}.get(1), 0 or(x).copy(), -x.index(1), not x.copy())
        print(1 .bit_length(), 1.5.hex(), 0x1for_ in [0]) if False else print(2.0.is_integer())
        """.replace(", 0x1for_ in [0]", ""),
    "tabs": "if len('a'):\n\tfor i in range(2):\n\t\tprint(i)\n\tprint(\t'x'.upper( )\t)\n",
    "form feed": "import sys\n\x0c\nprint('a'.upper())\n\x0cdef f():\n    return str(1)\n\x0c\nprint(f())\n",
    "continuation lines": """
        x = len("ab") + \\
            len("c")
        for i in 1, \\
                 str(2): print(i)
        print(x, "a" \\
            .upper() \\
            .lower())
        assert x == int("3"), \\
            str(x)
        """,
    "comments everywhere": """
        # leading
        import os  # after import ; not code

        def f(  # in the head
            a=len("a"),  # argument
        ):  # colon
            # body
            return str(  # call
                a  # inner
            ).upper()  # tail
        print(f())  # last
        # end
        """,
    "type parameters and aliases": """
        from typing import TypeVar, Generic, NamedTuple
        T = TypeVar("T", bound=len)
        class A(Generic[T]): x: list(int) if False else int = int("1")
        class N(NamedTuple):
            a: int = len("ab")
            b: "str" = str(1)
        print(A[int]().x, N())
        """,
    "names as in training": """
        class Opt:
            def step(self, closure=None): return closure() if closure else "stepped"
            def zero_grad(self): self.grad = None
        class Model:
            training = True
            def train(self, mode=True): self.training = mode; return self
            def eval(self): return self.train(False)
            def __call__(self, x): return self if x else None
            def backward(self): print("backward")
        model, opts = Model(), {"d": Opt()}
        def build(): return model
        opts["d"].zero_grad(); print(opts["d"].step(), build()(1).train().training)
        build()(2).backward(); model.fc = Model(); model.fc.requires_grad = False
        print(model.eval().training, model.fc.requires_grad, opts["d"].step(lambda: str(1)))
        """,
}

BYTES: dict[str, bytes] = {
    "latin-1 cookie": "# -*- coding: latin-1 -*-\né = 'ü'.upper(); print(é, len('äöü')); é = str(é)\n"
    "class Ä:\n    ß = len('ß'.upper())\nÄ.ö = Ä.ß; print('ö'.join('ab'), Ä.ö)\n".encode("latin-1"),
    "cp1252 cookie": "#!/usr/bin/env python\n# vim: set fileencoding=cp1252 :\n"
    "print('€uro'.upper(), [str(x) for x in '€'])\n".encode("cp1252"),
    "byte order mark": codecs.BOM_UTF8 + "print('é'.upper(), str('ü'))\nimport os\n".encode(),
    "byte order mark and docstring": codecs.BOM_UTF8 + b'"""Doc."""\nprint(__doc__.upper())\n',
    "crlf": b'"""Doc\r\nstring."""\r\nimport os\r\nif len("a"):\r\n    print(os.sep.join("ab"),\r\n'
    b'          repr("""x\r\ny"""))\r\n',
    "cr": b'import os\rprint("a".upper())\rfor i in range(2):\r    print(i)\r',
    "mixed line ends": b'import os\r\nprint("a".upper())\nif 1:\r\n    print(len("b"))\n',
    "wide characters": "x = '𝔘😀'.lower(); print(len('😀'.join('𝔘é')), str(x)); print('ö'.upper())\n".encode(),
    "empty": b"",
    "only a comment": b"# nothing\n",
    "only a docstring": b'"""Doc."""\n',
}
