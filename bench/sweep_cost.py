"""What the sweeper costs those who use the cache: percentiles of gets and sets while it removes a million expired
entries, against those of the same clients while it does not.

Both are of one run over one table: twice a second the sweeper is stopped, and let go on. Two runs, one after the other,
would differ by more than what is to be measured.
"""

import bisect
import os
import signal
import subprocess
import time
from pathlib import Path
from statistics import median

from load import Pgbench, percentile
from rows import SETUP, VALUE

EXPIRED = 1_000_000
KEYS = 100_000
# The sweeper is stopped for so many seconds, and goes on for as many.
TURN = 0.5
SECONDS = 18
# Share of the transactions whose time is logged.
LOGGED = 0.2

LOAD = {
    "gets": Pgbench("SELECT cache.get(:k::text);"),
    "sets": Pgbench(f"SELECT cache.set(:k::text, {VALUE}, ttl => '1 hour');"),
}


class Sweeper:
    """The sweeper's process, which is stopped by signals between its transactions, so that nobody waits for what it holds."""

    def __init__(self, servers):
        # A write has it started, if none runs.
        servers.sql("SELECT cache.set('sweeper', 'x')")
        pid = "SELECT pid FROM cache.sweeper WHERE database = current_database() AND state IN ('idle', 'sweeping')"
        while not (found := servers.sql(pid)):
            time.sleep(0.1)
        self.pid = int(found)
        self.servers = servers

    def stop(self):
        while True:
            self._wait_for_state("S")
            os.kill(self.pid, signal.SIGSTOP)
            self._wait_for_state("T")
            if not self._is_in_transaction():
                return
            self.go_on()

    def go_on(self):
        os.kill(self.pid, signal.SIGCONT)

    def _wait_for_state(self, state: str):
        """Waits until the process sleeps (S) or is stopped (T)."""
        while Path(f"/proc/{self.pid}/stat").read_text().rsplit(") ")[1][0] != state:
            time.sleep(0.0002)

    def _is_in_transaction(self) -> bool:
        """Whether it was woken between the look and the signal, and has begun to work."""
        transaction = "SELECT coalesce(backend_xid, backend_xmin) IS NOT NULL FROM pg_stat_activity WHERE pid = "
        try:
            return self.servers.sql(f"{transaction}{self.pid}", timeout=1) == "t"
        except subprocess.TimeoutExpired:
            # It holds what the look needs.
            return True


def fill(servers, prefix: str, entries: int, ttl: str):
    servers.sql(f"SELECT sum(cache.set_many(k, v, ttl => '{ttl}')) FROM (SELECT array_agg('{prefix}' || i) AS k, "
                f"array_agg(repeat('x', 200)) AS v FROM generate_series(1, {entries}) AS i GROUP BY i / 10000) AS batches")


def in_turns(servers, load) -> tuple:
    """Times of calls without and with the sweeper at work, in microseconds, the shortest first; and how many entries it
    has removed."""
    servers.sql("SELECT cache.clear()")
    servers.sql("VACUUM cache.entries")
    fill(servers, "", KEYS, "1 hour")
    fill(servers, "old", EXPIRED, "1 hour")
    sweeper = Sweeper(servers)
    sweeper.stop()
    # The same entries again, which expire at once.
    fill(servers, "old", EXPIRED, "1 millisecond")
    left = lambda: int(servers.sql("SELECT count(*) FROM cache.entries WHERE key LIKE 'old%'"))
    begun, before = time.time(), left()
    run = load.start(servers, 8, SECONDS, 200, KEYS, logged=LOGGED)
    time.sleep(1)
    turns = []
    while time.time() - begun < SECONDS - 2 * TURN - 1:
        start = time.time()
        time.sleep(TURN)
        turns.append((False, start, time.time()))
        sweeper.go_on()
        start = time.time()
        time.sleep(TURN)
        turns.append((True, start, time.time()))
        sweeper.stop()
        if servers.sql("SELECT state FROM cache.sweeper WHERE database = current_database()") != "sweeping":
            # It has removed all, some time in its last turn.
            del turns[-2:]
            break
    _, log = run.finish()
    after = left()
    sweeper.go_on()
    log.sort()
    ends = [end for end, _ in log]
    times = {False: [], True: []}
    for is_sweeping, start, end in turns:
        times[is_sweeping] += [micros for _, micros in log[bisect.bisect(ends, start) : bisect.bisect(ends, end)]]
    return sorted(times[False]), sorted(times[True]), before - after


def measure(servers, progress, rounds: int = 3) -> dict:
    """The figures, each as text."""
    found = {name: [] for name in LOAD}
    servers.sql(SETUP)
    for number in range(1, rounds + 1):
        for name, load in LOAD.items():
            quiet, busy, removed = in_turns(servers, load)
            p99 = [percentile(times, 0.99) for times in (quiet, busy)]
            found[name].append(p99)
            progress(f"sweeper at work, round {number}/{rounds}: {name}: p99 {p99[0]} → {p99[1]} ms, "
                     f"calls {len(busy) / len(quiet) - 1:+.1%}, {removed:,} removed meanwhile")
            if removed < EXPIRED / 2:
                raise RuntimeError("the sweeper was not at work")
    return {
        f"p99 of {name} by 8 clients while the sweeper removes {EXPIRED:,} entries ÷ while it is stopped": (
            f"{median(busy / quiet for quiet, busy in rounds_):.2f} (" + ", ".join(
                f"{quiet:.2f} → {busy:.2f} ms" for quiet, busy in rounds_) + ")")
        for name, rounds_ in found.items()
    }
