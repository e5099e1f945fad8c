#!/usr/bin/env python3
"""Replays traces of real requests through the cache's own functions and through Redis, against exact LRU and FIFO.

Each request is a get; a miss is followed by a set. What counts is the share of misses, for a cache of 1 % and of 10 % of
the distinct keys."""

import argparse
import csv
import lzma
import random
import shutil
import socket
import sys
from collections import OrderedDict
from itertools import islice
from pathlib import Path

import report
from servers import Servers, run

SHARES = (0.01, 0.10)
VALUE_BYTES = 200
# Redis counts its own buffers as used memory: values so large that those do not matter beside the smallest cache.
REDIS_VALUE_BYTES = 4000

SETUP = """
CREATE EXTENSION IF NOT EXISTS pg_stash;
DROP TABLE IF EXISTS trace;
CREATE UNLOGGED TABLE trace (n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, key text NOT NULL);
CREATE OR REPLACE PROCEDURE replay() LANGUAGE plpgsql AS $$
DECLARE request record;
BEGIN
    FOR request IN SELECT key FROM trace ORDER BY n LOOP
        IF cache.get(request.key, cache => 'replay') IS NULL THEN
            PERFORM cache.set(request.key, repeat('x', %d), cache => 'replay');
            COMMIT;
        END IF;
    END LOOP;
END $$;
""" % VALUE_BYTES

REDIS_SCRIPT = ("if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('GET', KEYS[1]) return 1 end "
                f"redis.call('SET', KEYS[1], string.rep('x', {REDIS_VALUE_BYTES})) return 0")


def load(path: Path) -> list:
    """The keys of a trace: a CSV file with a column `key`, compressed or not."""
    with (lzma.open if path.suffix == ".xz" else open)(path, "rt") as file:
        return [row["key"] for row in csv.DictReader(file)]


def zipfian(requests=300_000, keys=30_000, exponent=0.9) -> list:
    """A synthetic stream, the same in every run."""
    weights = [1 / (rank ** exponent) for rank in range(1, keys + 1)]
    return [str(key) for key in random.Random(1).choices(range(keys), weights, k=requests)]


def exact(keys: list, capacity: int, refresh: bool) -> float:
    """Miss ratio of exact LRU (`refresh`: a hit makes an entry the newest) or FIFO."""
    cache, misses = OrderedDict(), 0
    for key in keys:
        if key not in cache:
            misses += 1
            cache[key] = None
            if len(cache) > capacity:
                cache.popitem(last=False)
        elif refresh:
            cache.move_to_end(key)
    return misses / len(keys)


def stash(servers: Servers, keys: list, capacity: int) -> tuple:
    """Miss ratio of pg_stash, and the number of entries at the end."""
    servers.sql("SELECT cache.drop_cache(name) FROM cache.caches WHERE name = 'replay'")
    servers.sql(f"SELECT cache.create_cache('replay', max_entries => {capacity})")
    servers.sql("CALL replay()")
    counted = servers.sql("SELECT misses, hits, entries FROM cache.stats WHERE cache = 'replay'").split("|")
    misses, hits, entries = map(int, counted)
    assert misses + hits == len(keys), "a read was not counted"
    return misses / len(keys), entries


class RedisClient:
    """The little of Redis's protocol that a replay needs: commands sent in batches, integer and line replies."""

    BATCH = 50

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        self.file = self.socket.makefile("rb")

    def send(self, *commands):
        parts = []
        for command in commands:
            parts.append(b"*%d\r\n" % len(command))
            parts += [b"$%d\r\n%s\r\n" % (len(word), word) for word in (str(word).encode() for word in command)]
        self.socket.sendall(b"".join(parts))
        return [self.reply() for _ in commands]

    def reply(self):
        line = self.file.readline()
        if line.startswith(b"$"):
            return self.file.read(int(line[1:]) + 2)[:-2].decode()
        if line.startswith(b"-"):
            raise RuntimeError(line.decode())
        return line[1:-2].decode()

    def number(self, section, field):
        lines = self.send(("INFO", section))[0].splitlines()
        return int(next(line.split(":")[1] for line in lines if line.startswith(field + ":")))


def redis(servers: Servers, keys: list, capacity: int) -> tuple:
    """Miss ratio of Redis with allkeys-lru and the memory that `capacity` of the trace's keys take up, and the number of
    entries at the end."""
    client = RedisClient(servers.redis_socket)
    client.send(("CONFIG", "SET", "maxmemory", "0"), ("CONFIG", "SET", "maxmemory-policy", "allkeys-lru"), ("FLUSHALL",))
    script = client.send(("SCRIPT", "LOAD", REDIS_SCRIPT))[0]
    call = lambda batch: client.send(*(("EVALSHA", script, 1, key) for key in batch))
    call(keys[:client.BATCH])
    client.send(("FLUSHALL",))
    empty = client.number("memory", "used_memory")
    distinct = iter(dict.fromkeys(keys))
    left = capacity
    while left > 0:
        left -= len(call(islice(distinct, min(left, client.BATCH))))
    full = client.number("memory", "used_memory")
    client.send(("FLUSHALL",))
    client.send(("CONFIG", "SET", "maxmemory", client.number("memory", "used_memory") + full - empty))
    requests, hits = iter(keys), 0
    while batch := list(islice(requests, client.BATCH)):
        hits += sum(map(int, call(batch)))
    entries = int(client.send(("DBSIZE",))[0])
    return 1 - hits / len(keys), entries


def measure(servers: Servers, traces: dict, progress) -> list:
    """A row for each trace and size."""
    rows = []
    for name, keys in traces.items():
        servers.sql(SETUP)
        run(servers.pg_bin / "psql", "-h", servers.dir, "-U", "postgres", "-Xq", "-c", "COPY trace (key) FROM STDIN",
            input="\n".join(keys) + "\n")
        for share in SHARES:
            capacity = int(len(set(keys)) * share)
            row = {"trace": name, "requests": len(keys), "capacity": capacity, "lru": exact(keys, capacity, True),
                   "fifo": exact(keys, capacity, False)}
            row["pg_stash"], row["pg_stash_entries"] = stash(servers, keys, capacity)
            if shutil.which("redis-server"):
                row["redis"], row["redis_entries"] = redis(servers, keys, capacity)
            progress(f"replay: {name}, {capacity:,} entries: {row['pg_stash'] / row['lru']:.3f} × exact LRU")
            rows.append(row)
    return rows


def traces_in(directory) -> dict:
    """The traces in a directory by name; a synthetic stream, labelled so, where there are none."""
    files = sorted(path for pattern in ("*.csv", "*.csv.xz") for path in Path(directory).glob(pattern)) if directory else []
    if not files:
        print("No traces: set TRACES to a directory of CSV files with a column \"key\". Using synthetic requests.",
              file=sys.stderr)
        return {"synthetic, zipfian 0.9": zipfian()}
    return {path.name.split(".")[0]: load(path) for path in files}


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--pg-bin", type=Path, required=True, help="directory of PostgreSQL's programs")
    arguments.add_argument("--traces", help="directory of traces")
    options = arguments.parse_args()
    traces = traces_in(options.traces)
    with Servers(options.pg_bin.resolve()) as servers:
        rows = measure(servers, traces, lambda text: print(f"  {text}", file=sys.stderr, flush=True))
    print(f"Machine: {report.machine()}\n\n{report.misses_markdown(rows)}")


if __name__ == "__main__":
    main()
