"""Waiting for a socket: looks first, sleeps then, and looks seldom where that was in vain."""

import asyncio
import os
import select
import socket
import threading
import time

import pytest

from pg_stash import waiting


@pytest.fixture
def ends():
    near, far = socket.socketpair()
    near.setblocking(False)
    with near, far:
        yield near, far


class Counted:
    """A wait whose looks and sleeps are counted; `answers` says whether a look finds something. Others take 7 µs."""

    def __init__(self):
        self.looks = self.yields = self.sleeps = 0
        self.answers = lambda: False
        self.wait = waiting._looking(self.look, self.let_others, self.sleep, lambda: self.yields * 7e-6)

    def look(self, timeout):
        assert timeout == 0
        self.looks += 1
        return self.answers()

    def let_others(self):
        self.yields += 1

    def sleep(self, _write, _timeout):
        self.sleeps += 1
        return True


def test_an_answer_ends_the_wait(ends):
    near, far = ends
    wait = waiting.poller(near.fileno())
    far.send(b"x")
    assert wait(False, 5)
    near.recv(1)
    threading.Timer(0.2, far.send, [b"y"]).start()
    begun = time.monotonic()
    assert wait(False, 20)
    assert 0.1 < time.monotonic() - begun < 10
    assert near.recv(1) == b"y"


def test_a_hangup_ends_the_wait(ends):
    near, far = ends
    far.close()
    assert waiting.poller(near.fileno())(False, 20)


def test_the_wait_to_write_ends_where_one_can_write_or_read(ends):
    near, far = ends
    wait = waiting.poller(near.fileno())
    assert wait(True, 5)
    try:
        while True:
            near.send(b"x" * 65536)
    except BlockingIOError:
        pass
    assert not wait(True, 0.1)
    far.send(b"x")
    assert wait(True, 5)


def test_without_an_answer_the_wait_sleeps_until_its_timeout(ends):
    wait = waiting.poller(ends[0].fileno())
    for _ in range(5):
        begun, used = time.monotonic(), time.thread_time()
        assert not wait(False, 0.1)
        assert time.monotonic() - begun >= 0.09
        assert time.thread_time() - used < 0.05


def test_in_an_event_loop_too(ends):
    near, far = ends

    async def main():
        assert not await waiting.ready(near.fileno(), False, 0.05)
        assert await waiting.ready(near.fileno(), True, 5)
        far.send(b"x")
        assert await waiting.ready(near.fileno(), False, 5)

    asyncio.run(main())


def test_a_quick_answer_is_seen_without_sleep():
    counted = Counted()
    counted.answers = lambda: counted.looks % 10 == 0
    for _ in range(100):
        assert counted.wait(False, 1)
    assert (counted.looks, counted.yields, counted.sleeps) == (1000, 900, 0)


def test_waits_to_write_do_not_look():
    counted = Counted()
    assert counted.wait(True, 1)
    assert (counted.looks, counted.sleeps) == (0, 1)


def test_where_answers_take_long_one_wait_in_256_looks_and_quick_ones_bring_the_looks_back():
    counted = Counted()
    for _ in range(1000):
        counted.wait(False, 1)
    before = counted.looks
    for _ in range(256 * 10):
        counted.wait(False, 1)
    # The last look is after the 22nd yield, with which 150 µs are over.
    assert counted.looks - before == 10 * 23

    counted.answers = lambda: True
    for _ in range(1000):
        counted.wait(False, 1)
    sleeps, looks = counted.sleeps, counted.looks
    for _ in range(100):
        counted.wait(False, 1)
    assert (counted.sleeps - sleeps, counted.looks - looks) == (0, 100)


@pytest.mark.skipif(not hasattr(os, "sched_yield"), reason="this system cannot yield the processor")
def test_a_look_at_a_socket_is_followed_by_a_yield_and_that_by_a_look(ends, monkeypatch):
    near, far = ends
    monkeypatch.setattr(os, "sched_yield", lambda: far.send(b"x"))
    assert waiting.poller(near.fileno())(False, 0)


@pytest.mark.parametrize(("module", "name"), [(os, "sched_yield"), (select, "poll")])
def test_a_system_without_it_sleeps(ends, monkeypatch, module, name):
    near, far = ends
    monkeypatch.delattr(module, name)
    wait = waiting.poller(near.fileno())
    assert not wait(False, 0.05)
    assert wait(True, 0.05)
    far.send(b"x")
    assert wait(False, 20)
