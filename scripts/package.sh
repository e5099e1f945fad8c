#!/bin/sh
# Builds in release and leaves the three files of the extension in target/package/.
. "$(dirname "$0")/env.sh"

say "Building in release for PostgreSQL $major (the first time some minutes)"
# shellcheck disable=SC2086
cargo pgrx package --pg-config "$PG_CONFIG" --out-dir target/package/tree $FEATURES ||
    fail "the build failed" "The messages above say why."
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
out=target/package/pg_stash-$version-pg$major
rm -rf "$out" && mkdir -p "$out"
find target/package/tree -name 'pg_stash*' -type f -exec cp {} "$out/" \;
tar -czf "$out.tar.gz" -C target/package "$(basename "$out")"
say "Packaged: $out.tar.gz"
