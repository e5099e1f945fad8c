#!/bin/sh
# All tests but the lints: unit tests, tests inside a server, and tests from clients on private servers. What is given
# as an argument filters them by name.
. "$(dirname "$0")/env.sh"

export TMPDIR="${TMPDIR:-/tmp}"
if is_root; then
    export CARGO_PGRX_TEST_RUNAS=postgres
    export CARGO_PGRX_TEST_PGDATA="$TMPDIR/pg_stash-pgrx-$$"
else
    export CARGO_PGRX_TEST_PGDATA="$WORK/pgrx-test"
fi

# Ends servers that an interrupted run has left, and no others: they are found by their directories.
clean_up() {
    for data in "$TMPDIR"/pg_stash-[0-9]*-*/data "$CARGO_PGRX_TEST_PGDATA"; do
        if [ -e "$data/postmaster.pid" ]; then
            as_server_user "$(dirname "$PG_CONFIG")/pg_ctl" -D "$data" -m immediate -w stop >/dev/null 2>&1 || true
        fi
    done
    rm -rf "$TMPDIR"/pg_stash-[0-9]*-* "$CARGO_PGRX_TEST_PGDATA"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

say "Running the tests on PostgreSQL $major (the first build takes some minutes)"
# The library is unlinked first: overwriting it in place would pull it from under a server that has it mapped.
rm -f "$("$PG_CONFIG" --pkglibdir)/pg_stash.so"
cargo pgrx test "pg$major" "$@"
