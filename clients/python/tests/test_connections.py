"""Connections: threads, forks, servers that stop and hang, and the limits of the pool."""

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time

import psycopg
import pytest

from pg_stash import AsyncClient, Client

from .conftest import connection_of


def sessions(server, name):
    """The sessions of an application."""
    return int(server.sql(f"SELECT count(*) FROM pg_stat_activity WHERE application_name = '{name}'"))


def has_sessions(server, name, number):
    """Whether an application comes to have that many sessions. A server process ends a moment after its connection."""
    until = time.monotonic() + 20
    while sessions(server, name) != number and time.monotonic() < until:
        time.sleep(0.1)
    return sessions(server, name) == number


def test_threads_share_a_limited_number_of_connections(server, cache_name):
    client = Client(server.url(), cache_name, fail_open=False, max_connections=3, application_name=cache_name)
    client.set("n", 0)
    threads = [threading.Thread(target=lambda: [client.incr("n") for _ in range(100)]) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.get("n") == 1200
    assert sessions(server, cache_name) == 3
    client.close()


def test_coroutines_share_a_limited_number_of_connections(server, cache_name):
    async def main():
        client = AsyncClient(server.url(), cache_name, fail_open=False, max_connections=3, application_name=cache_name)
        await client.set("n", 0)
        await asyncio.gather(*(client.incr("n") for _ in range(300)))
        assert await client.get("n") == 300
        assert sessions(server, cache_name) == 3
        await client.close()
        return client

    client = asyncio.run(main())
    # Another event loop may use it, too.
    assert asyncio.run(client.get("n")) == 300
    asyncio.run(client.close())


def test_an_exhausted_pool_is_an_error_in_time(server, cache_name):
    client = Client(server.url(), cache_name, fail_open=False, max_connections=1, timeout=0.3)
    client.get("k")
    taken = client._pool.take()
    with pytest.raises(psycopg.OperationalError, match="all 1 connections"):
        client.get("k")
    client._pool.give_back(taken)
    assert client.get("k") is None
    client.close()


def test_an_exhausted_pool_is_no_outage(server, cache_name, caplog):
    client = Client(server.url(), cache_name, max_connections=1, timeout=0.2, retry_interval=60)
    client.set("k", "v")
    taken = client._pool.take()
    assert client.get("k", "miss") == "miss"
    assert "have been in use" in caplog.text
    client._pool.give_back(taken)
    assert client.get("k") == "v"
    client.close()


def test_waiting_coroutines_that_give_up_leave_their_turn_to_others(server, cache_name):
    async def main():
        client = AsyncClient(server.url(), cache_name, fail_open=False, max_connections=1)
        await client.set("k", "v")
        taken = await client._pool.take()
        waiting = [asyncio.ensure_future(client.get("k")) for _ in range(3)]
        await asyncio.sleep(0.05)
        await client._pool.give_back(taken)
        waiting[0].cancel()
        assert await asyncio.wait_for(asyncio.gather(*waiting[1:]), 3) == ["v", "v"]
        await client.close()

    asyncio.run(main())


def test_a_cancelled_coroutine_takes_its_connection_along(server, cache_name):
    async def main():
        async with AsyncClient(server.url(), cache_name, fail_open=False, max_connections=1) as client:
            async with client.claim("k", lease=60):
                waiting = asyncio.ensure_future(client._run(client.calls.claim("k", 60, 30)))
                # The lease is released over the one connection, so the waiting call has to be gone from it first.
                await asyncio.sleep(0.2)
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
            assert await client.get("k") is None

    asyncio.run(main())


def in_child(work):
    """Runs a function in a forked process; whether it returned true."""
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(0 if work() else 1)
        except BaseException:
            os._exit(2)
    return os.waitpid(pid, 0)[1] == 0


def test_a_forked_process_has_connections_of_its_own(server, cache_name):
    client = Client(server.url(), cache_name, fail_open=False)
    client.set("k", "parent")

    def session(client):
        return connection_of(client).pgconn.backend_pid

    before = session(client)

    def child():
        assert client.get("k") == "parent"
        return session(client) != before and client.set("k", "child")

    assert in_child(child)
    assert client.get("k") == "child"
    assert session(client) == before
    client.close()


def test_a_fork_while_other_threads_are_busy(server, cache_name):
    client = Client(server.url(), cache_name, fail_open=False, max_connections=4)
    client.set("k", "v")
    stop = threading.Event()

    def work():
        while not stop.is_set():
            assert client.get("k") == "v"

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            assert in_child(lambda: all(client.get("k") == "v" for _ in range(50)))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    client.close()


EXITS = """
import asyncio, os, sys
from pg_stash import AsyncClient, Client

client, coroutines = Client(sys.argv[1], sys.argv[2]), AsyncClient(sys.argv[1], sys.argv[2])
client.set("k", "v")
assert asyncio.run(coroutines.get("k")) == "v"
child = os.fork()
assert client.get("k") == "v" and asyncio.run(coroutines.get("k")) == "v"
if child:
    assert os.waitpid(child, 0)[1] == 0
"""


def test_nothing_is_left_behind_at_exit(server, cache_name):
    url = f"{server.url()}&application_name={cache_name}"
    command = [sys.executable, "-X", "dev", "-W", "ignore::DeprecationWarning", "-c", EXITS, url, cache_name]
    started = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert time.monotonic() - started < 30
    assert has_sessions(server, cache_name, 0)


def test_event_loops_that_have_ended_leave_no_connections(server, cache_name):
    client = AsyncClient(server.url(), cache_name, fail_open=False, application_name=cache_name)
    for _ in range(5):
        assert asyncio.run(client.get("k")) is None
    assert has_sessions(server, cache_name, 1)
    client.close_idle()
    assert has_sessions(server, cache_name, 0)


def test_what_is_running_ends_well_when_the_client_is_closed(server, cache_name):
    client = Client(server.url(), cache_name, fail_open=False, application_name=cache_name)
    client.set("k", "v")
    taken = client._pool.take()
    client.close()
    assert client.get("k") == "v"
    client._pool.give_back(taken)
    assert taken.closed
    client.close()
    assert has_sessions(server, cache_name, 0)


def test_a_server_that_stops_and_comes_back(own_server, connect, caplog):
    url = own_server.url()
    open_ = connect(url, fail_open=True, retry_interval=0.2)
    strict = connect(url)
    assert open_.set("k", "v", ttl=600)
    assert strict.get("k") == "v"

    own_server.stop()
    with caplog.at_level(logging.INFO, "pg_stash"):
        assert open_.get("k", "miss") == "miss"
        assert open_.set("k", "lost") is False
        assert open_.incr("n") is None
        assert open_.get_many(["k"]) == {}
        assert open_.set_many({"a": 1}) == 0
        calls = open_.calls
        assert open_.pipeline(calls.get("k", 7), calls.set("k", 1)) == [7, False]
        with pytest.raises(psycopg.OperationalError):
            strict.get("k")
        with pytest.raises(psycopg.OperationalError):
            open_.invalidate("a")
        assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1
        assert "not available" in caplog.text

    own_server.start()
    time.sleep(0.3)
    assert open_.get("k") == "v"
    assert strict.get("k") == "v"


def test_a_restart_between_two_calls_goes_unnoticed(own_server, connect):
    client = connect(own_server.url())
    client.set("k", "v")
    client.incr("n")
    own_server.stop()
    own_server.start()
    assert client.get("k") == "v"
    own_server.stop()
    own_server.start()
    # Not repeatable, but the server said that it had ended the session before.
    assert client.incr("n") == 2


def test_a_call_that_was_not_sent_yet_is_repeated(own_server, connect):
    client = connect(own_server.url())
    client.set("k", "v")
    # Its server process says nothing before it ends; incr has to be prepared first.
    os.kill(connection_of(client).pgconn.backend_pid, signal.SIGKILL)
    for _ in range(300):
        time.sleep(0.1)
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(own_server.url()):
            break
    assert client.incr("n") == 1


def test_a_session_ended_by_an_administrator(server, connect, cache_name):
    client = connect(server.url(), cache_name)
    client.set("k", "v")
    pid = connection_of(client).pgconn.backend_pid
    server.sql(f"SELECT pg_terminate_backend({pid}, 5000)")
    assert client.get("k") == "v"


def test_a_server_that_hangs(own_server, connect):
    client = connect(own_server.url(), timeout=0.5)
    client.set("k", "v")
    pid = connection_of(client).pgconn.backend_pid
    os.kill(pid, signal.SIGSTOP)
    try:
        started = time.monotonic()
        with pytest.raises(psycopg.OperationalError, match=r"no answer from the server within 0\.5 s"):
            client.get("k")
        assert time.monotonic() - started < 5
        assert client.get("k") == "v"
    finally:
        os.kill(pid, signal.SIGCONT)


def test_nobody_there(connect, tmp_path, caplog):
    client = connect(f"host={tmp_path} dbname=cache", fail_open=True)
    assert client.get("k", 1) == 1
    for _ in range(100):
        assert client.set("k", 1) is False
    assert len(caplog.records) == 1


def test_unused_connections_are_closed(server, cache_name):
    client = Client(server.url(), cache_name, fail_open=False, max_idle=0.2, application_name=cache_name)
    first = client._pool.take()
    client.get("k")
    client._pool.give_back(first)
    assert sessions(server, cache_name) == 2
    assert has_sessions(server, cache_name, 0)
    assert client.get("k") is None
    client.close()


def test_a_call_in_the_middle_of_which_the_server_crashes(own_server):
    client = Client(own_server.url(), fail_open=True, retry_interval=0.1)
    client.set("k", "v")
    stop, outcomes = threading.Event(), []

    def work():
        while not stop.is_set():
            outcomes.append(client.get("k", "miss"))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    own_server.stop("immediate")
    own_server.start()
    time.sleep(0.5)
    stop.set()
    for thread in threads:
        thread.join()
    # The crash has lost the entry, and no other thread's answer has come for it.
    assert set(outcomes) <= {"v", "miss"}
    assert client.set("k", "again")
    assert client.get("k") == "again"
    client.close()


def test_a_url_of_sqlalchemy(server, cache_name):
    url = server.url().replace("postgresql://", "postgresql+psycopg://")
    with Client(url, cache_name, fail_open=False) as client:
        assert client.set("k", 1)


def test_database_url(server, cache_name, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", server.url())
    with Client(cache=cache_name, fail_open=False, application_name="shop") as client:
        assert client.set("k", 1)
        name = server.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'shop'")
        assert name == "1"
