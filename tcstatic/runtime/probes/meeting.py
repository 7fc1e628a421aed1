"""The launcher's key-value store, where ranks leave what others may compare; nobody waits there."""

from __future__ import annotations

import os
import socket
import stat
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar, final

PREFIX: Final = "tcstatic"
_Answer = TypeVar("_Answer")
_MY_FILES: Final = "/dev/fd"  # what this process has open, on Linux and on macOS


@final
class Meeting:
    """Keys of our own in the store that all ranks of a process group reach, or in the one given.

    The process that serves it may end before the others do: from then on nothing arrives, which is
    no failure. torch writes a warning where a store is asked whose server has ended, so that its
    connections are looked at before. `serves` tells whether this process is the server. State:
    `_over` whether the server was seen to be gone.
    """

    def __init__(self, dist: Any, store: Any = None) -> None:
        if store is None:
            store = dist.distributed_c10d._get_default_store()
        self._store = dist.PrefixStore(PREFIX, store)
        port = _port(store)
        self._connections = _connections(port)
        self.serves = any(_listens(one, port) for one in _sockets(port))
        self._closing = weakref.finalize(self, _close, self._connections)
        self._over = False

    @property
    def gone(self) -> bool:
        """Whether nobody serves the store any more, or it was left for good."""
        if not self._over and self._connections:
            self._over = all(map(_has_ended, self._connections.values()))
        return self._over

    def leave_for_good(self) -> None:
        """This process asks for nothing any more."""
        self._over = True
        self._closing()

    def leave(self, key: str, text: str) -> None:
        """Leave a text under a key."""
        self._ask(lambda store: store.set(key, text))

    def look(self, key: str) -> bytes | None:
        """Return what was left under a key, if anything; it stays there."""
        return self._ask(lambda store: bytes(store.get(key)) if store.check([key]) else None)

    def has(self, keys: Sequence[str]) -> bool:
        """Whether something was left under each of some keys."""
        return bool(self._ask(lambda store: store.check(list(keys))))

    def read(self, keys: Sequence[str]) -> list[bytes] | None:
        """Return what was left under some keys, once there is something under each; it stays."""
        return self._ask(lambda store: _all(store, keys)) if self.has(keys) else None

    def take(self, keys: Sequence[str]) -> list[bytes] | None:
        """Return what was left under some keys, once all of it is there; it is there no longer."""

        def taken(store: Any) -> list[bytes] | None:
            if not store.check(list(keys)):
                return None
            found = [bytes(store.get(key)) for key in keys]
            for key in keys:
                store.delete_key(key)
            return found

        return self._ask(taken)

    def _ask(self, asked: Callable[[Any], _Answer]) -> _Answer | None:
        """Return what the store says, None once nobody serves it."""
        if self.gone:
            return None
        try:
            return asked(self._store)
        except RuntimeError:  # DistNetworkError and DistStoreError are such
            self._over = True
            return None


def _all(store: Any, keys: Sequence[str]) -> list[bytes]:
    if store.has_extended_api():  # all of it in one way there and back
        return list(map(bytes, store.multi_get(list(keys))))
    return [bytes(store.get(key)) for key in keys]


def _port(store: Any) -> int | None:
    """Where a TCPStore is served; None of other stores."""
    while hasattr(store, "underlying_store"):
        store = store.underlying_store
    return getattr(store, "port", None)


def _sockets(port: int | None) -> Iterator[socket.socket]:
    """The sockets of this process, each for who closes it; none where no port is asked for."""
    try:
        files = [int(name) for name in os.listdir(_MY_FILES)] if port else []
    except OSError:
        return
    for file in files:
        try:
            if stat.S_ISSOCK(os.fstat(file).st_mode):
                yield socket.socket(fileno=os.dup(file))
        except OSError:  # closed by now
            continue


def _connections(port: int | None) -> dict[object, socket.socket]:
    """The connections of this process to the server of a TCPStore, by its own end: they are looked
    at, not read.

    torch names the server's port, not the connection: one whose other end has that port is it.
    """
    found: dict[object, socket.socket] = {}
    for one in _sockets(port):
        if _far_port(one) != port or one.getsockname() in found:
            one.close()
        else:
            found[one.getsockname()] = one
    return found


def _listens(one: socket.socket, port: int | None) -> bool:
    """Whether a socket, which is closed here, is where a store is served."""
    with one:
        name = one.getsockname()
        if not isinstance(name, tuple) or name[1:2] != (port,):
            return False
        return bool(one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def _far_port(connection: socket.socket) -> int | None:
    """The port of the other end, where there is one."""
    try:
        name = connection.getpeername()
    except OSError:
        return None
    return name[1] if isinstance(name, tuple) else None


def _has_ended(connection: socket.socket) -> bool:
    """Whether the other end has closed a connection; nothing is taken from it."""
    try:
        return not connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True


def _close(connections: dict[object, socket.socket]) -> None:
    for one in connections.values():
        one.close()
    connections.clear()
