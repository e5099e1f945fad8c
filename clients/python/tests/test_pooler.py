"""A real PgBouncer in transaction mode, whose clients share fewer server connections than they are."""

import asyncio
import shutil
import subprocess
import threading
import time

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
listen_port = 6432
auth_type = any
pool_mode = transaction
default_pool_size = 2
server_lifetime = 1
"""


@pytest.fixture(scope="module")
def pooler(server):
    """The URL of a database behind PgBouncer."""
    if PGBOUNCER is None:
        pytest.skip("pgbouncer is not installed")
    conf = server.dir / "pgbouncer.ini"
    conf.write_text(CONF.format(dir=server.dir))
    process = subprocess.Popen([PGBOUNCER, "-q", conf], **as_server_user())
    url = f"postgresql://postgres@/cache?host={server.dir}&port=6432"
    for _ in range(100):
        if (server.dir / ".s.PGSQL.6432").exists():
            break
        time.sleep(0.05)
    yield url
    process.terminate()
    process.wait()


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


def test_claims_and_what_is_computed_once(pooler, cache_name):
    client = Client(pooler, cache_name, fail_open=False)
    calls = []

    @client.cached(ttl=60, wait=10)
    def slow():
        calls.append(1)
        time.sleep(0.3)
        return "made"

    results = []
    threads = [threading.Thread(target=lambda: results.append(slow())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == ["made"] * 2
    assert len(calls) == 1
    client.close()
