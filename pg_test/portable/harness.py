"""A private server with the portable edition, and sessions on it."""

import os
import pathlib
import pwd
import shutil
import subprocess
import tempfile
import threading
import unittest

import psycopg

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "sql/portable/pg_stash.sql"
PG_BIN = os.environ["PG_BIN"]


class Server:
    """A cluster in a directory of its own, which listens on a socket there and on nothing else."""

    def __init__(self, *settings, pg_bin=PG_BIN):
        self.pg_bin = pathlib.Path(pg_bin)
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="pg_stash-portable-", dir="/tmp"))
        self.is_root = os.geteuid() == 0
        if self.is_root:
            shutil.chown(self.directory, "postgres")
        self.data = self.directory / "data"
        self.run("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "--locale=C.UTF-8", "--no-sync")
        with open(self.data / "postgresql.conf", "a") as conf:
            conf.write("listen_addresses = ''\n")
            conf.write(f"unix_socket_directories = '{self.directory}'\n")
            conf.write("max_connections = 60\nshared_buffers = 64MB\n")
            conf.writelines(setting + "\n" for setting in settings)
        self.start()

    def run(self, tool, *arguments):
        prefix = ["runuser", "-u", "postgres", "--"] if self.is_root else []
        command = prefix + ["env", "-u", "RUST_BACKTRACE", "-C", "/", str(self.pg_bin / tool), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{tool}: {done.stdout}{done.stderr}")
        return done.stdout

    def standby(self):
        """Another server, which follows this one."""
        other = Server.__new__(Server)
        other.pg_bin, other.is_root = self.pg_bin, self.is_root
        other.directory = self.directory / "standby"
        other.directory.mkdir()
        if other.is_root:
            shutil.chown(other.directory, "postgres")
        other.data = other.directory / "data"
        self.run("pg_basebackup", "-h", self.directory, "-U", "postgres", "-D", other.data, "-R", "-X", "stream", "--checkpoint=fast")
        with open(other.data / "postgresql.conf", "a") as conf:
            conf.write(f"unix_socket_directories = '{other.directory}'\n")
        other.start()
        return other

    def start(self):
        self.run("pg_ctl", "-D", self.data, "-l", self.directory / "log", "-w", "start")

    def stop(self, mode="fast"):
        self.run("pg_ctl", "-D", self.data, "-m", mode, "-w", "stop")

    def remove(self):
        try:
            self.stop("immediate")
        finally:
            shutil.rmtree(self.directory)

    def connect(self, database, user, autocommit=True):
        return psycopg.connect(
            host=str(self.directory), dbname=database, user=user, autocommit=autocommit, prepare_threshold=None
        )

    def psql(self, database, user, file):
        """Runs a script as a user would, and returns what it has printed."""
        return self.run(
            "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", self.directory, "-U", user, "-d", database, "-f", file
        )


class Session:
    """A connection in autocommit mode. Statements go as simple queries, unless they have parameters."""

    def __init__(self, server, database, user):
        self.connection = server.connect(database, user)
        self.pid = self.connection.info.backend_pid

    def rows(self, sql, *parameters):
        cursor = self.connection.execute(sql, parameters or None)
        while cursor.nextset():
            pass
        return cursor.fetchall() if cursor.description else []

    def run(self, sql, *parameters):
        self.connection.execute(sql, parameters or None)

    def value(self, sql, *parameters):
        rows = self.rows(sql, *parameters)
        return rows[0][0] if rows else None

    def column(self, sql, *parameters):
        return [row[0] for row in self.rows(sql, *parameters)]

    def fails(self, sql, sqlstate):
        """Checks that a statement fails, and returns its message, detail and hint in one text."""
        try:
            self.run(sql)
        except psycopg.Error as error:
            told = error.diag
            assert told.sqlstate == sqlstate, f"{sql}: {told.sqlstate} {told.message_primary}"
            return "\n".join(filter(None, [told.message_primary, told.message_detail, told.message_hint]))
        raise AssertionError(f"{sql} succeeded")

    def close(self):
        self.connection.close()


def in_threads(count, work):
    """Runs `work(number)` so many times at once, and returns the results. An exception in one is raised here."""
    results, errors = [None] * count, []

    def guarded(number):
        try:
            results[number] = work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results


class Case(unittest.TestCase):
    """Tests on one server, each in a database of its own, where the ordinary role `app` has installed the cache."""

    settings = ()
    pg_bin = PG_BIN

    @classmethod
    def setUpClass(cls):
        cls.server = Server(*cls.settings, pg_bin=cls.pg_bin)
        admin = Session(cls.server, "postgres", "postgres")
        admin.run("CREATE ROLE app LOGIN")
        admin.run("CREATE DATABASE template OWNER app")
        cls.server.psql("template", "app", SCRIPT)
        admin.close()
        cls.numbers = iter(range(10_000))

    @classmethod
    def tearDownClass(cls):
        cls.server.remove()

    def setUp(self):
        self.database = f"db{next(self.numbers)}"
        self.admin = Session(self.server, "postgres", "postgres")
        self.addCleanup(self.admin.close)
        self.admin.run(f"CREATE DATABASE {self.database} TEMPLATE template OWNER app")

    def session(self, user="app"):
        session = Session(self.server, self.database, user)
        self.addCleanup(session.close)
        return session
