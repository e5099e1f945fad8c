#!/bin/sh
# The guided demonstration of make run, on the private server.
. "$(dirname "$0")/env.sh"

cluster() { "$ROOT/scripts/cluster.sh" "$@"; }

if [ "$(cluster psql postgres -XAtc "SELECT count(*) FROM pg_database WHERE datname = 'shop'")" = 0 ]; then
    cluster psql postgres -Xqc 'CREATE DATABASE shop'
fi
say "Generating a shop database (some seconds)"
cluster psql shop -Xqf demo/shop.sql
say "The tour"
cluster psql shop -Xqf demo/tour.sql
say "Now it is yours. The server goes on running; make stop ends it. To connect:"
if is_root; then echo "    runuser -u postgres -- $(cluster connect)"; else echo "    $(cluster connect)"; fi
echo "    or: make psql"
