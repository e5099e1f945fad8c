"""The surface of both clients: entries, batches, time, counters, caches."""

import time
import uuid
from datetime import datetime, timedelta, timezone

import psycopg
import pytest

from pg_stash import NEVER, NotInstalled, TooLarge

from .conftest import connection_of


def test_get_and_set(client):
    assert client.get("k") is None
    assert client.get("k", "default") == "default"
    assert client.set("k", "v")
    assert client.get("k") == "v"
    assert client.exists("k")
    assert client.delete("k")
    assert not client.delete("k")


def test_none_is_a_value(client):
    client.set("k", None)
    assert client.get("k", "default") is None
    assert client.get_many(["k"]) == {"k": None}


def test_add_and_replace(client):
    assert not client.replace("k", 1)
    assert client.add("k", 2)
    assert not client.add("k", "three")
    assert client.replace("k", [4])
    assert client.get("k") == [4]


def test_take(client):
    client.set("k", {"a": 1})
    assert client.take("k") == {"a": 1}
    assert client.take("k", "gone") == "gone"


def test_ttl(client):
    client.set("seconds", 1, ttl=100)
    client.set("span", 1, ttl=timedelta(days=2))
    client.set("fraction", 1, ttl=0.05)
    client.set("never", 1, ttl=NEVER)
    assert timedelta(seconds=98) < client.ttl("seconds") <= timedelta(seconds=100)
    assert timedelta(days=1.9) < client.ttl("span") <= timedelta(days=2)
    assert client.ttl("never") is None
    assert client.expires_at("never").year == 9999
    assert client.expires_at("nothing") is None
    assert abs(client.expires_at("seconds") - datetime.now(timezone.utc) - timedelta(seconds=100)) < timedelta(
        seconds=5
    )
    time.sleep(0.06)
    assert client.get("fraction") is None


@pytest.mark.parametrize("ttl", [0, -1, timedelta(0), 1e-9])
def test_a_ttl_that_is_not_positive_is_an_error(client, ttl):
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="ttl must be positive"):
        client.set("k", 1, ttl=ttl)


def test_a_ttl_beyond_the_end_of_time_is_an_error(client):
    with pytest.raises(psycopg.errors.DatetimeFieldOverflow):
        client.set("k", 1, ttl=1e300)
    assert not client.exists("k")


def test_touch_and_persist(client):
    assert not client.touch("k", 5)
    client.set("k", 1, ttl=5)
    assert client.touch("k", 1000)
    assert client.ttl("k") > timedelta(seconds=900)
    assert client.persist("k")
    assert client.ttl("k") is None
    assert client.touch("k", NEVER)


def test_batches(client):
    assert client.set_many({}) == 0
    assert client.get_many([]) == {}
    assert client.set_many({"a": "1", "b": "2"}, ttl=10) == 2
    assert client.set_many({"c": 3, "d": "4", "e": b"5", "f": [6], "g": (7,)}, ttl=10) == 5
    assert client.get_many(list("abcdefgh")) == {"a": "1", "b": "2", "c": 3, "d": "4", "e": b"5", "f": [6], "g": (7,)}
    assert all(client.ttl(key) is not None for key in "abcdefg")
    assert client.delete_many(["a", "b", "x"]) == 2
    assert client.keys() == ["c", "d", "e", "f", "g"]


def test_a_batch_is_all_or_nothing(client):
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        client.set_many({"a": 1, "b": "2", "": [3]})
    assert client.keys() == []


def test_large_batches_and_values(client):
    big = {f"k{n:04}": "x" * 2000 if n % 2 else n for n in range(5000)}
    assert client.set_many(big) == 5000
    assert client.get_many(big) == big
    huge = b"\x01" * 20_000_000
    client.set("huge", huge)
    assert client.get("huge") == huge


def test_prefixes(client):
    client.set_many({"100%": 1, "1000": 2, "a_b": 3, "axb": 4})
    assert client.keys("100%") == ["100%"]
    assert client.delete_prefix("a_") == 1
    assert client.keys() == ["100%", "1000", "axb"]


def test_counters(client):
    assert client.incr("n", 5, initial=100) == 105
    assert client.decr("n") == 104
    assert client.incr("short", ttl=50) == 1
    assert client.ttl("short") is not None
    client.set("text", "x")
    with pytest.raises(psycopg.errors.DatatypeMismatch):
        client.incr("text")


def test_compare_and_set(client):
    client.set("k", "one")
    assert client.compare_and_set("k", "one", "two", ttl=9)
    assert not client.compare_and_set("k", "one", "three")
    assert client.get("k") == "two"
    client.set("k", {"a": 1, "b": 2})
    assert client.compare_and_set("k", {"b": 2, "a": 1}, {})
    with pytest.raises(TypeError, match="one type"):
        client.compare_and_set("k", {}, "text")


def test_pipeline(client):
    calls = client.calls
    assert client.pipeline() == []
    results = client.pipeline(
        calls.set("a", 1), calls.get("a"), calls.incr("n", 2), calls.get("nothing", "default"), calls.get_many(["a"])
    )
    assert results == [True, 1, 2, "default", {"a": 1}]


