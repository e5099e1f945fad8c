#!/bin/sh
# The tests of the portable edition, on private servers: with the arguments of python3 -m unittest, for example a name.
. "$(dirname "$0")/common.sh"
cd "$ROOT"

scripts/portable.sh --check
major=$(pg_major)
[ -n "$major" ] || fail "no PostgreSQL is installed" "Run: make setup"
tools=$ROOT/target/portable-tools
if ! [ -x "$tools/bin/python" ] || ! "$tools/bin/python" -c 'import psycopg' 2>/dev/null; then
    say "Installing psycopg into $tools"
    python3 -m venv "$tools" && "$tools/bin/pip" install --quiet 'psycopg[binary]>=3.1,<4' ||
        fail "psycopg could not be installed" "It comes from PyPI, by pip."
fi
say "Testing the portable edition on PostgreSQL $major"
export PG_BIN="${PG_BIN:-/usr/lib/postgresql/$major/bin}"
cd pg_test/portable
if [ $# -eq 0 ]; then
    exec "$tools/bin/python" -m unittest discover --verbose
fi
exec "$tools/bin/python" -m unittest --verbose "$@"
