"""Runs all tests at once: the client's own and the frameworks', on both editions, and the example application's.

    PG_BIN=…/bin python tests/run.py SOURCES

SOURCES is the directory that has the frameworks' source distributions, unpacked. Each edition has a private server, and
each suite a process and a database of its own. The exit status is the number of suites that failed.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent.parent.parent
PORTABLE = PROJECT / "sql" / "portable" / "pg_stash.sql"
sys.path.insert(0, str(HERE.parent))

from tests.server import Server  # noqa: E402

PYTEST = [sys.executable, "-m", "pytest", "-c", str(HERE.parent / "pyproject.toml"), "-p", "no:cacheprovider"]
# By importlib, because cachelib's tests import a conftest, and mean their own.
FOREIGN = [*PYTEST, "--import-mode=importlib", "-W", "ignore::pytest.PytestUnknownMarkWarning"]


class Suite:
    """A suite, from its start to its end."""

    def __init__(self, name: str, command: list[str], cwd: Path, tests: Path | None = None) -> None:
        self.name, self._command, self._cwd, self._tests = name, command, cwd, tests

    def start(self, server: Server, portable: str | None) -> None:
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        environment["PG_STASH_URL"] = server.create_database(self.name.replace(".", "_"))
        if portable:
            self.name += ", portable edition"
            environment["PG_STASH_SQL"] = portable
        if self._tests is not None:
            environment.update(PYTHONPATH=str(self._tests), FOREIGN_TESTS=str(self._tests))
        self._started = time.monotonic()
        self._process = subprocess.Popen(
            self._command,
            cwd=self._cwd,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def finish(self) -> bool:
        output, _ = self._process.communicate()
        took = time.monotonic() - self._started
        passed = self._process.returncode == 0
        # The closing lines of pytest and of unittest.
        closing = re.findall(r"^(?:\d+ passed.*|Ran \d+ tests.*|OK.*)$", output, re.MULTILINE)
        print(f"  {self.name}: {', '.join(closing) if passed else 'FAILED'}  [{took:.0f} s]", flush=True)
        if not passed:
            print(output, flush=True)
        return passed


def suites(sources: Path) -> list[Suite]:
    def tests(name: str) -> Path:
        return next(sources.glob(f"{name}-*/tests"))

    def foreign(name: str, command: list[str], tests: Path | None) -> Suite:
        return Suite(name, command, HERE / "foreign", tests)

    return [
        Suite("own", [*PYTEST, "."], HERE),
        foreign("Flask-Caching", [*FOREIGN, "flask_caching_suite.py"], tests("flask_caching")),
        foreign("cachelib", [*FOREIGN, "cachelib_suite.py"], tests("cachelib")),
        foreign("dogpile.cache", [*FOREIGN, "dogpile_suite.py"], None),
        foreign("Django", [sys.executable, "django_run.py"], tests("django")),
        Suite("flask-shop", [*PYTEST, str(PROJECT / "examples" / "flask-shop")], HERE),
    ]


def main() -> int:
    sources = Path(sys.argv[1]).resolve()
    started = []
    with contextlib.ExitStack() as servers:
        for portable in [None, str(PORTABLE)] if PORTABLE.exists() else [None]:
            server = servers.enter_context(Server(portable))
            for suite in suites(sources):
                suite.start(server, portable)
                started.append(suite)
        return sum(not suite.finish() for suite in started)


if __name__ == "__main__":
    sys.exit(main())
