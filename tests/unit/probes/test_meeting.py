"""Keys in the launcher's store, and what happens once nobody serves it any more."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta

import pytest
import torch.distributed as dist

from tcstatic.runtime.probes.meeting import Meeting

SERVER = """
import sys
from torch.distributed import TCPStore
store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
print(store.port, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def server() -> Iterator[subprocess.Popen[str]]:
    pipe = subprocess.PIPE
    started = subprocess.Popen([sys.executable, "-c", SERVER], stdin=pipe, stdout=pipe, text=True)
    assert started.stdout is not None
    port = int(started.stdout.readline())
    store = dist.TCPStore("127.0.0.1", port, is_master=False, timeout=timedelta(seconds=30))
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        yield started
    finally:
        dist.destroy_process_group()
        started.kill()
        started.communicate()


@pytest.mark.usefixtures("server")
def test_what_is_left_is_taken_once_all_of_it_is_there() -> None:
    meeting = Meeting(dist)
    meeting.leave("a", "one")
    assert meeting.take(["a", "b"]) is None
    meeting.leave("b", "two")
    assert meeting.take(["a", "b"]) == [b"one", b"two"]
    assert meeting.take(["a"]) is None
    assert not meeting.gone


def test_a_store_that_nobody_serves_is_no_failure_and_torch_says_nothing(
    server: subprocess.Popen[str], capfd: pytest.CaptureFixture[str]
) -> None:
    meeting = Meeting(dist)
    meeting.leave("a", "one")
    server.kill()
    server.wait()
    assert meeting.take(["a"]) is None
    assert meeting.gone
    meeting.leave("a", "two")
    assert meeting.take(["a"]) is None
    assert capfd.readouterr().err == ""


@pytest.mark.usefixtures("server")
def test_who_left_for_good_asks_for_nothing() -> None:
    meeting = Meeting(dist)
    meeting.leave("a", "one")
    meeting.leave_for_good()
    assert meeting.gone
    assert meeting.look("a") is None


@pytest.mark.usefixtures("server")
def test_who_serves_the_store_knows_it() -> None:
    assert not Meeting(dist).serves
    wait = timedelta(seconds=30)
    own = dist.TCPStore("127.0.0.1", 0, is_master=True, timeout=wait, wait_for_workers=False)
    assert Meeting(dist, own).serves
    reached = dist.TCPStore("127.0.0.1", own.port, is_master=False, timeout=wait)
    assert Meeting(dist, dist.PrefixStore("own", reached)).serves
    assert not Meeting(dist, dist.HashStore()).serves
