#!/bin/sh
# Installs the packaged extension, or removes it: install.sh {install|uninstall} [pg_config]. Files are put in place
# as new ones, so that a server that has the old library loaded keeps it until it is restarted.
. "$(dirname "$0")/env.sh"

action=$1
config=${2:-/usr/lib/postgresql/$major/bin/pg_config}
library=$("$config" --pkglibdir)
extension=$("$config" --sharedir)/extension
as_needed() { if [ -w "$library" ] && [ -w "$extension" ]; then "$@"; else as_root "$@"; fi; }

case $action in
install)
    version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
    from=target/package/pg_stash-$version-pg$major
    as_needed install -m 755 "$from/pg_stash.so" "$library/"
    as_needed install -m 644 "$from/pg_stash.control" "$from"/pg_stash--*.sql "$extension/"
    say "Installed into $library and $extension"
    ;;
uninstall)
    as_needed rm -f "$library/pg_stash.so" "$extension/pg_stash.control" "$extension"/pg_stash--*.sql
    say "Removed from $library and $extension"
    ;;
*)
    fail "install.sh knows install and uninstall, not $action"
    ;;
esac
