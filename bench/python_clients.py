#!/usr/bin/env python3
"""Measures the cache from Python, against redis-py, Django's DatabaseCache and Flask-Caching's own backends, in one run.

All contestants run in this process, with one thread and with eight, on the same keys and values. A run has every thread
do the same operation for a while; rounds go over all contestants in turn, so that a machine that drifts hits all alike.
"""

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from itertools import cycle
from statistics import median

import report
from servers import Servers

KEYS, SIZE, BATCH = 10_000, 200, 100
OURS, REDIS = "pg_stash", "redis-py"


def pg_stash_client(servers, url):
    from pg_stash import Client

    client = Client(url, fail_open=False)
    return {"get": client.get, "set": lambda key, value: client.set(key, value, 3600), "get_many": client.get_many,
            "fill": lambda values: client.set_many(values, 3600)}


def redis_py(servers, url):
    import redis

    client = redis.Redis(unix_socket_path=str(servers.redis_socket))
    return {"get": client.get, "set": lambda key, value: client.set(key, value, 3600), "get_many": client.mget,
            "fill": client.mset}


def django_cache(backend, location):
    def make(servers, url):
        from django.core.cache.backends.db import DatabaseCache
        from pg_stash.django import PostgresCache

        kind = {"DatabaseCache": DatabaseCache, "PostgresCache": PostgresCache}[backend]
        options = {"fail_open": False} if backend == "PostgresCache" else {"MAX_ENTRIES": 10 * KEYS}
        cache = kind(location or url, {"TIMEOUT": 3600, "OPTIONS": options})
        return {"get": cache.get, "set": cache.set, "get_many": cache.get_many, "fill": cache.set_many}

    return make


def flask_cache(backend):
    def make(servers, url):
        import flask
        import flask_caching

        app = flask.Flask("bench")
        kind = "pg_stash.flask.PostgresCache" if backend == "PostgresCache" else backend
        app.config.update(
            CACHE_TYPE=kind, CACHE_DEFAULT_TIMEOUT=3600, CACHE_POSTGRES_URL=url, CACHE_THRESHOLD=10 * KEYS,
            CACHE_DIR=tempfile.mkdtemp(dir=servers.dir), CACHE_REDIS_URL=f"unix://{servers.redis_socket}?db=1",
            CACHE_OPTIONS={"fail_open": False} if backend == "PostgresCache" else None,
        )
        flask_caching.Cache(app)
        cache = next(iter(app.extensions["cache"].values()))
        return {"get": cache.get, "set": cache.set, "get_many": lambda keys: cache.get_many(*keys),
                "fill": cache.set_many}

    return make


CONTESTANTS = {
    OURS: pg_stash_client,
    REDIS: redis_py,
    "Django, pg_stash": django_cache("PostgresCache", ""),
    "Django DatabaseCache": django_cache("DatabaseCache", "django_cache"),
    "Flask-Caching, pg_stash": flask_cache("PostgresCache"),
    "Flask-Caching RedisCache": flask_cache("RedisCache"),
    "Flask-Caching FileSystemCache": flask_cache("FileSystemCache"),
    "Flask-Caching SimpleCache (one process's memory)": flask_cache("SimpleCache"),
}


