"""The private servers that a run measures: PostgreSQL with the extension, Redis and memcached, all on this machine."""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

CONF = """
listen_addresses = ''
unix_socket_directories = '{dir}'
shared_buffers = 2GB
max_connections = 200
autovacuum_naptime = 10s
log_min_messages = fatal
"""


def run(*command, **options):
    """Runs a program to its end and returns what it printed; raises where it fails."""
    return subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout


class Servers:
    """Starts the servers in a directory of their own, and stops and removes them on exit."""

    def __init__(self, pg_bin: Path):
        self.pg_bin = pg_bin
        self.dir = Path(tempfile.mkdtemp(prefix="pg_stash-bench-"))
        self.processes = []
        self.redis_socket = self.dir / "redis.sock"
        self.redis_port = 56379
        self.memcached_port = 51211
        self.as_user = {"cwd": "/"}
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(self.dir, user.pw_uid, user.pw_gid)
            # PostgreSQL refuses to run as root.
            self.as_user |= {"user": user.pw_uid, "group": user.pw_gid}

    def __enter__(self):
        data = self.dir / "data"
        run(self.pg_bin / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "--locale=C.UTF-8", **self.as_user)
        with open(data / "postgresql.conf", "a") as conf:
            conf.write(CONF.format(dir=self.dir))
        subprocess.run(
            [self.pg_bin / "pg_ctl", "-D", data, "-l", data / "log", "-w", "start"],
            check=True, stdout=subprocess.DEVNULL, **self.as_user,
        )
        redis = ["redis-server", "--port", self.redis_port, "--bind", "127.0.0.1", "--unixsocket", self.redis_socket,
                 "--unixsocketperm", "777", "--save", "", "--appendonly", "no", "--dir", self.dir]
        memcached = ["memcached", "-l", "127.0.0.1", "-p", self.memcached_port, "-m", 1024, "-I", "1m", "-u", "nobody"]
        for command in (redis, memcached):
            if shutil.which(command[0]):
                process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL,
                                           stderr=subprocess.DEVNULL, cwd=self.dir)
                self.processes.append(process)
        time.sleep(0.5)
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.terminate()
            process.wait()
        subprocess.run([self.pg_bin / "pg_ctl", "-D", self.dir / "data", "-m", "immediate", "stop"],
                       stdout=subprocess.DEVNULL, **self.as_user)
        shutil.rmtree(self.dir, ignore_errors=True)

    def sql(self, command: str, database: str = "postgres", timeout: float | None = None) -> str:
        """Runs SQL and returns the result, unaligned. After `timeout` seconds it is given up: subprocess.TimeoutExpired."""
        return run(self.pg_bin / "psql", "-h", self.dir, "-U", "postgres", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", database, "-c",
                   command, timeout=timeout).strip()

    def make_portable(self, database: str):
        """Makes a database with the portable edition."""
        self.sql(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
        self.sql(f"CREATE DATABASE {database}")
        script = Path(__file__).resolve().parents[1] / "sql/portable/pg_stash.sql"
        run(self.pg_bin / "psql", "-h", self.dir, "-U", "postgres", "-Xq", "-v", "ON_ERROR_STOP=1", "-d", database, "-f", script)

    def sql_lines(self, script: str) -> list:
        """Runs several statements in one session, and returns what they print, line by line."""
        command = [self.pg_bin / "psql", "-h", self.dir, "-U", "postgres", "-XqAt", "-v", "ON_ERROR_STOP=1"]
        return run(*command, input=script).split()

    def versions(self) -> dict:
        found = {"PostgreSQL": self.sql("SHOW server_version")}
        for name, command in {"Redis": ["redis-server", "--version"], "memcached": ["memcached", "--version"]}.items():
            if shutil.which(command[0]):
                found[name] = run(*command).strip()
        return found
