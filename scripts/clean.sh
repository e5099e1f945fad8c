#!/bin/sh
# Removes all that was built, and the private clusters.
. "$(dirname "$0")/common.sh"

rm -rf "$(work_dir)" "$ROOT/target"
