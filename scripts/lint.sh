#!/bin/sh
# Formatting and clippy; warnings are errors.
. "$(dirname "$0")/env.sh"

say "Checking the formatting"
cargo fmt --check || fail "the code is not formatted" "Run: cargo fmt"
say "Running clippy"
# shellcheck disable=SC2086
cargo clippy --quiet --all-targets $FEATURES -- -D warnings
