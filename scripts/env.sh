# The environment in which cargo works on this project: pgrx of the pinned version, the private PostgreSQL. Sourced.
. "$(dirname "$0")/common.sh"

major=$(pg_major)
WORK=$(work_dir)
export PATH="$ROOT/target/tools/bin:$PATH"
export PGRX_HOME="$WORK/pgrx"
export PG_CONFIG="$WORK/build/usr/lib/postgresql/$major/bin/pg_config"
unset RUST_BACKTRACE
FEATURES="--no-default-features --features pg$major"
RUN_TREE="$WORK/run"
RUN_BIN="$RUN_TREE/usr/lib/postgresql/$major/bin"
cd "$ROOT"
