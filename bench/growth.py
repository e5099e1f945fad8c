"""What must not grow: files under overwrites, and a session's memory over many calls."""

import time

from load import Pgbench
from rows import PORTABLE, SETUP

KEYS = 100_000
OVERWRITES = 5_000_000


def measure(servers, progress) -> dict:
    """The figures, each as text."""
    servers.sql(SETUP)
    servers.sql("SELECT sum(cache.set_many(k, v)) FROM (SELECT array_agg(k::text) AS k, array_agg(repeat('x', 200)) AS v "
                f"FROM generate_series(1, {KEYS}) AS k GROUP BY k / 10000) AS batches")
    sizes = "SELECT pg_relation_size('cache.entries') || ' ' || pg_relation_size('cache.entries_pkey')"
    first = [int(size) for size in servers.sql(sizes).split()]
    updates = ("SELECT n_tup_hot_upd || ' ' || n_tup_upd FROM pg_stat_user_tables "
               "WHERE relid = 'cache.entries'::regclass")
    hot_before, all_before = map(int, servers.sql(updates).split())
    overwrite = Pgbench("SELECT cache.set(:k::text, repeat('y', 200));")
    done, seconds = 0, 20
    while done < OVERWRITES:
        sample = overwrite.run(servers, 8, seconds, 200, KEYS, False)
        done += sample.per_second * seconds
        progress(f"overwrites: {done:,.0f} of {OVERWRITES:,}")
    last = [int(size) for size in servers.sql(sizes).split()]
    time.sleep(2)
    hot_after, all_after = map(int, servers.sql(updates).split())
    hot = round(100 * (hot_after - hot_before) / (all_after - all_before), 1)
    progress("memory of one session: 10 million gets, 1 million sets")
    # The contexts' sum is what PostgreSQL has allocated for the session; the rest is for the operating system to know.
    memory = "SELECT sum(total_bytes) / 1024 FROM pg_backend_memory_contexts;"
    gets = f"SELECT count(cache.get((1 + i % {KEYS})::text)) FROM generate_series(1, 5000000) AS i;"
    loop = f"DO $$ BEGIN FOR i IN 1 .. 5000000 LOOP PERFORM cache.get((1 + i % {KEYS})::text); END LOOP; END $$;"
    # Each key once: of a row that a transaction overwrites twice, PostgreSQL itself keeps a combo command ID in memory.
    once = f"SELECT count(*) FROM (SELECT cache.set(i::text, 'v') FROM generate_series(1, {KEYS}) AS i) AS s;"
    sets = f"DO $$ BEGIN FOR i IN 1 .. 500000 LOOP PERFORM cache.set((1 + i % {KEYS})::text, 'v'); END LOOP; END $$;"
    warm_up = (gets + loop + sets).replace("5000000", "1000").replace("500000", "1000")
    lines = servers.sql_lines(warm_up + memory + "BEGIN;" + gets + once + memory + "COMMIT;" + loop + sets + sets + memory)
    before, inside, after = int(float(lines[1])), int(float(lines[4])), int(float(lines[5]))
    return {
        f"heap after {done:,.0f} overwrites of {KEYS:,} keys ÷ after the first fill": f"{last[0] / first[0]:.2f}",
        "index, the same": f"{last[1] / first[1]:.2f}",
        "HOT share of the overwrites": f"{hot} %",
        "memory of a session before, in a transaction of 5 million gets and 100,000 sets, and after as many and a million sets more":
            f"{before:,} kB, {inside:,} kB, {after:,} kB",
    }


def measure_portable(servers, progress) -> dict:
    """The file of the portable edition's table under the same overwrites."""
    servers.make_portable(PORTABLE)
    sql = lambda command: servers.sql(command, PORTABLE)
    sql("SELECT sum(cache.set_many(k, v)) FROM (SELECT array_agg(k::text) AS k, array_agg(repeat('x', 200)) AS v "
        f"FROM generate_series(1, {KEYS}) AS k GROUP BY k / 10000) AS batches")
    size = "SELECT pg_relation_size('cache.entries')"
    first = int(sql(size))
    overwrite = Pgbench("SELECT cache.set(:k::text, repeat('y', 200));", database=PORTABLE)
    done, seconds = 0, 20
    while done < OVERWRITES:
        done += overwrite.run(servers, 8, seconds, 200, KEYS, False).per_second * seconds
        progress(f"overwrites in the portable edition: {done:,.0f} of {OVERWRITES:,}")
    return {f"portable edition: heap after {done:,.0f} overwrites of {KEYS:,} keys ÷ after the first fill":
                f"{int(sql(size)) / first:.2f}"}
