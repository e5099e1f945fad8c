"""Claims, the decorator and remember: one computation for all who ask."""

import asyncio
import multiprocessing
import threading
import time
from datetime import timedelta

import psycopg
import pytest

from pg_stash import AsyncClient, Client


@pytest.fixture
def claiming(server, cache_name):
    """A client for threads, as claims are context managers."""
    with Client(server.url(), cache_name, fail_open=False, max_connections=20) as client:
        yield client


def test_the_first_claim_of_a_missing_key_computes(claiming):
    with claiming.claim("k") as claim:
        assert (claim.state, claim.must_compute, claim.value) == ("miss", True, None)
        with claiming.claim("k") as other:
            assert (other.state, other.value) == ("miss", None)
            assert not other.fill("of the other", ttl=9)
        assert claim.fill([1], ttl=9)
        assert claim.value == [1]
    with claiming.claim("k") as claim:
        assert (claim.state, claim.must_compute, claim.value) == ("hit", False, [1])


def test_none_is_a_value_to_claim(claiming):
    with claiming.claim("k") as claim:
        claim.fill(None, ttl=9)
    with claiming.claim("k") as claim:
        assert (claim.state, claim.must_compute, claim.value) == ("hit", False, None)


def test_a_stale_value_is_served_while_one_recomputes(claiming):
    claiming.set("k", "old", ttl=100, fresh=0.01)
    time.sleep(0.02)
    with claiming.claim("k") as claim:
        assert (claim.state, claim.must_compute, claim.value) == ("stale", True, "old")
        with claiming.claim("k") as other:
            assert (other.state, other.must_compute, other.value) == ("stale", False, "old")
        claim.fill("new", ttl=100, fresh=50)
    with claiming.claim("k") as claim:
        assert (claim.state, claim.value) == ("hit", "new")


def test_an_exception_gives_the_lease_back(claiming):
    with pytest.raises(ZeroDivisionError), claiming.claim("k", lease=60):
        raise ZeroDivisionError
    with claiming.claim("k") as claim:
        assert claim.must_compute
        assert claim.fill(1)


def test_a_lease_that_has_run_out_stores_nothing(claiming):
    with claiming.claim("k", lease=0.05) as claim:
        time.sleep(0.1)
        with claiming.claim("k", lease=60) as second:
            assert second.fill("second")
        assert not claim.fill("first")
    assert claiming.get("k") == "second"


def test_others_wait_for_the_value(claiming):
    def fill_later():
        with claiming.claim("k", lease=60) as claim:
            claimed.set()
            time.sleep(0.3)
            claim.fill("value")

    claimed = threading.Event()
    thread = threading.Thread(target=fill_later)
    thread.start()
    claimed.wait()
    with claiming.claim("k", wait=20) as claim:
        assert (claim.state, claim.value) == ("hit", "value")
    thread.join()


def test_what_cannot_be_read_is_computed_anew(claiming, server, cache_name):
    data = b"\x93pg_stash:other\n".hex()
    server.sql(f"SELECT cache.set('k', '\\x{data}'::bytea, cache => '{cache_name}')")
    with claiming.claim("k") as claim:
        assert claim.must_compute
        assert claim.fill("readable")
    assert claiming.get("k") == "readable"


def test_the_decorator(claiming):
    calls = []

    @claiming.cached(ttl=60, fresh=30, tags=["numbers"])
    def add(a, b=1, *, c=0):
        """Adds."""
        calls.append((a, b, c))
        return {"sum": a + b + c}

    assert add.__doc__ == "Adds."
    assert add(1) == add(1, 1) == add(a=1, b=1, c=0) == {"sum": 2}
    assert add(1, 2) == {"sum": 3}
    assert calls == [(1, 1, 0), (1, 2, 0)]
    assert claiming.ttl(add.key(1)) <= timedelta(seconds=60)
    assert add.forget(1)
    assert not add.forget(1)
    add(1)
    assert len(calls) == 3
    claiming.invalidate("numbers")
    add(1)
    assert len(calls) == 4
    assert add.uncached(5) == {"sum": 6}


