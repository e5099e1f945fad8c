"""Private PostgreSQL servers for tests: each in a directory of its own, on a socket in it and nowhere else.

PG_BIN is the directory of PostgreSQL's programs. PG_STASH_SQL is the file of the portable edition, to test with it in
place of the extension.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

CONF = """
listen_addresses = ''
unix_socket_directories = '{dir}'
max_connections = 100
fsync = off
shared_buffers = 64MB
"""


def pg_bin() -> Path:
    """The directory of PostgreSQL's programs, in whose PostgreSQL pg_stash is installed."""
    return Path(os.environ["PG_BIN"])


def as_server_user() -> dict[str, Any]:
    """Options for a process that may not run as root."""
    environment = {name: value for name, value in os.environ.items() if name != "RUST_BACKTRACE"}
    options: dict[str, Any] = {"cwd": "/", "env": environment}
    if os.geteuid() == 0:
        user = pwd.getpwnam("postgres")
        options.update(user=user.pw_uid, group=user.pw_gid, extra_groups=[])
    return options


class Server:
    """A server that starts when it is entered, and that is gone afterwards."""

    def __init__(self, portable: str | None = os.environ.get("PG_STASH_SQL")) -> None:
        self._portable = portable
        self.dir = Path(tempfile.mkdtemp(prefix="pg_stash-python-"))
        self._data = self.dir / "data"
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(self.dir, user.pw_uid, user.pw_gid)

    def __enter__(self) -> Server:
        self._run("initdb", "-D", self._data, "-U", "postgres", "-A", "trust", "--locale=C.UTF-8", "--no-sync")
        with open(self._data / "postgresql.conf", "a") as conf:
            conf.write(CONF.format(dir=self.dir))
        self.start()
        try:
            # In what databases are copied from.
            if self._portable:
                self._psql("template1", "-f", self._portable)
            else:
                self.sql("CREATE EXTENSION pg_stash", "template1")
            self.create_database("cache")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop("immediate")
        shutil.rmtree(self.dir, ignore_errors=True)

    def start(self) -> None:
        self._run("pg_ctl", "-D", self._data, "-l", self._data / "log", "-w", "start")

    def stop(self, mode: str = "fast") -> None:
        self._run("pg_ctl", "-D", self._data, "-m", mode, "-w", "stop")

    def create_database(self, name: str) -> str:
        """Makes a database with the extension, and returns its URL."""
        self.sql(f'CREATE DATABASE "{name}"', "postgres")
        return self.url(name)

    def url(self, database: str = "cache") -> str:
        return f"postgresql://postgres@/{database}?host={self.dir}"

    def sql(self, command: str, database: str = "cache") -> str:
        """Runs SQL in a session of its own and returns the result, unaligned."""
        return self._psql(database, "-c", command)

    def _psql(self, database: str, *arguments: str) -> str:
        psql = [pg_bin() / "psql", "-h", self.dir, "-U", "postgres", "-d", database, "-XqAt", "-v", "ON_ERROR_STOP=1"]
        done = subprocess.run([*psql, *arguments], check=True, stdout=subprocess.PIPE, text=True)
        return done.stdout.strip()

    def _run(self, program: str, *arguments: Any) -> None:
        subprocess.run([pg_bin() / program, *arguments], check=True, stdout=subprocess.DEVNULL, **as_server_user())
