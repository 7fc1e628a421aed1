"""The handler that users do not see."""

from __future__ import annotations

import _signal
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tcstatic.runtime.live import signals
from tcstatic.runtime.live.signals import LastWord


class Session:
    busy = False
    pid = -1
    status: int | None = None

    class job:
        alone = True


@pytest.fixture(autouse=True)
def _defaults() -> Iterator[None]:
    before = {signum: _signal.getsignal(signum) for signum in signals.SIGNALS}
    for signum in before:
        _signal.signal(signum, _signal.SIG_DFL)
    yield
    for signum, handler in before.items():
        _signal.signal(signum, handler)


def installed() -> Any:
    signals.install(Session())  # type: ignore[arg-type]
    return _signal.getsignal(signal.SIGTERM)


def test_it_stands_there_and_is_not_seen() -> None:
    assert isinstance(installed(), LastWord)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL


def test_the_users_handler_replaces_it_and_gets_the_default_back() -> None:
    installed()
    mine = lambda *_: None  # noqa: E731
    assert signal.signal(signal.SIGTERM, mine) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) is mine
    signals.release()
    assert signal.getsignal(signal.SIGTERM) is mine


def test_a_handler_of_the_users_is_left_alone() -> None:
    mine = lambda *_: None  # noqa: E731
    signal.signal(signal.SIGTERM, mine)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    installed()
    assert signal.getsignal(signal.SIGTERM) is mine
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_release_gives_the_default_back() -> None:
    installed()
    signals.release()
    assert _signal.getsignal(signal.SIGTERM) is _signal.SIG_DFL