def test_a_failed_call_of_a_pipeline_does_not_keep_the_others_from_running(client):
    calls = client.calls
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        client.pipeline(calls.set("a", 1), calls.set("", 2), calls.set("c", 3))
    assert client.get_many(["a", "c"]) == {"a": 1, "c": 3}


def test_a_pipeline_larger_than_the_sockets_buffers(client):
    calls = client.calls
    client.set("big", "y" * 1_000_000)
    results = client.pipeline(*(calls.get("big") if n % 2 else calls.set(f"k{n}", "x" * 200_000) for n in range(60)))
    assert all(result is True or len(result) == 1_000_000 for result in results)


def test_clear(client):
    client.set_many({"a": 1, "b": 2})
    client.clear()
    assert client.keys() == []


def test_caches_of_their_own(client, connect, server, cache_name):
    client.create_cache("python_pages", default_ttl=60, max_size="1 MB")
    try:
        pages = connect(server.url(), "python_pages")
        pages.set("/", "<html>")
        assert client.get("/") is None
        assert pages.ttl("/") <= timedelta(seconds=60)
        client.alter_cache("python_pages", max_entries=10)
        assert pages.stats()["max_entries"] == 10
        assert pages.sweep()["cache"] == "python_pages"
        pages.stats_reset()
    finally:
        client.drop_cache("python_pages")
    with pytest.raises(psycopg.errors.UndefinedObject, match="python_pages"):
        pages.get("/")
    assert client.stats()["cache"] == cache_name
    assert isinstance(client.sweeper(), list)


def test_tags_and_clock(client):
    before = client.clock()
    assert before.tzinfo is not None
    client.set("a", 1, tags=["orders", "users"])
    client.set("b", 2, tags=["users"])
    client.set("c", 3, tags=["orders"], as_of=before)
    client.invalidate("orders")
    assert client.get_many(["a", "b", "c"]) == {"b": 2}
    client.set("late", 4, tags=["orders"], as_of=before)
    assert client.get("late") is None
    with pytest.raises(TypeError, match="not one string"):
        client.set("k", 1, tags="orders")
    with pytest.raises(ValueError, match="time zone"):
        client.set("k", 1, as_of=datetime(2026, 1, 1))


def test_errors_are_the_servers(client, connect, server):
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        client.get("x" * 2000)
    with pytest.raises(psycopg.errors.UndefinedObject):
        connect(server.url(), "no_such_cache").get("k")
    client.create_cache("python_tiny", max_size="10 kB")
    with pytest.raises(TooLarge):
        connect(server.url(), "python_tiny").set("k", b"\x02" * 100_000)
    client.drop_cache("python_tiny")
    server.sql("DROP DATABASE IF EXISTS bare WITH (FORCE)", "postgres")
    server.sql("CREATE DATABASE bare TEMPLATE template0", "postgres")
    bare = connect(server.url("bare"), fail_open=True)
    with pytest.raises(NotInstalled, match="CREATE EXTENSION pg_stash"):
        bare.get("k")


def test_too_large_a_value_is_dropped_where_the_client_fails_open(connect, server, client, caplog):
    client.create_cache("python_small", max_size="10 kB")
    try:
        small = connect(server.url(), "python_small", fail_open=True)
        assert small.set("k", b"\x03" * 100_000) is False
        assert "could not be cached" in caplog.text
    finally:
        client.drop_cache("python_small")


def test_a_statement_that_is_gone_is_prepared_again(connect, server, cache_name):
    client = connect(server.url(), cache_name, max_connections=1)
    client.set("k", 1)
    connection = connection_of(client)
    connection.pgconn.exec_(b"DEALLOCATE ALL")
    client.set("k", 2)
    assert client.get("k") == 2


def test_access_is_the_databases(connect, server):
    server.sql("CREATE ROLE guest LOGIN; GRANT USAGE ON SCHEMA cache TO guest")
    guest = connect(server.url().replace("postgres@", "guest@"))
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        guest.set("k", 1)
    server.sql("REVOKE USAGE ON SCHEMA cache FROM guest; DROP ROLE guest")


def test_a_role_that_may_use_the_table_may_use_all_of_the_client(connect, server):
    server.sql("""
        CREATE ROLE application LOGIN;
        GRANT USAGE ON SCHEMA cache TO application;
        GRANT SELECT, INSERT, UPDATE, DELETE ON cache.entries TO application;
    """)
    application = connect(server.url().replace("postgres@", "application@"))
    tag = uuid.uuid4().hex
    application.set_many({"a": 1, "b": "x", "c": (1,)}, ttl=60, tags=[tag])
    assert application.get_many(["a", "b", "c"]) == {"a": 1, "b": "x", "c": (1,)}
    assert application.incr("a") == 2
    claimed = application._run(application.calls.claim("d"))
    assert application._run(application.calls.fill(claimed.lease, "filled", 60))
    assert application.take("d") == "filled"
    application.invalidate(tag)
    application.clear()
    server.sql("DROP OWNED BY application; DROP ROLE application")
