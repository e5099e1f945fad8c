#!/bin/sh
# Compiles for every supported PostgreSQL. pgrx ships bindings for each, which it uses where docs.rs builds it; so no
# headers are needed.
. "$(dirname "$0")/env.sh"

for version in 14 15 16 17 18; do
    say "Compiling for PostgreSQL $version"
    DOCS_RS=1 RUSTFLAGS='-D warnings' RUSTC_WRAPPER=scripts/rustc-shipped-bindings.sh cargo check --quiet --lib --target-dir target/check-versions --no-default-features --features "pg$version" ||
        fail "the code does not compile for PostgreSQL $version"
done
