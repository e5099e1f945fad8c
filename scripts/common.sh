# Shared by the scripts: where things are, and how to say what goes on. Sourced, not run.
set -eu

ROOT=$(cd "$(dirname "$0")/.." && pwd)
PGRX_VERSION=0.18.1

say()  { printf '\033[1m==> %s\033[0m\n' "$*"; }
fail() { printf '\033[1;31merror:\033[0m %s\n' "$1" >&2; shift; for line in "$@"; do printf '       %s\n' "$line" >&2; done; exit 1; }

is_root() { [ "$(id -u)" = 0 ]; }

# Runs a command as root: directly, or through sudo.
as_root() {
    if is_root; then "$@"
    elif command -v sudo >/dev/null; then sudo "$@"
    else fail "this step needs root: $*" "Run it as root, or install sudo and put yourself into the group sudo."
    fi
}

# Runs a command as the user that servers run as: PostgreSQL refuses to run as root.
as_server_user() {
    if is_root; then runuser -u postgres -- env -u RUST_BACKTRACE -C / "$@"
    else env -u RUST_BACKTRACE "$@"
    fi
}

# The PostgreSQL to build for: PG_MAJOR, else the newest installed, else the distribution's.
pg_major() {
    if [ -n "${PG_MAJOR:-}" ]; then echo "$PG_MAJOR"; return; fi
    installed=$(ls -d /usr/lib/postgresql/1[4-8]/bin/postgres 2>/dev/null | sed 's|.*/postgresql/\([0-9]*\)/.*|\1|' | sort -n | tail -n 1)
    if [ -n "$installed" ]; then echo "$installed"; return; fi
    apt-cache depends postgresql 2>/dev/null | sed -n 's/.*Depends: postgresql-\([0-9][0-9]*\)$/\1/p' | head -n 1
}

# Where private copies of PostgreSQL and private clusters live: under target/, or in /var/tmp where the user that servers
# run as cannot reach target/ (a checkout in /root).
work_dir() {
    mkdir -p "$ROOT/target/pg"
    if ! is_root || ! id postgres >/dev/null 2>&1 || runuser -u postgres -- test -x "$ROOT/target/pg"; then
        echo "$ROOT/target/pg"
    else
        dir=/var/tmp/pg_stash-$(printf '%s' "$ROOT" | cksum | cut -d' ' -f1)
        mkdir -p "$dir"
        chmod 755 "$dir"
        echo "$dir"
    fi
}
