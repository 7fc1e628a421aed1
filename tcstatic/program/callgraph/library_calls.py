"""What functions and classes of the standard library, and some of torch, do."""

from __future__ import annotations

from collections.abc import Mapping

from tcstatic.program.callgraph.builtin_calls import (
    BUILTINS,
    Model,
    collect,
    fill_named,
    made_class,
    mapping,
    unpacked,
)
from tcstatic.program.callgraph.codecs_calls import CODECS
from tcstatic.program.callgraph.effects import Call, Effects
from tcstatic.program.callgraph.heap_calls import HEAPS
from tcstatic.program.callgraph.itertools_calls import ITERTOOLS
from tcstatic.program.callgraph.operations import Await
from tcstatic.program.callgraph.pickling import PICKLES
from tcstatic.program.callgraph.subscripts import FACTORY
from tcstatic.program.callgraph.testing_calls import RAISERS, TESTING
from tcstatic.program.callgraph.values import Kind


def _same(effects: Effects, call: Call) -> None:
    effects.returns(call, effects.argument(call, 0))


def _closing(effects: Effects, call: Call) -> None:
    for node in effects.arguments(call)[:1]:
        close = effects.machine.node()
        effects.load(call, node, "close", close)
        effects.apply(call, close, [])
        effects.returns(call, node)


def _cast(effects: Effects, call: Call) -> None:
    effects.returns(call, effects.argument(call, 1))


def _cached(effects: Effects, call: Call) -> None:
    """``cache`` is a decorator; ``lru_cache`` may also make one."""
    for node in effects.arguments(call)[:1]:
        effects.wrap(call, node, "callable")
    effects.answer(call, effects.machine.values.get(Kind.METHOD, "<same>", 0))


def _partial(effects: Effects, call: Call) -> None:
    node = effects.argument(call, 0)
    if node is not None:
        effects.answer(call, effects.partial(call, node, 1))


def _partial_method(effects: Effects, call: Call) -> None:
    node = effects.argument(call, 0)
    if node is not None:
        value = effects.partial(call, node, 1)
        effects.calls.methods.add(value)
        held = effects.machine.node()
        effects.machine.add(held, value)
        effects.answer(call, effects.wrapper(call, "partialmethod", "func", held))


def _wraps(effects: Effects, call: Call) -> None:
    node = effects.argument(call, 0)
    if node is not None:
        effects.answer(call, effects.machine.values.get(Kind.METHOD, "<wraps>", node))


def _totally_ordered(effects: Effects, call: Call) -> None:
    for node in effects.arguments(call)[:1]:
        effects.wrap(call, node, "ordered")
        effects.returns(call, node)


def _generic(effects: Effects, call: Call) -> None:
    for node in effects.arguments(call)[:1]:
        effects.wrap(call, node, "generic")


def _reduce(effects: Effects, call: Call) -> None:
    given = effects.arguments(call)
    if len(given) > 1:
        running, element = effects.machine.node(), effects.elements(call, given[1])
        effects.machine.link(given[2] if len(given) > 2 else element, running)
        effects.apply(call, given[0], [running, element], running)
        effects.returns(call, running)


def _wrapper(how: str, field: str = "func") -> Model:
    def model(effects: Effects, call: Call) -> None:
        node = effects.argument(call, 0, field)
        effects.answer(call, effects.wrapper(call, how, field, node))

    return model


def _record(effects: Effects, call: Call) -> None:
    for node in effects.arguments(call)[:1]:
        effects.wrap(call, node, "record")
        effects.returns(call, node)
    if not call.invoke.arguments:
        effects.answer(call, effects.machine.values.get(Kind.METHOD, "<record>", 0))


def _field(effects: Effects, call: Call) -> None:
    factory = effects.argument(call, -1, "default_factory")
    factory = factory or effects.argument(call, -1, "factory")
    if factory is not None:
        effects.apply(call, factory, [], call.target)
    effects.returns(call, effects.argument(call, -1, "default"))


def _default_dict(effects: Effects, call: Call) -> None:
    made = effects.container(call, "collections.defaultdict")
    given = effects.arguments(call)
    if given:
        effects.machine.link(given[0], effects.machine.field(made, FACTORY))
    for node in given[1:]:
        effects.subscripts.spread(node, made, call.instance)
    fill_named(effects, call, made)
    effects.answer(call, made)


def _thread(effects: Effects, call: Call) -> None:
    target = effects.argument(call, 1, "target") or effects.argument(call, 1, "function")
    given = effects.argument(call, 3, "args") or effects.argument(call, 2, "args")
    if target is not None:
        parts = unpacked(effects, call, given, 4) if given is not None else []
        effects.apply(call, target, parts)


