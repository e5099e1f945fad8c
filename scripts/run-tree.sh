#!/bin/sh
# Prints the pg_config of the private PostgreSQL that make run uses.
. "$(dirname "$0")/env.sh"
echo "$RUN_BIN/pg_config"
