#!/bin/sh
# All tests but the lints: unit tests, tests inside a server, and tests from clients on private servers. What is given
# as an argument filters them by name.
. "$(dirname "$0")/env.sh"

# All servers of this run, and all that they write, are in one directory, which the user that they run as may write to.
TMPDIR=$(mktemp -d "${TMPDIR:-/tmp}/pg_stash-XXXXXX")
chmod 1777 "$TMPDIR"
export TMPDIR
if is_root; then export CARGO_PGRX_TEST_RUNAS=postgres; fi
export CARGO_PGRX_TEST_PGDATA="$TMPDIR/pgrx"

# Ends what an interrupted run has left.
clean_up() {
    for data in "$TMPDIR"/*/data "$TMPDIR"/pgrx/*; do
        if [ -e "$data/postmaster.pid" ]; then
            as_server_user "$(dirname "$PG_CONFIG")/pg_ctl" -D "$data" -m immediate -w stop >/dev/null 2>&1 || true
        fi
    done
    rm -rf "$TMPDIR"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# The tests of what both editions do, with the portable one: those of these modules.
CONFORMANCE="entries bad_input caches own_transaction isolation tags leases watch remember access sweeping exactness
    documentation statistics"

say "Running the tests on PostgreSQL $major (the first build takes some minutes)"
# The library is unlinked first: overwriting it in place would pull it from under a server that has it mapped.
rm -f "$("$PG_CONFIG" --pkglibdir)/pg_stash.so"
cargo pgrx test "pg$major" "$@"
if [ $# -gt 0 ]; then exit; fi

say "Running those of the portable edition"
scripts/portable.sh --check
# shellcheck disable=SC2046,SC2086
PG_STASH_EDITION=portable cargo test --lib $FEATURES --features pg_test -- $(printf 'pg_test::%s:: ' $CONFORMANCE)
PG_NATIVE_BIN="$(dirname "$PG_CONFIG")" scripts/test-portable.sh
