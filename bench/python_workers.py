#!/usr/bin/env python3
"""What a site's workers share: how often pages are made, what a restart costs, and how much memory a cache takes.

Four worker processes answer requests for 500 pages of 20 kB, popular ones more often than others. Each looks into its
cache, and makes and stores the page on a miss. Then all workers are replaced, as by a deployment, and the same requests
come again.
"""

import argparse
import json
import multiprocessing
import random
import resource
import tempfile
from pathlib import Path

from servers import Servers

WORKERS, PAGES, REQUESTS, SIZE = 4, 500, 8_000, 20_000


def make_cache(kind, url, directory):
    from flask_caching.backends import FileSystemCache, SimpleCache
    from pg_stash.flask import PostgresCache

    if kind == "SimpleCache":
        return SimpleCache(threshold=PAGES * 2, default_timeout=3600)
    if kind == "FileSystemCache":
        return FileSystemCache(directory, threshold=PAGES * 2, default_timeout=3600)
    return PostgresCache(url, default_timeout=3600, fail_open=False)


def work(kind, url, directory, place, start, results):
    cache = make_cache(kind, url, directory)
    cache.get("nothing")
    start.wait()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    made = 0
    rng = random.Random(7)
    requests = [int(PAGES * rng.random() ** 2) for _ in range(REQUESTS)]
    # As a balancer deals them out, in turn.
    for number in requests[place::WORKERS]:
        page = cache.get(f"page:{number}")
        if page is None:
            made += 1
            # Text that no two pages share, as a template makes it.
            page = random.Random(number).randbytes(SIZE // 2).hex()
            cache.set(f"page:{number}", page)
        assert len(page) == SIZE
    results.put((made, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))


def generation(kind, url, directory):
    """Pages that one generation of workers made, and by how many kB each grew on average."""
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(WORKERS), context.Queue()
    workers = [context.Process(target=work, args=(kind, url, directory, place, start, results))
               for place in range(WORKERS)]
    for worker in workers:
        worker.start()
    answers = [results.get(timeout=300) for _ in workers]
    for worker in workers:
        worker.join()
    return sum(made for made, _ in answers), round(sum(grown for _, grown in answers) / WORKERS)


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--pg-bin", type=Path, required=True, help="directory of PostgreSQL's programs")
    arguments.add_argument("--out", type=Path, default=Path(__file__).parent, help="where the results go")
    options = arguments.parse_args()
    rows = []
    with Servers(options.pg_bin.resolve()) as servers:
        servers.sql("CREATE EXTENSION pg_stash")
        url = f"postgresql://postgres@/postgres?host={servers.dir}"
        for kind in ("SimpleCache", "FileSystemCache", "pg_stash"):
            directory = tempfile.mkdtemp(dir=servers.dir)
            first, grown = generation(kind, url, directory)
            second, _ = generation(kind, url, directory)
            rows.append({"cache": kind, "made": first, "made_after_restart": second, "grown_kb_per_worker": grown})
        size = servers.sql("SELECT pg_total_relation_size('cache.entries') / 1024")
    lines = [f"{WORKERS} workers, {REQUESTS:,} requests for {PAGES} pages of {SIZE // 1000} kB, all made by request:", "",
             "| | pages made | made again after a restart | growth of a worker |", "|---|--:|--:|--:|"]
    lines += [f"| {row['cache']} | {row['made']:,} | {row['made_after_restart']:,} | "
              f"{row['grown_kb_per_worker'] / 1024:.1f} MB |" for row in rows]
    lines += ["", f"The table of the cache in PostgreSQL has {int(size) / 1024:.1f} MB then."]
    (options.out / "workers.json").write_text(json.dumps({"rows": rows, "table_kb": int(size)}, indent=1) + "\n")
    (options.out / "workers.md").write_text("# What workers share\n\n" + "\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
