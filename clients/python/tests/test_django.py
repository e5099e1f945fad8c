"""Django's cache API beyond its own suite: the asynchronous twins, and shared connections."""

import asyncio
import threading
import time

import pytest

django = pytest.importorskip("django")

from django.conf import settings  # noqa: E402

if not settings.configured:
    settings.configure()

from pg_stash.django import PostgresCache  # noqa: E402


@pytest.fixture
def make(server, cache_name):
    def make(url=None, **params):
        options = {"cache": cache_name, "fail_open": False, **params.pop("OPTIONS", {})}
        return PostgresCache(server.url() if url is None else url, {"OPTIONS": options, **params})

    return make


def test_the_asynchronous_twins(make):
    cache = make()

    async def main():
        await cache.aset("k", {"a": 1})
        assert await cache.aget("k") == {"a": 1}
        assert await cache.aget("nothing", 7) == 7
        assert await cache.aadd("k", 2) is False
        assert await cache.aadd("k2", 2, timeout=0) is True
        assert await cache.ahas_key("k2") is False
        assert await cache.aset_many({"a": 1, "b": None}) == []
        assert await cache.aget_many(["a", "b", "c"]) == {"a": 1, "b": None}
        assert await cache.aincr("a") == 2
        assert await cache.adecr("a", 5) == -3
        with pytest.raises(ValueError, match="not found"):
            await cache.aincr("nothing")
        await cache.aset("float", 1.5)
        assert await cache.aincr("float") == 2.5
        assert await cache.atouch("a", 50) is True
        assert await cache.atouch("a", 0) is True
        assert await cache.ahas_key("a") is False
        assert await cache.aget_or_set("made", lambda: (1, 2)) == (1, 2)
        assert await cache.aincr_version("made") == 2
        assert await cache.aget("made", version=2) == (1, 2)
        await cache.aset("gone", 1, timeout=-1)
        await cache.aset_many({"gone": 1}, timeout=0)
        assert await cache.aget("gone") is None
        assert await cache.adelete("k") is True
        await cache.adelete_many(["b", "c"])
        await cache.aclear()
        assert await cache.aget_many(["b", "made"]) == {}

    asyncio.run(main())
    asyncio.run(main())


def test_keys_that_are_no_strings(make):
    cache = make()
    cache.set_many({1: "int", "a": "str"})
    assert cache.get_many([1, "1", "a"]) == {1: "int", "1": "int", "a": "str"}


def test_timeouts(make):
    cache = make(TIMEOUT=100)
    cache.set("k", 1)
    assert 99 < cache._client.ttl(cache.make_key("k")).total_seconds() <= 100
    assert cache.touch("k", None)
    assert cache._client.ttl(cache.make_key("k")) is None
    forever = make(TIMEOUT=None, KEY_PREFIX="f")
    forever.set("k", 1)
    assert forever.get("k") == 1
    at_once = make(TIMEOUT=0, KEY_PREFIX="z")
    at_once.set("k", 1)
    assert at_once.get("k") is None
    cache.set("short", 1, timeout=0.05)
    time.sleep(0.06)
    assert cache.get("short") is None


def test_increments_of_many_threads_are_not_lost(make):
    make().set("n", 0)
    threads = [threading.Thread(target=lambda: [make().incr("n") for _ in range(50)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert make().get("n") == 400


def test_instances_share_their_connections(make):
    assert make()._client is make()._client
    assert make()._client is not make(OPTIONS={"timeout": 3.0})._client


def test_a_project_goes_on_without_its_cache(make, tmp_path):
    cache = make(f"host={tmp_path} dbname=cache", OPTIONS={"fail_open": True})
    assert cache.get("k", "default") == "default"
    cache.set("k", 1)
    assert cache.set_many({"a": 1}) == ["a"]
    assert cache.get_or_set("k", lambda: 5) == 5
    assert cache.get_many(["k"]) == {}
    with pytest.raises(ValueError, match="not found"):
        cache.incr("n")
