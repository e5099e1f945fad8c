"""dogpile.cache beyond its own suite: locks across processes, and a server that is away."""

import multiprocessing
import time

import pytest

dogpile = pytest.importorskip("dogpile.cache")


def region(url, **arguments):
    return dogpile.make_region().configure("pg_stash", expiration_time=60, arguments={"url": url, **arguments})


def _ask(url, cache, computed, start):
    def make():
        with computed.get_lock():
            computed.value += 1
        time.sleep(0.5)
        return {"made": True}

    start.wait()
    assert region(url, cache=cache, fail_open=False).get_or_create("report", make) == {"made": True}


def test_one_process_makes_the_value(server, cache_name):
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


def test_a_lock_passes_on_after_its_timeout(server, cache_name):
    backend = region(server.url(), cache=cache_name, fail_open=False, lock_timeout=0.3).backend
    assert backend.get_mutex("k").acquire()
    started = time.monotonic()
    assert backend.get_mutex("k").acquire()
    assert 0.2 < time.monotonic() - started < 5


def test_entries_expire_in_the_server(server, cache_name):
    cached = region(server.url(), cache=cache_name, fail_open=False, entry_expiration_time=0.05)
    cached.set("k", 1)
    assert cached.get("k") == 1
    time.sleep(0.06)
    assert cached.get("k", ignore_expiration=True) is dogpile.api.NO_VALUE


def test_a_region_goes_on_without_its_cache(tmp_path):
    cached = region(f"host={tmp_path} dbname=cache")
    assert cached.get_or_create("k", lambda: 5) == 5
    assert cached.get_multi(["a", "b"]) == [dogpile.api.NO_VALUE] * 2
    cached.set_multi({"a": 1})
    cached.delete("a")