def _run(effects: Effects, call: Call) -> None:
    """``asyncio.run``"""
    for node in effects.arguments(call)[:1]:
        wait = Await(~node, ~call.target, call.place)
        effects.machine.use(node, wait, call.instance)


def _gather(effects: Effects, call: Call) -> None:
    made = effects.container(call, "list")
    for node in effects.arguments(call):
        result = effects.machine.node()
        effects.machine.use(node, Await(~node, ~result, call.place), call.instance)
        effects.holds(made, None, result)
    effects.answer(call, made)


def _spawn(effects: Effects, call: Call) -> None:
    """``torch.multiprocessing.spawn(function, args)``"""
    function = effects.argument(call, 0, "fn")
    given = effects.argument(call, 1, "args")
    if function is not None:
        parts = unpacked(effects, call, given, 6) if given is not None else []
        effects.apply(call, function, [effects.machine.node(), *parts])


def _method_type(effects: Effects, call: Call) -> None:
    given = effects.arguments(call)
    if len(given) > 1:
        effects.bind_all(call, given[0], given[1])


def _simple_namespace(effects: Effects, call: Call) -> None:
    path = "types.SimpleNamespace"
    made = effects.machine.values.get(Kind.RESULT, path, call.invoke.site)
    for name, node in call.invoke.keywords:
        if name is not None:
            effects.machine.link(call.instance.at(node), effects.machine.field(made, name))
    effects.answer(call, made)


def _new_class(effects: Effects, call: Call) -> None:
    """``types.new_class(name, bases, keywords, fill)``"""
    members = effects.machine.node()
    effects.machine.add(members, effects.container(call, "dict", 1))
    fill = effects.argument(call, 3, "exec_body")
    if fill is not None:
        effects.apply(call, fill, [members])
    bases = effects.argument(call, 1, "bases")
    given = effects.machine.node() if bases is None else bases
    made_class(effects, call, [effects.machine.node(), given, members])


def _reference(effects: Effects, call: Call) -> None:
    for node in effects.arguments(call)[:1]:
        effects.answer(call, effects.machine.values.get(Kind.METHOD, "<held>", node))


def _getter(name: str) -> Model:
    def model(effects: Effects, call: Call) -> None:
        for node in effects.arguments(call)[:1]:
            effects.answer(call, effects.machine.values.get(Kind.METHOD, name, node))

    return model


def _parametrize(effects: Effects, call: Call) -> None:
    """Each row of values is what the test is called with, under the names."""
    names, rows = effects.argument(call, 0, "argnames"), effects.argument(call, 1, "argvalues")
    if names is not None and rows is not None:
        made = effects.container(call, "dict")
        effects.holds(made, "names", names)
        effects.holds(made, "rows", effects.elements(call, rows))
        effects.answer(call, effects.machine.values.get(Kind.METHOD, "<parametrize>", made))


def collect_arguments(effects: Effects, call: Call) -> None:
    """A tuple of the arguments."""
    made = effects.container(call, "tuple")
    for position, node in enumerate(effects.arguments(call)):
        effects.holds(made, position, node)
    effects.answer(call, made)


def _import_module(effects: Effects, call: Call) -> None:
    node = effects.argument(call, 0, "name")
    if node is not None:
        effects.wrap(call, node, "module")


def _entered(effects: Effects, call: Call) -> None:
    """``ExitStack.enter_context``"""
    for node in effects.arguments(call)[:1]:
        effects.protocol(call, node, ("__enter__",), (), call.target)
        effects.protocol(call, node, ("__exit__",))


def _submitted(effects: Effects, call: Call) -> None:
    given = effects.arguments(call)
    if given:
        effects.apply(call, given[0], given[1:], call.target)


def _mapped(effects: Effects, call: Call) -> None:
    BUILTINS["map"](effects, call)


def _layers(effects: Effects, call: Call) -> None:
    """Containers of torch hold their modules, and call them when they are called."""
    path = effects.path(call)
    made = effects.machine.values.get(Kind.RESULT, path, call.invoke.site)
    for node in effects.arguments(call):
        effects.holds(made, None, node)
        effects.wrap(call, node, "contents", effects.items.rest(made))
    effects.answer(call, made)


def _parallel(effects: Effects, call: Call) -> None:
    """Wrappers of a module: a call of the wrapper is a call of the module."""
    path = effects.path(call)
    made = effects.machine.values.get(Kind.RESULT, path, call.invoke.site)
    for node in effects.arguments(call)[:1]:
        effects.machine.link(node, effects.machine.field(made, "module"))
        effects.holds(made, None, node)
    effects.answer(call, made)


