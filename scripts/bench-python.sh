#!/bin/sh
# make bench-python: the cache measured from Python. QUICK=1 takes three short rounds.
. "$(dirname "$0")/env.sh"
. "$ROOT/scripts/python-env.sh"

python_env redis-server
say "Measuring from Python (quick: a minute; full: some ten)"
"$PY" bench/python_clients.py --pg-bin "$RUN_BIN" ${QUICK:+--quick}
"$PY" bench/python_workers.py --pg-bin "$RUN_BIN"
say "The results are in bench/python.md, bench/workers.md and the like in JSON"
