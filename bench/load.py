"""How each contestant is driven: pgbench, redis-benchmark, memcslap. Each run returns a Sample."""

import csv
import io
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from servers import Servers, run

# Share of pgbench's transactions whose time is logged, for the percentiles.
LOGGED = 0.02


@dataclass
class Sample:
    """One run of one row: operations a second, and percentiles of the time of a call in milliseconds."""

    per_second: float
    p50: float | None = None
    p99: float | None = None


@dataclass
class Pgbench:
    """SQL in pgbench's script language, in prepared mode. `check` replaces it in one of fifty transactions, and fails
    the run where an answer is wrong. `items` is the number of operations in a transaction."""

    script: str
    check: str | None = None
    items: int = 1
    mode: str = "prepared"
    options: str = ""
    database: str = "postgres"

    def run(self, servers: Servers, clients: int, seconds: float, size: int, keys: int, zipfian: bool) -> Sample:
        per_second, log = self.start(servers, clients, seconds, size, keys, zipfian).finish()
        times = sorted(micros for _, micros in log)
        return Sample(per_second * self.items, percentile(times, 0.5), percentile(times, 0.99))

    def start(self, servers: Servers, clients: int, seconds: float, size: int, keys: int, zipfian: bool = False,
              logged: float = LOGGED) -> "Running":
        scripts = servers.dir / "scripts"
        shutil.rmtree(scripts, ignore_errors=True)
        scripts.mkdir()
        draw = f"random_zipfian(1, {keys}, 1.1)" if zipfian else f"random(1, {keys})"
        header = f"\\set k {draw}\n"
        files = []
        for name, text, weight in (("main", self.script, 49), ("check", self.check, 1)):
            if text:
                path = scripts / name
                path.write_text(header + text.replace("{keys}", str(keys)) + "\n")
                files += ["-f", f"{path}@{weight}"]
        command = [servers.pg_bin / "pgbench", "-h", servers.dir, "-U", "postgres", "-n", "-M", self.mode,
                   "-c", clients, "-j", min(clients, 2), "-T", max(1, round(seconds)), "-D", f"size={size}", "-D", f"filler={'x' * size}",
                   "-l", "--sampling-rate", logged, "--log-prefix", scripts / "log", *files, self.database]
        process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   text=True, cwd=scripts, env=os.environ | {"PGOPTIONS": self.options})
        return Running(process, scripts, self.script)


@dataclass
class Running:
    """pgbench at work, which logs to a directory."""

    process: subprocess.Popen
    logs: Path
    script: str

    def finish(self) -> tuple:
        """Waits for its end. Returns the transactions a second, and of those that were logged when each ended, in
        seconds since the epoch, and how many microseconds it took."""
        out, err = self.process.communicate()
        if self.process.returncode or "aborted" in err:
            raise RuntimeError(f"pgbench failed or a check found a wrong answer:\n{self.script}\n{err}")
        lines = [line.split() for log in self.logs.glob("log*") for line in log.read_text().splitlines()]
        log = [(int(line[4]) + int(line[5]) / 1e6, int(line[2])) for line in lines]
        return float(re.search(r"tps = ([\d.]+)", out).group(1)), log


def percentile(times: list, share: float) -> float | None:
    """Of times in microseconds, the shortest first; in milliseconds."""
    return times[int(len(times) * share)] / 1000 if times else None


@dataclass
class Redis:
    """A command, as redis-benchmark takes it: `__rand_int__` is a key's number, `{value}` a value of the row's size."""

    command: list
    tcp: bool = False
    items: int = 1

    def run(self, servers: Servers, clients: int, seconds: float, size: int, keys: int, zipfian: bool) -> Sample:
        where = ["-h", "127.0.0.1", "-p", servers.redis_port] if self.tcp else ["-s", servers.redis_socket]
        # redis-benchmark counts requests instead of seconds: as many as take about the time of the others.
        requests = int(100_000 * seconds / self.items / max(1, size / 4096) / (4 if clients == 1 else 1))
        command = [part.replace("{value}", "x" * size) for part in self.command]
        output = run(*map(str, ["redis-benchmark", *where, "-c", clients, "-n", requests, "-r", keys, "--csv", *command]))
        row = list(csv.DictReader(io.StringIO(output)))[0]
        return Sample(float(row["rps"]) * self.items, float(row["p50_latency_ms"]), float(row["p99_latency_ms"]))


@dataclass
class Memcached:
    """memcslap, which chooses its own keys (100 bytes) and values (400 bytes), and tells no percentiles."""

    test: str

    def run(self, servers: Servers, clients: int, seconds: float, size: int, keys: int, zipfian: bool) -> Sample:
        each = int(60_000 * seconds / clients)
        output = run("memcslap", f"--servers=127.0.0.1:{servers.memcached_port}", f"--concurrency={clients}",
                     f"--execute-number={each}", "--initial-load=10000", f"--test={self.test}")
        took = float(re.search(rf"Time to {self.test}\s+{each * clients} keys.*?([\d.]+) seconds", output).group(1))
        return Sample(each * clients / took)
