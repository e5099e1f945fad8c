"""A real PgBouncer in transaction mode, whose clients share fewer server connections than they are."""

import asyncio
import shutil
import subprocess
import threading
import time
from contextlib import contextmanager

import pytest

from pg_stash import AsyncClient, Client

from .conftest import connection_of
from .server import as_server_user

PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")

CONF = """
[databases]
cache = host={dir} dbname=cache user=postgres
[pgbouncer]
listen_addr =
unix_socket_dir = {dir}
listen_port = {port}
auth_type = any
pool_mode = transaction
default_pool_size = 2
server_lifetime = {lifetime}
"""


@contextmanager
def pgbouncer(server, port, lifetime):
    """The URL of a database behind a PgBouncer that keeps a server connection for so many seconds."""
    if PGBOUNCER is None:
        pytest.skip("pgbouncer is not installed")
    conf = server.dir / f"pgbouncer-{port}.ini"
    conf.write_text(CONF.format(dir=server.dir, port=port, lifetime=lifetime))
    process = subprocess.Popen([PGBOUNCER, "-q", conf], **as_server_user())
    for _ in range(100):
        if (server.dir / f".s.PGSQL.{port}").exists():
            break
        time.sleep(0.05)
    yield f"postgresql://postgres@/cache?host={server.dir}&port={port}"
    process.terminate()
    process.wait()


@pytest.fixture(scope="module")
def pooler(server):
    """One that changes its server connections often."""
    with pgbouncer(server, 6432, 1) as url:
        yield url


@pytest.fixture(scope="module")
def lasting_pooler(server):
    """One that keeps them, as is usual."""
    with pgbouncer(server, 6433, 3600) as url:
        yield url


def test_a_pooler_is_noticed(pooler, server, cache_name):
    with Client(pooler, cache_name, fail_open=False) as behind, Client(server.url(), cache_name) as direct:
        assert not connection_of(behind).prepares
        assert connection_of(direct).prepares


def test_many_threads_over_two_server_connections(pooler, cache_name):
    client = Client(pooler, cache_name, fail_open=False, max_connections=8)
    errors = []

    def work(number):
        try:
            for n in range(60):
                key = f"{number}:{n}"
                client.set(key, {"n": n}, ttl=60)
                assert client.get(key) == {"n": n}
                assert client.get_many([key, "x"]) == {key: {"n": n}}
                assert client.set_many({key: n, key + "b": "text"}) == 2
                assert client.pipeline(client.calls.get(key), client.calls.incr(key)) == [n, n + 1]
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    client.close()


def test_coroutines_over_two_server_connections(pooler, cache_name):
    async def main():
        async with AsyncClient(pooler, cache_name, fail_open=False, max_connections=8) as client:
            await asyncio.gather(*(client.set(f"k{n}", n) for n in range(200)))
            assert await client.get_many([f"k{n}" for n in range(200)]) == {f"k{n}": n for n in range(200)}

    asyncio.run(main())


def computations(url, cache_name, seconds):
    """How often two callers at once compute what takes so long. Both get the value."""
    client = Client(url, cache_name, fail_open=False)
    calls = []

    @client.cached(ttl=60, wait=10)
    def slow():
        calls.append(1)
        time.sleep(seconds)
        return "made"

    results = []
    threads = [threading.Thread(target=lambda: results.append(slow())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == ["made"] * 2
    client.close()
    return len(calls)


def test_what_is_claimed_is_computed_once(lasting_pooler, cache_name):
    assert computations(lasting_pooler, cache_name, 0.5) == 1


def test_callers_that_lose_their_leases_with_their_server_connections_get_the_value_too(pooler, cache_name):
    computations(pooler, cache_name, 2.5)
