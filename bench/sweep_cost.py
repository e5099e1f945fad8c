"""What the sweeper costs those who use the cache: percentiles of gets and sets while it removes a million expired
entries, against those of the same load on the same table with nothing to remove."""

import time
from statistics import median

from load import Pgbench
from rows import SETUP, VALUE

EXPIRED = 1_000_000
KEYS = 100_000
SECONDS = 6

LOAD = {
    "gets": Pgbench("SELECT cache.get(:k::text);"),
    "sets": Pgbench(f"SELECT cache.set(:k::text, {VALUE}, ttl => '1 hour');"),
}


def fill(servers, ttl: str):
    servers.sql(f"SELECT sum(cache.set_many(k, v, ttl => '{ttl}')) FROM (SELECT array_agg('old' || i) AS k, "
                f"array_agg(repeat('x', 200)) AS v FROM generate_series(1, {EXPIRED}) AS i GROUP BY i / 10000) AS batches")


def measure(servers, progress, rounds: int = 3) -> dict:
    """The figures, each as text."""
    ratios = {name: [] for name in LOAD}
    p99 = {name: [] for name in LOAD}
    servers.sql(SETUP)
    for number in range(1, rounds + 1):
        servers.sql("SELECT cache.clear()")
        servers.sql("VACUUM cache.entries")
        servers.sql(f"SELECT sum(cache.set_many(k, v)) FROM (SELECT array_agg(i::text) AS k, array_agg(repeat('x', 200)) "
                    f"AS v FROM generate_series(1, {KEYS}) AS i GROUP BY i / 10000) AS batches")
        for name, load in LOAD.items():
            fill(servers, "1 hour")
            quiet = load.run(servers, 8, SECONDS, 200, KEYS, False)
            left = lambda: int(servers.sql("SELECT count(*) FROM cache.entries WHERE key LIKE 'old%'"))
            before = 0
            while before < EXPIRED / 2:
                # The same entries again, which expire at once: from now on the sweeper removes them. It may have removed
                # most before the last are there.
                fill(servers, "1 millisecond")
                while servers.sql("SELECT state FROM cache.sweeper WHERE database = current_database()") != "sweeping":
                    time.sleep(0.1)
                before = left()
            busy = load.run(servers, 8, SECONDS, 200, KEYS, False)
            removed = before - left()
            ratios[name].append(busy.p99 / quiet.p99)
            p99[name].append((quiet.p99, busy.p99))
            progress(f"sweeper at work, round {number}/{rounds}: {name}: p99 {quiet.p99} → {busy.p99} ms, "
                     f"{quiet.per_second:,.0f} → {busy.per_second:,.0f}/s, {removed:,} removed meanwhile")
            if removed < EXPIRED / 20:
                raise RuntimeError("the sweeper was not at work")
    result = {}
    for name in LOAD:
        quiet, busy = (median(pair[i] for pair in p99[name]) for i in (0, 1))
        result[f"p99 of {name} by 8 clients with the sweeper removing {EXPIRED:,} entries ÷ without"] = (
            f"{median(ratios[name]):.2f} ({quiet} ms, {busy} ms)")
    return result
