"""Events about objects themselves: made, wrapped, copied, replaced, frozen, switched."""

from __future__ import annotations

import weakref
from collections import Counter
from types import FrameType
from typing import Any, Final, final

from tcstatic.model import Location, Site
from tcstatic.runtime.probes import measure
from tcstatic.runtime.probes.adapters import Adapters
from tcstatic.runtime.probes.alike import Alike
from tcstatic.runtime.probes.followers import Followers
from tcstatic.runtime.probes.frames import names_in
from tcstatic.runtime.probes.inherited import Inherited
from tcstatic.runtime.probes.initials import Initials
from tcstatic.runtime.probes.ownership import Ownership
from tcstatic.runtime.probes.piling import Piling
from tcstatic.runtime.probes.roles import (
    LOADER,
    MODULE,
    OPTIMIZER,
    SCHEDULER,
    is_replicating,
    role_of,
    wrapped_module,
)
from tcstatic.runtime.probes.stream import Stream
from tcstatic.runtime.probes.ties import Ties
from tcstatic.runtime.probes.woken import Woken

_CASTS: Final = (".to", ".half", ".bfloat16")
_COPIERS: Final = ("copy.deepcopy", "copy.copy")
_FIRST_LOOK: Final = 4
_NOT_ASKED: Final = frozenset({"__init__", "forward"})
_TOLD: Final = frozenset({LOADER, MODULE, OPTIMIZER, SCHEDULER})