def test_keys_and_tags_of_the_arguments(claiming):
    @claiming.cached(key=lambda user: f"profile:{user}", tags=lambda user: [f"user:{user}"], ttl=60)
    def profile(user):
        return (user, time.monotonic())

    first = profile(7)
    assert claiming.exists("profile:7")
    assert profile(7) == first
    claiming.invalidate("user:8")
    assert profile(7) == first
    claiming.invalidate("user:7")
    assert profile(7) != first

    @claiming.cached()
    def opaque(argument):
        return None

    with pytest.raises(TypeError, match="give the decorator a key="):
        opaque(object())


def test_a_method(claiming):
    class Shop:
        def __init__(self, name):
            self.name = name

        @claiming.cached(ttl=60, key=lambda self, day: f"{self.name}:{day}")
        def sales(self, day):
            return [self.name, day]

    assert Shop("a").sales(1) == Shop("a").sales(1) == ["a", 1]
    assert claiming.keys() == ["a:1"]


def test_the_decorator_for_coroutines(server, cache_name):
    async def main():
        async with AsyncClient(server.url(), cache_name, fail_open=False) as client:
            calls = 0

            @client.cached(ttl=60)
            async def slow(n):
                nonlocal calls
                calls += 1
                await asyncio.sleep(0.2)
                return n

            assert await asyncio.gather(*(slow(5) for _ in range(8))) == [5] * 8
            assert calls == 1
            assert await slow.forget(5)
            async with client.claim("k") as claim:
                assert claim.must_compute
                assert await claim.fill(1)
            assert await client.get("k") == 1

    asyncio.run(main())


def _ask(url, cache, computed, start):
    client = Client(url, cache, fail_open=False)

    @client.cached(ttl=60)
    def report():
        with computed.get_lock():
            computed.value += 1
        time.sleep(0.5)
        return "report"

    start.wait()
    assert [report() for _ in range(3)] == ["report"] * 3


def test_one_recompute_over_several_processes(server, cache_name):
    context = multiprocessing.get_context("spawn")
    computed, start = context.Value("i", 0), context.Event()
    askers = [context.Process(target=_ask, args=(server.url(), cache_name, computed, start)) for _ in range(4)]
    for asker in askers:
        asker.start()
    start.set()
    for asker in askers:
        asker.join(60)
    assert [asker.exitcode for asker in askers] == [0] * 4
    assert computed.value == 1


def test_remember_and_watch(claiming, server):
    server.sql("CREATE TABLE goods (id int PRIMARY KEY, name text); INSERT INTO goods VALUES (1, 'pen')")
    # A foreign key has triggers, too.
    server.sql("CREATE TABLE sales (good int REFERENCES goods)")
    claiming.watch("goods")
    query = "SELECT id, name FROM public.goods WHERE id >= $1 ORDER BY id"
    assert claiming.remember(query, [1]) == [{"id": 1, "name": "pen"}]
    server.sql("INSERT INTO goods VALUES (2, 'ink')")
    assert claiming.remember(query, [1]) == [{"id": 1, "name": "pen"}, {"id": 2, "name": "ink"}]
    claiming.unwatch("goods")
    assert claiming.remember("SELECT 1 AS one", ttl=60) == [{"one": 1}]
    server.sql("DROP TABLE sales, goods")


def test_remember_says_what_it_needs(claiming, server):
    server.sql("""
        CREATE OR REPLACE FUNCTION public.tenant() RETURNS text STABLE LANGUAGE plpgsql AS
        $$ BEGIN RETURN current_setting('application_name'); END $$
    """)
    tenant = "SELECT public.tenant() IS NULL AS is_missing"
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        claiming.remember(tenant, ttl=60)
    assert claiming.remember(tenant, key="tenant of 7", ttl=60) == [{"is_missing": False}]
    today = "SELECT CURRENT_DATE > $1::date AS is_later"
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        claiming.remember(today, ["2000-01-01"])
    assert claiming.remember(today, ["2000-01-01"], ttl=60) == [{"is_later": True}]
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        claiming.remember("SELECT random()", ttl=60)


def test_a_lease_is_an_hour_at_most(claiming):
    with claiming.claim("k", lease=3600) as claim:
        assert claim.must_compute
    with pytest.raises(psycopg.errors.InvalidParameterValue), claiming.claim("k", lease=3601):
        pass
