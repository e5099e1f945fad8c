#!/bin/sh
# Installs what building and testing need and the machine does not have, and makes a private copy of PostgreSQL that
# extensions can be installed into without touching the system's. A second run installs nothing.
. "$(dirname "$0")/common.sh"

command -v cargo >/dev/null || fail "cargo is not installed" "Install Rust: https://rustup.rs, or Debian's package rustup."

missing_packages() {
    for package in "$@"; do
        status=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)
        [ "$status" = "install ok installed" ] || echo "$package"
    done
}

command -v apt-get >/dev/null || fail "this machine has no apt-get" \
    "Install PostgreSQL with its server headers, clang, libclang and sudo by hand."
base="build-essential pkg-config clang libclang-dev"
is_root && base="$base sudo"
if [ -z "$(pg_major)" ]; then
    say "Looking up the distribution's PostgreSQL"
    as_root apt-get update -qq
fi
major=$(pg_major)
[ -n "$major" ] || fail "no PostgreSQL is installed, and apt-get offers none" "Check the package sources of this machine."

# shellcheck disable=SC2086
missing=$(missing_packages $base "postgresql-$major" "postgresql-server-dev-$major" | tr '\n' ' ')
if [ -n "$missing" ]; then
    say "Installing with apt-get: $missing"
    as_root apt-get update -qq
    # Debian would make and start a cluster; nothing here needs it. Whoever wants one runs pg_createcluster.
    settings=/etc/postgresql-common/createcluster.conf
    if ! [ -e "$settings" ]; then
        as_root mkdir -p /etc/postgresql-common
        echo "create_main_cluster = false" | as_root tee "$settings" >/dev/null
        trap 'as_root rm -f "$settings"' EXIT
    fi
    # shellcheck disable=SC2086
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing ||
        fail "apt-get could not install: $missing" "Run it by hand to see what is in the way."
fi

cargo_pgrx_version() { "$1" pgrx --version 2>/dev/null | sed -n 's/^cargo-pgrx //p'; }
if [ "$(cargo_pgrx_version cargo)" != "$PGRX_VERSION" ] && ! [ -x "$ROOT/target/tools/bin/cargo-pgrx" ]; then
    say "Building cargo-pgrx $PGRX_VERSION (a few minutes, once)"
    # One that is there in another version may be needed by another project, so it stays.
    root_option=
    command -v cargo-pgrx >/dev/null && root_option="--root $ROOT/target/tools"
    # shellcheck disable=SC2086
    cargo install cargo-pgrx --version "$PGRX_VERSION" --locked --debug $root_option ||
        fail "cargo could not build cargo-pgrx $PGRX_VERSION" "Is crates.io reachable? The messages above say what went wrong."
fi

work=$(work_dir)
system=/usr/lib/postgresql/$major
for tree in build run; do
    copy=$work/$tree
    # The copy is made anew when the system's PostgreSQL has been updated. PostgreSQL finds its files relative to itself.
    if ! cmp -s "$system/bin/postgres" "$copy$system/bin/postgres"; then
        say "Making a private copy of PostgreSQL $major in $copy"
        rm -rf "$copy"
        mkdir -p "$copy/usr/lib/postgresql" "$copy/usr/share/postgresql" "$copy/usr/include"
        cp -a "$system" "$copy/usr/lib/postgresql/"
        cp -a "/usr/share/postgresql/$major" "$copy/usr/share/postgresql/"
        ln -s /usr/include/postgresql "$copy/usr/include/postgresql"
    fi
done

export PGRX_HOME="$work/pgrx"
if ! grep -qs "$work/build$system/bin/pg_config" "$PGRX_HOME/config.toml"; then
    say "Telling pgrx about PostgreSQL $major"
    mkdir -p "$PGRX_HOME"
    PATH="$ROOT/target/tools/bin:$PATH" cargo pgrx init "--pg$major=$work/build$system/bin/pg_config" >/dev/null
fi