@final
class Structure:
    """Follows models and wrappers.

    State: `_births` module number -> the site that returned it first, `_made` how many each
    site made; `replaced` parameters that something took the place of; `copied` the modules
    that are copies of others; `wrappers` inner module number -> numbers of its data-parallel
    wrappers; `modes` module number -> sequence of the last train()/eval() call on it;
    `watchful` is set once an optimizer exists: from then on each change of a module's structure is
    an event; `_builders` are the functions that made one; `born` the versions of parameters when
    the model that holds them was first seen, by number, `_frozen` where they were told last whether
    they are to be trained; `due` the step after which frozen parts and copies are looked
    at, `_due_alike` that after which units that are alike are, by optimizer.
    """

    def __init__(self, stream: Stream, ownership: Ownership, ties: Ties) -> None:
        self._stream = stream
        self._ties = ties
        self._ownership = ownership
        self._seen: set[int] = set()
        self._births: dict[int, int] = {}
        self._made: Counter[int] = Counter()
        self.copied: set[int] = set()
        self.replaced: set[int] = set()
        self.wrappers: dict[int, list[int]] = {}
        self.replicating: set[int] = set()
        self.within: weakref.WeakKeyDictionary[Any, weakref.ref[Any]] = weakref.WeakKeyDictionary()
        self.modes: dict[int, int] = {}
        self.watchful = False
        self._frozen: dict[int, Location] = {}
        self._woken = Woken(stream)
        self.followers, self.inherited = Followers(stream), Inherited(stream)
        self._adapters = Adapters(stream)
        self.piling = Piling(stream)
        self.initials = Initials(stream, ownership)
        self.alike = Alike(stream, ownership, self.initials)
        self.due = _FIRST_LOOK
        self._due_alike: dict[int, int] = {}
        self._builders: set[tuple[str, str]] = set()
        self.born: dict[int, int] = {}

    def optimizer_made(self, where: Location) -> None:
        """A call has returned an optimizer."""
        self.watchful = True
        self._builders.add((where.file, where.function))

    def step_begins(self, optimizer: Any, number: int) -> None:
        """The optimizer of torch's with this number is about to step."""
        self.watchful = True
        if number not in self.alike.groups:
            self.alike.begins(optimizer, number)

    def model_returned(self, module: Any, site: Site, where: Location | None) -> None:
        """A site returned a module: note it if it is new, wrapped or copied."""
        registry = self._stream.registry
        number = registry.number(module)
        inner = wrapped_module(module)
        self._cast(module, number, site, where)
        changes = site.kind in {"wrap.new", "model.load"} or inner is not None
        changes = changes or site.callee.startswith("torch.nn.utils.")
        if number in self._seen and not changes:
            self._handed_on(module, number, site, where)
            return
        first = number not in self._seen
        if first:
            self._births[number] = site.number
            self._made[site.number] += 1
        self._seen.add(number)
        fresh = self._ownership.adopt(module)
        if not first and not fresh:
            return
        numbers = [registry.number(p) for p in module.parameters()]
        if first and site.kind != "model.load":
            self._note_born(module)
        subjects = {"model": (number,), "parameter": tuple(fresh if not first else numbers)}
        values: dict[str, Any] = {"type": type(module).__name__, "fresh": len(fresh)}
        kind = "model.new"
        if inner is not None or site.kind == "wrap.new":
            kind = "wrap.new"
            if inner is not None:
                self._wrapped(module, inner, subjects, values)
        elif site.callee in _COPIERS or site.callee.endswith("deepcopy"):
            values["how"] = "copy"
            self.copied.add(number)
            self.followers.copied(module, where, self._ownership.everyone())
            models = [self._stream.registry.thing(one) for one in sorted(self._seen)]
            self.inherited.copied(module, where, models)
        elif not first:
            kind = "model.mutate"
        elif site.kind == "model.load":
            kind = "model.load"
        self._stream.tell(self._stream.make(kind, where, subjects, values))

    def _note_born(self, module: Any) -> None:
        known = self._stream.registry.known
        for parameter in module.parameters():
            if not measure.is_lazy(parameter) and not parameter.is_inference():
                self.born.setdefault(known(parameter), parameter._version)

    def _cast(self, module: Any, number: int, site: Site, where: Location | None) -> None:
        """A module may have been moved: that its weights are of a half precision now, matters."""
        parameters = list(module.parameters()) if site.callee.endswith(_CASTS) else []
        if parameters and measure.is_small(parameters[0]):
            held = tuple(map(self._stream.registry.number, parameters))
            values = {"type": type(module).__name__, "dtype": str(parameters[0].dtype)}
            subjects = {"model": (number,), "parameter": held}
            self._stream.tell(self._stream.make("model.move", where, subjects, values))

    def _handed_on(self, module: Any, number: int, site: Site, where: Location | None) -> None:
        """A function returned a module that it made: where it makes many, its caller counts."""
        birth = self._births.get(number)
        if not self.watchful or birth in (None, site.number) or self._made[birth or 0] < 2:
            return
        numbers = tuple(self._stream.registry.number(p) for p in module.parameters())
        self._births[number] = site.number
        subjects = {"model": (number,), "parameter": numbers}
        values = {"type": type(module).__name__, "how": "handed on"}
        self._stream.tell(self._stream.make("model.new", where, subjects, values))

    def _wrapped(
        self, outer: Any, inner: Any, subjects: dict[str, tuple[int, ...]], values: dict[str, Any]
    ) -> None:
        registry = self._stream.registry
        inner_number, number = registry.number(inner), registry.number(outer)
        subjects["model"] = (number, inner_number)
        if type(outer).__name__ == "OptimizedModule":
            return
        known = self.wrappers.setdefault(inner_number, [])
        known[:] = [n for n in known if registry.thing(n) is not None and n != number]
        known.append(number)
        if is_replicating(outer):
            self.replicating.add(number)
            whole = weakref.ref(inner)
            for part in inner.modules():
                if part is not inner:
                    self.within[part] = whole

    def whole_of(self, module: Any) -> Any:
        """Return what a data-parallel wrapper wraps, if a module is a part of it."""
        whole = self.within.get(module)
        return None if whole is None else whole()

    def wrapped_times(self, module: Any) -> int:
        """Return how many live wrappers of one type hold what `module` wraps; 0 for no wrapper."""
        inner = wrapped_module(module)
        if inner is None or type(module).__name__ == "OptimizedModule":
            return 0
        registry = self._stream.registry
        alive = [registry.thing(n) for n in self.wrappers.get(registry.number(inner), ())]
        same = sum(1 for wrapper in alive if type(wrapper) is type(module))
        return max(same, 1) + (type(inner) is type(module))

    def module_registered(self, parent: Any, name: str, child: Any) -> None:
        """Torch tells that a submodule is being set (before it is)."""
        self._ownership.changed()
        old = parent._modules.get(name)
        if self._ties.ties and old is not None and old is not child:
            self._ties.module_set(old)
        if not self.watchful or child is None:
            return
        if old is child:
            return
        registry = self._stream.registry
        if registry.known(parent):
            registry.number(child)  # what is registered on it later is part of a known model
        gone = [registry.known(p) for p in old.parameters()] if old is not None else []
        come = [registry.number(p) for p in child.parameters()]
        if gone or (come and registry.known(parent)):
            self._mutated(parent, name, gone, come)

    def parameter_registered(self, module: Any, name: str, parameter: Any) -> None:
        """Torch tells that a parameter is being set (before it is)."""
        if parameter is None:
            self._ownership.changed()
            return
        old = module._parameters.get(name)
        if self._ties.ties and old is not None and old is not parameter:
            self._ties.parameter_set(module)
        self._ownership.registered(module, name, parameter)
        self.initials.registered(parameter)
        if self.watchful and old is not None and old is not parameter:
            registry = self._stream.registry
            self._mutated(module, name, [registry.known(old)], [registry.number(parameter)])

    def _mutated(self, module: Any, name: str, gone: list[int], come: list[int]) -> None:
        self.replaced.update(gone)
        locator = self._stream.locator
        frame = locator.frame(3)
        # Whoever makes a layer's parameter anew could write to it as well: its caller is right.
        own = name in getattr(module, "_parameters", ())
        where = None if frame is None or own else self._asked(frame)
        where = where or locator.here(3, thread=self._stream.thread)
        number = self._stream.registry.number(module)
        subjects = {
            "model": (number,),
            "parameter": tuple(n for n in (*gone, *come) if n),
        }
        values = {"name": name, "type": type(module).__name__, "replaced": len(gone)}
        self._stream.tell(self._stream.make("model.mutate", where, subjects, values))

    def _asked(self, frame: FrameType) -> Location:
        """Where a model was asked to change itself: outside of its own methods, and at the latest
        in the function that made an optimizer."""
        locator, place = self._stream.locator, self._stream.locator.place(frame)
        while (place.file, place.function) not in self._builders:
            code, caller = frame.f_code, frame.f_back
            first = names_in(frame).get("self") if code.co_argcount else None
            own = role_of(first) == MODULE and code.co_name not in _NOT_ASKED
            if not own or caller is None or not locator.is_users(caller.f_code.co_filename):
                break
            frame, place = caller, locator.place(caller)
        return place

    def mode_called(self, module: Any, site: Site, where: Location | None) -> None:
        """``train()`` or ``eval()`` was called on a module."""
        number = self._stream.registry.number(module)
        kind = "model.train" if module.training else "model.eval"
        values = {"type": type(module).__name__, "training": bool(module.training)}
        numbers = (number, *self._around(module)) if module.training else (number,)
        event = self._stream.make(kind, where, {"model": numbers}, values)
        for related in self.related(module):
            self.modes[related] = event.sequence
        self._stream.tell(event)
        self._woken.called(module, where)

    def froze(self, thing: Any, parameters: list[Any], where: Location | None) -> None:
        """``requires_grad`` was set on a model or on tensors, to whatever value."""
        registry = self._stream.registry
        subjects = {
            "model": (registry.number(thing),),
            "parameter": tuple(registry.number(p) for p in parameters),
        }
        self._adapters.changed()
        held = [p for p in parameters if self._ownership.had_owner(p)]
        if where is not None:
            self._frozen.update(dict.fromkeys(map(registry.number, held), where))
        self._stream.tell(self._stream.make("model.freeze", where, subjects))

    def stepped(self, number: int, steps: int) -> None:
        """The optimizer with this number has done so many steps."""
        anew = steps >= self._due_alike.get(number, _FIRST_LOOK)
        if anew or steps >= self.due:
            self.look(max(steps, self.due // 2))
        if anew:
            self._due_alike[number] = 2 * steps
            self.alike.look(number)

    def look(self, steps: int) -> None:
        """An optimizer has done so many steps: look at frozen parts and copies."""
        self.due = 2 * steps
        self._woken.look()
        self.followers.look()
        if self._frozen:
            registry = self._stream.registry
            models = {number: registry.thing(number) for number in sorted(self._seen)}
            self._adapters.look(models, self._frozen, self.born)

    def settle(self) -> None:
        """The run ends: tell what is known of frozen parts and of copies; of those that are gone,
        what was seen last."""
        self.look(self.due)
        for one in (
            self._woken,
            self.followers,
            self.inherited,
            self._adapters,
            self.alike,
            self.piling,
        ):
            one.settle()

    def _around(self, part: Any) -> list[int]:
        """Return the numbers of the models that hold a module as a part."""
        things = [(number, self._stream.registry.thing(number)) for number in self._seen]
        wholes = [(number, one) for number, one in things if one is not None and one is not part]
        return [number for number, one in wholes if any(m is part for m in one.modules())]

    def alone(self, module: Any, number: int) -> bool:
        """Tell whether the module with this number wraps nothing, and nothing wraps it."""
        return number not in self.wrappers and wrapped_module(module) is None

    def related(self, module: Any) -> list[int]:
        """Return the numbers of a module, of what it wraps and of what wraps it."""
        registry = self._stream.registry
        numbers = [registry.number(module)]
        inner = wrapped_module(module)
        if inner is None and numbers[0] not in self.wrappers:
            return numbers
        if inner is not None:
            numbers.append(registry.number(inner))
        for number in list(numbers):
            numbers.extend(self.wrappers.get(number, ()))
        return numbers


def flatten(value: Any, limit: int = 16) -> list[Any]:
    """Return the models, optimizers, schedulers and loaders in a returned value: itself, or in one
    container."""
    if role_of(value) in _TOLD:
        return [value]
    if isinstance(value, tuple | list):
        return [item for item in value[:limit] if role_of(item) in _TOLD]
    return []