_IDENTITIES = (
    "functools.update_wrapper",
    "functools.cmp_to_key",
    "abc.abstractmethod",
    "atexit.register",
    "typing.overload",
    "typing.final",
    "typing.override",
    "typing.runtime_checkable",
    "typing.no_type_check",
    "enum.unique",
    "weakref.proxy",
    "contextlib.nullcontext",
    "types.coroutine",
    "asyncio.create_task",
    "asyncio.ensure_future",
    "asyncio.wait_for",
    "asyncio.shield",
    "torch.compile",
    "torch.jit.script",
    "torch.jit.export",
    "torch.jit.ignore",
    "dataclasses.replace",
    "inspect.unwrap",
    "itertools.tee",
)

LIBRARY: Mapping[str, Model] = {
    **{name: _same for name in _IDENTITIES},
    "typing.cast": _cast,
    **PICKLES,
    **CODECS,
    **TESTING,
    "functools.lru_cache": _cached,
    "functools.cache": _cached,
    "functools.partial": _partial,
    "functools.partialmethod": _partial_method,
    "functools.wraps": _wraps,
    "functools.total_ordering": _totally_ordered,
    "functools.reduce": _reduce,
    "functools.singledispatch": _generic,
    "functools.singledispatchmethod": _generic,
    "functools.cached_property": _wrapper("property", "fget"),
    "abc.abstractproperty": _wrapper("property", "fget"),
    "contextlib.contextmanager": _wrapper("manager"),
    "contextlib.asynccontextmanager": _wrapper("manager"),
    "contextlib.closing": _closing,
    "contextlib.ExitStack.enter_context": _entered,
    "dataclasses.dataclass": _record,
    "attr.s": _record,
    "attr.attrs": _record,
    "attr.define": _record,
    "attr.frozen": _record,
    "attr.dataclass": _record,
    "attrs.define": _record,
    "attrs.frozen": _record,
    "dataclasses.field": _field,
    "attr.ib": _field,
    "attr.field": _field,
    "attrs.field": _field,
    **ITERTOOLS,
    **HEAPS,
    "collections.deque": collect("collections.deque"),
    "collections.OrderedDict": mapping("collections.OrderedDict"),
    "collections.Counter": mapping("collections.Counter"),
    "collections.ChainMap": mapping("collections.ChainMap"),
    "collections.defaultdict": _default_dict,
    "types.MappingProxyType": mapping("dict"),
    "types.MethodType": _method_type,
    "types.new_class": _new_class,
    "types.SimpleNamespace": _simple_namespace,
    "weakref.ref": _reference,
    "operator.attrgetter": _getter("<attribute>"),
    "operator.methodcaller": _getter("<method>"),
    "operator.itemgetter": _getter("<item>"),
    "threading.Thread": _thread,
    "threading.Timer": _thread,
    "multiprocessing.Process": _thread,
    "torch.multiprocessing.Process": _thread,
    "torch.multiprocessing.spawn": _spawn,
    "concurrent.futures.ThreadPoolExecutor.submit": _submitted,
    "concurrent.futures.ProcessPoolExecutor.submit": _submitted,
    "concurrent.futures.ThreadPoolExecutor.map": _mapped,
    "concurrent.futures.ProcessPoolExecutor.map": _mapped,
    "multiprocessing.Pool.map": _mapped,
    "asyncio.run": _run,
    "asyncio.gather": _gather,
    "importlib.import_module": _import_module,
    "pytest.mark.parametrize": _parametrize,
    "pytest.param": collect_arguments,
    "torch.nn.Sequential": _layers,
    "torch.nn.ModuleList": _layers,
    "torch.nn.ModuleDict": _layers,
    "torch.nn.DataParallel": _parallel,
    "torch.nn.parallel.DistributedDataParallel": _parallel,
    "torch.distributed.fsdp.FullyShardedDataParallel": _parallel,
}

QUIET = frozenset(
    {
        "functools.wraps",
        "functools.update_wrapper",
        "inspect.signature",
        "inspect.iscoroutinefunction",
        "typing.get_type_hints",
        "functools.singledispatch",
        "functools.lru_cache",
        "functools.cache",
        "functools.partial",
        "functools.partialmethod",
        "functools.cached_property",
        "contextlib.contextmanager",
        "contextlib.asynccontextmanager",
        "copy.copy",
        "copy.deepcopy",
        "types.MethodType",
        "types.SimpleNamespace",
        "weakref.ref",
        "weakref.proxy",
        "warnings.warn",
        "typing.cast",
    }
)
"""Functions that keep what they are given, and don't call it."""

HOLDERS = frozenset(name for name, model in LIBRARY.items() if model in (_layers, _parallel))
"""Modules of torch that call what they hold."""

CALLERS = frozenset({"atexit.register", "functools.cmp_to_key", *RAISERS})
"""Functions with a model that call what they are given all the same."""