def configure_django(servers):
    import django
    from django.conf import settings
    from django.core.management import call_command

    database = {"ENGINE": "django.db.backends.postgresql", "NAME": "postgres", "USER": "postgres",
                "HOST": str(servers.dir), "CONN_MAX_AGE": None}
    caches = {"default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "django_cache"}}
    settings.configure(DATABASES={"default": database}, CACHES=caches, INSTALLED_APPS=[], USE_TZ=True)
    django.setup()
    call_command("createcachetable", verbosity=0)
    # What DatabaseCache gains by a table without WAL, it shall have.
    servers.sql("ALTER TABLE django_cache SET UNLOGGED")


def operations(methods, kind, rng, value):
    """An endless loop's body: one operation on keys of its own choice."""
    key = "key:{}".format
    if kind == "get":
        get = methods["get"]

        def operation():
            assert get(key(rng.randrange(KEYS))) is not None

        return operation, 1
    if kind == "set":
        put = methods["set"]
        return lambda: put(key(rng.randrange(KEYS)), value), 1
    get_many = methods["get_many"]
    # Made before the clock runs: to choose a hundred keys takes Python a good part of the time that it takes to read them.
    batches = cycle([[key(number) for number in rng.sample(range(KEYS), BATCH)] for _ in range(200)])

    def operation():
        assert len(get_many(next(batches))) == BATCH

    return operation, BATCH


def run(methods, kind, threads, seconds, value):
    """Keys per second that threads reach together."""
    counts, barrier, failures = [0] * threads, threading.Barrier(threads + 1), []

    def work(place):
        operation, keys = operations(methods, kind, random.Random(place), value)
        try:
            operation()
            barrier.wait()
            until, count = time.perf_counter() + seconds, 0
            while time.perf_counter() < until:
                for _ in range(10):
                    operation()
                count += 10
            counts[place] = count * keys
        except BaseException as error:
            failures.append(error)
            barrier.abort()

    workers = [threading.Thread(target=work, args=(place,)) for place in range(threads)]
    for worker in workers:
        worker.start()
    try:
        barrier.wait()
    except threading.BrokenBarrierError:
        pass
    started = time.perf_counter()
    for worker in workers:
        worker.join()
    if failures:
        raise failures[0]
    return sum(counts) / (time.perf_counter() - started)


def measure(servers, url, rounds, seconds, progress):
    """Rates by operation, threads and contestant, a list for the rounds."""
    value = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz", k=SIZE))
    methods = {name: make(servers, url) for name, make in CONTESTANTS.items()}
    for name, of in methods.items():
        progress(f"filling {name}")
        for first in range(0, KEYS, 1000):
            of["fill"]({f"key:{number}": value for number in range(first, first + 1000)})
    groups = {}
    for kind in ("get", "set", "get_many"):
        for threads in (1, 8):
            rates = {name: [] for name in methods}
            for number in range(rounds + 1):
                for name, of in methods.items():
                    rate = run(of, kind, threads, seconds if number else 0.3, value)
                    if number:  # the first round warms up
                        rates[name].append(rate)
                progress(f"{kind}, {threads} threads: round {number}/{rounds}")
            groups[kind, threads] = rates
    return groups


def rows(rates):
    for name, runs in rates.items():
        def ratio(other):
            return round(median(mine / theirs for mine, theirs in zip(runs, rates[other])), 2)

        yield {"name": name, "per_second": round(median(runs)), "to_redis_py": ratio(REDIS),
               "to_database_cache": ratio("Django DatabaseCache"),
               "spread": round((max(runs) - min(runs)) / median(runs), 2)}


def title(kind, threads):
    what = f"get_many of {BATCH} (keys/s)" if kind == "get_many" else kind
    return f"{what}, {threads} thread{'s' if threads > 1 else ''}"


def markdown(header, groups):
    lines = ["# Results of make bench-python", "",
             f"Machine: {header['machine']}. " + ", ".join(f"{name}: {version}" for name, version in
                                                          header["versions"].items()) + ".", "",
             f"{KEYS:,} keys, values of {SIZE} characters, {header['rounds']} rounds of {header['seconds']} s for each "
             "row, in turn; medians. All clients run in one Python process; PostgreSQL and Redis, on unix sockets, "
             "share the machine with it. Only ratios within one table mean anything.", ""]
    for group, rates in groups.items():
        lines += [f"### {group}", "", "| | per second | spread | ÷ redis-py | ÷ Django DatabaseCache |",
                  "|---|--:|--:|--:|--:|"]
        lines += [f"| {row['name']} | {row['per_second']:,} | ± {row['spread'] / 2:.0%} | {row['to_redis_py']:.2f} | "
                  f"{row['to_database_cache']:.2f} |" for row in rates]
        lines.append("")
    return "\n".join(lines)


def versions(servers):
    from importlib.metadata import version

    names = ["psycopg", "psycopg_pool", "redis", "hiredis", "Django", "Flask-Caching"]
    python = {"Python": sys.version.split()[0]}
    return {**servers.versions(), **python, **{name: version(name) for name in names}}


def main():
    from pathlib import Path

    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--pg-bin", type=Path, required=True, help="directory of PostgreSQL's programs")
    arguments.add_argument("--quick", action="store_true", help="three short rounds")
    arguments.add_argument("--out", type=Path, default=Path(__file__).parent, help="where the results go")
    options = arguments.parse_args()
    rounds, seconds = (3, 0.5) if options.quick else (5, 1.0)
    servers = Servers(options.pg_bin.resolve())
    servers.redis_port = 0  # its socket is enough
    with servers:
        servers.sql("CREATE EXTENSION pg_stash")
        configure_django(servers)
        url = f"postgresql://postgres@/postgres?host={servers.dir}"
        header = {"machine": report.machine(), "versions": versions(servers), "rounds": rounds, "seconds": seconds}
        measured = measure(servers, url, rounds, seconds, lambda text: print(f"  {text}", file=sys.stderr, flush=True))
    groups = {title(*group): list(rows(rates)) for group, rates in measured.items()}
    (options.out / "python.json").write_text(json.dumps({**header, "groups": groups}, indent=1) + "\n")
    (options.out / "python.md").write_text(markdown(header, groups))
    print(markdown(header, groups))


if __name__ == "__main__":
    main()
