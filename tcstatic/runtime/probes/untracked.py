"""Parameters that a backward reaches and that no optimizer holds."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, final

from tcstatic.model import Location
from tcstatic.runtime.probes import measure
from tcstatic.runtime.probes.initials import Initials
from tcstatic.runtime.probes.ledger import mark, version_of
from tcstatic.runtime.probes.optimizers import Optimizer, Snapshot
from tcstatic.runtime.probes.ownership import Ownership
from tcstatic.runtime.probes.stream import Stream
from tcstatic.runtime.probes.swaps import Swaps

MAX_NODES: Final = 20_000  # of a graph that is searched for its leaves, once per run
LEAST_ROUNDS: Final = 5


@final
class Untracked:
    """The trained parameters outside of all optimizers, and who updates them.

    State: `looked` whether a graph was searched before, `_sighted` its leaves; `models` numbers of
    the models that a backward reached; `touched` parameter by ``id``, reached since the last step;
    `moves` whether any of them was ever seen to change; `rounds` steps in which they were reached,
    the first of them being `since`; `manual` the record of hand-written updates, made when
    parameters are trained in a program that has no optimizer; `found` whether the last backward
    reached any, `_left` those that backwards reached before the last step that found any, with
    their versions then,
    `_missed` in how many steps an optimizer had gradients while others went to waste, by number,
    and where it was made.
    """

    def __init__(self, stream: Stream, ownership: Ownership, initials: Initials) -> None:
        self._stream = stream
        self._initials = initials
        self._ownership = ownership
        self._candidates: list[Any] = []
        self._before: list[tuple[Any, int]] = []
        self._roots: Collection[int] = ()
        self._leaves: list[weakref.ref[Any]] = []
        self._sighted: list[weakref.ref[Any]] = []
        self.looked = self.found = False
        self.swaps = Swaps(stream)
        self._left: list[tuple[weakref.ref[Any], int]] = []
        self._missed: dict[int, tuple[int, Location | None]] = {}
        self._outside: tuple[Any, list[weakref.ref[Any]]] = (None, [])
        self.manual: Optimizer | None = None
        self._last: tuple[list[Any], measure.Pending, list[int]] | None = None
        self.models: dict[int, Any] = {}
        self.touched: dict[int, Any] = {}
        self.moves = False
        self.rounds = 0
        self.since = 0

    def find_leaves(self, loss: Any, *, lasting: bool) -> None:
        """In a program of bare tensors, the graph of the loss tells which ones are trained.

        `lasting`: those that an earlier loss was made of, too. One that is made anew each time is
        no parameter, it is where a graph was cut.
        """
        before = [leaf for known in self._sighted if (leaf := known()) is not None]
        self._sighted, self.looked = [], True
        todo: list[Any] = [loss.grad_fn]
        seen: set[Any] = set()
        while todo and len(seen) < MAX_NODES:
            node = todo.pop()
            if node is None or node in seen:
                continue
            seen.add(node)
            leaf = getattr(node, "variable", None)
            if leaf is not None:
                self._sighted.append(weakref.ref(leaf))
                if lasting and not any(one is leaf for one in before):
                    continue
                if not any(known() is leaf for known in self._leaves):
                    self._leaves.append(weakref.ref(leaf))
            todo.extend(following for following, _ in node.next_functions)

    def backward_begins(self, roots: Collection[int], held: tuple[int, ...]) -> None:
        """Note the gradients of what any model holds and no optimizer does.

        `roots` are the numbers of the models that may be reached, `held` the ``id`` of all
        parameters in optimizers.
        """
        self._roots = roots
        self._candidates = unheld = self._unheld(held)
        if unheld:
            self._candidates = [p for p in unheld if p.requires_grad]
            self._before = [(g, version_of(g)) for g in [p.grad for p in self._candidates]]

    def _unheld(self, held: tuple[int, ...]) -> list[Any]:
        """Return the parameters outside of all optimizers, found anew after each change."""
        key = (self._ownership.version, len(self._leaves), held)
        if self._outside[0] != key:
            ids = set(held)
            bare = [leaf for known in self._leaves if (leaf := known()) is not None]
            everyone = [*self._ownership.everyone(), *bare]
            self._outside = (key, [weakref.ref(p) for p in everyone if id(p) not in ids])
        found = self._outside[1]
        return [p for known in found if (p := known()) is not None] if found else []

    def backward_ends(self) -> list[Any]:
        """Return the untracked parameters that this backward reached."""
        self.models.update(dict.fromkeys(self._roots))
        self._roots = ()
        found: list[Any] = []
        self.found = False
        if not self._candidates:
            return found
        for parameter, (old, version) in zip(self._candidates, self._before, strict=True):
            gradient = parameter.grad
            if gradient is not None and (gradient is not old or gradient._version > version):
                found.append(parameter)
                self.touched[id(parameter)] = parameter
        self._candidates, self._before = [], []
        self.found = bool(found)
        return found

    def holds(self, parameter: Any) -> bool:
        """Tell whether one of the models in use holds `parameter`."""
        for number in self.models:
            root = self._stream.registry.thing(number)
            if root is not None and any(
                p is parameter for _, p in self._ownership.parameters(root)
            ):
                return True
        return False

    def stepped(self) -> None:
        """An optimizer stepped: look whether the untracked ones moved since the last time."""
        if self._last is None and not self.touched:
            return
        parameters = list(self.touched.values())
        if self._last is not None and not self.moves:
            before, norms, versions = self._last
            now = measure.norms(before)
            moved = [p._version for p in before] != versions
            self.moves = moved or now.values() != norms.values()
        if parameters:
            if self.rounds == 0:
                self.since = self._stream.step - 1
            self.rounds += 1
            self._left = [(weakref.ref(one), one._version) for one in parameters]
            self._last = (parameters, measure.norms(parameters), [p._version for p in parameters])
        self.touched = {}

    def settle(self, everyone: Sequence[Optimizer]) -> None:
        """The run ends: tell what is known of those that nobody has trained."""
        if self.rounds < LEAST_ROUNDS or self.moves:
            if self._stream.step:
                self._stream.tell_of_run(None, {}, {"left_untracked": False})
            return
        things = [self._stream.registry.thing(number) for number in sorted(self.models)]
        alive = [(one, version) for known, version in self._left if (one := known()) is not None]
        left = {id(one): one for one, version in alive if one._version == version}
        self.swaps.settle([one for one in things if one is not None], left)
        held = {id(one) for optimizer in everyone for one in optimizer.parameters()}
        self._tell_left([one for key, one in left.items() if key not in held])

    def steps(self, optimizer: Optimizer, *, missing: bool) -> None:
        """An optimizer steps; `missing`: with gradients, while those of others go to waste."""
        self.swaps.stepped(optimizer, missed=self.found)
        if missing and not optimizer.manual:
            count, where = self._missed.get(optimizer.number, (0, optimizer.where))
            self._missed[optimizer.number] = (count + 1, where)

    def _tell_left(self, left: list[Any]) -> None:
        """Tell of parameters whose gradients nobody has used by the end of the run. Those that were
        given their values may be meant to keep them."""
        stream = self._stream
        if not left or not self._missed or any(map(self._initials.was_given, left)):
            return
        number, (_, where) = max(self._missed.items(), key=lambda one: one[1][0])
        subjects = {
            "optimizer": (number,),
            "model": tuple(self.models),
            "parameter": tuple(sorted(map(stream.registry.number, left))),
        }
        values = {"left_untracked": True, "untracked": len(left)}
        stream.tell(stream.make("call", where, subjects, values, step=self.since))

    # -- updates written by hand --------------------------------------------------------------

    def adopt_manual(
        self, optimizers: dict[int, Optimizer], reached: list[Any], where: Location | None
    ) -> None:
        """In a program without optimizers, what a backward reaches is updated by hand."""
        if self.manual is None:
            if not reached or optimizers:
                return
            anchor = reached[0]
            number = -self._stream.registry.number(anchor)
            self.manual = Optimizer(number, lambda: anchor, where, manual=True)
            optimizers[number] = self.manual
            self.manual.live = ()
        if any(not o.manual for o in optimizers.values()):
            optimizers.pop(self.manual.number, None)
            return
        known = {id(p) for p in self.manual.live}
        fresh = [p for p in reached if id(p) not in known]
        if fresh:
            self.manual.live = (*self.manual.live, *fresh)
            positions = range(len(known), len(known) + len(fresh))
            self.manual.ledger.touched.update(positions)
            self.manual.ledger.backwards += 1
            self.manual.ledger.after_backward = [mark(p.grad) for p in self.manual.live]
        self.manual.where = where
        self.manual.before = Snapshot(self.manual, self.manual.parameters())

    def settle_update(
        self,
        optimizers: dict[int, Optimizer],
        finish: Callable[[Optimizer, Snapshot, Location | None], None],
    ) -> None:
        """A new backward begins: did the user update the parameters since the last one?"""
        manual = self.manual
        if manual is None or manual.number not in optimizers or manual.before is None:
            return
        if any(not optimizer.manual for optimizer in optimizers.values()):
            return  # an optimizer made out of sight did it
        snapshot = manual.before
        now = measure.norms(snapshot.parameters).values()
        versions = [p._version for p in snapshot.parameters]
        if now == snapshot.norms.values() and versions == snapshot.versions:
            return
        manual.before = None
        manual.ledger.observed_before = list(manual.ledger.after_backward)
        finish(manual, snapshot, manual.where)

    def forget(self) -> None:
        """Steps go by unwatched."""
        self.touched = {}
        self._candidates, self._before, self._roots = [], [], ()
        self._last = None
        if self.manual is not None:
            self.manual.before = None
