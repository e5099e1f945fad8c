#!/bin/sh
# Makes the cluster on the first start, with a database that has the cache, and runs the server.
# POSTGRES_PASSWORD is needed on the first start; POSTGRES_DB is "app" if not given.
set -eu

# A disk is mounted as root's. PostgreSQL does not run as root.
if [ "$(id -u)" = 0 ]; then
    mkdir -p "$PGDATA"
    chown postgres: "$PGDATA"
    exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi

if ! [ -s "$PGDATA/PG_VERSION" ]; then
    : "${POSTGRES_PASSWORD:?is not set: the password of the user postgres}"
    password=$(mktemp)
    trap 'rm -f "$password"' EXIT
    printf '%s\n' "$POSTGRES_PASSWORD" >"$password"
    initdb -D "$PGDATA" -U postgres --pwfile="$password" --auth-local=trust --auth-host=scram-sha-256 --locale=C.UTF-8
    rm -f "$password"
    echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
    {
        echo "listen_addresses = '*'"
        echo "unix_socket_directories = '/tmp'"
        # The sweeper then runs from the start; without it the first write starts it.
        echo "shared_preload_libraries = 'pg_stash'"
    } >>"$PGDATA/postgresql.conf"
    pg_ctl -D "$PGDATA" -o "-c listen_addresses=''" -w start
    createdb -h /tmp -U postgres "${POSTGRES_DB:-app}"
    psql -h /tmp -U postgres -d "${POSTGRES_DB:-app}" -v ON_ERROR_STOP=1 -c 'CREATE EXTENSION pg_stash'
    pg_ctl -D "$PGDATA" -m fast -w stop
fi
exec postgres -D "$PGDATA"
