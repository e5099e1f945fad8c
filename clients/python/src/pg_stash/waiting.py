"""Waiting for a connection's socket, in a thread and in an event loop."""

from __future__ import annotations

import asyncio
import os
import select
import time
from typing import Any, Callable

# A server on the same machine answers sooner than a machine with nothing else to do puts a thread to sleep and wakes it
# again. It has answered a batch, too, within so many seconds.
_LOOKING = 150e-6
# After looks in vain, so many waits at most go without.
_LONGEST_PAUSE = 255


def poller(fd: int) -> Callable[[bool, float], Any]:
    """What waits for a socket to be readable, or writable too where that is asked for; false after the timeout.

    It looks for an answer for a while before it sleeps, and after each look lets others have the processor: the server,
    if it is on the same. Where answers take longer, it soon looks seldom.
    """
    if not hasattr(select, "poll"):
        return lambda write, timeout: any(select.select([fd], [fd] if write else [], [], timeout))
    reading, writing = select.poll(), select.poll()
    reading.register(fd, select.POLLIN)
    writing.register(fd, select.POLLIN | select.POLLOUT)

    def sleep(write: bool, timeout: float) -> Any:
        return (writing if write else reading).poll(timeout * 1000)

    return _looking(reading.poll, os.sched_yield, sleep, time.perf_counter) if hasattr(os, "sched_yield") else sleep


def _looking(
    look: Callable[[int], Any],
    let_others: Callable[[], None],
    sleep: Callable[[bool, float], Any],
    now: Callable[[], float],
) -> Callable[[bool, float], Any]:
    pause = paused = 0

    def poll(write: bool, timeout: float) -> Any:
        nonlocal pause, paused
        if write:
            return sleep(write, timeout)
        if paused < pause:
            paused += 1
            return sleep(write, timeout)
        until = now() + _LOOKING
        while True:
            if look(0):
                pause //= 2
                return True
            # Others may have had the processor for long: the last look is after that.
            if now() > until:
                break
            let_others()
        pause, paused = min(2 * pause + 1, _LONGEST_PAUSE), 0
        return sleep(write, timeout)

    return poll


async def ready(fd: int, write: bool, timeout: float) -> bool:
    """The same in the running event loop."""
    loop = asyncio.get_running_loop()
    settled: asyncio.Future[bool] = loop.create_future()

    def settle(is_ready: bool) -> None:
        if not settled.done():
            settled.set_result(is_ready)

    loop.add_reader(fd, settle, True)
    if write:
        loop.add_writer(fd, settle, True)
    timer = loop.call_later(timeout, settle, False)
    try:
        return await settled
    finally:
        timer.cancel()
        loop.remove_reader(fd)
        if write:
            loop.remove_writer(fd)
