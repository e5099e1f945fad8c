#!/bin/sh
# The private server of make run: cluster.sh {start|stop|psql|connect|url}. It listens on a socket in its own directory and
# on nothing else.
. "$(dirname "$0")/env.sh"

DATA=$WORK/cluster
PORT=54329
# A socket's path may have about 100 bytes.
SOCKET=$WORK
[ ${#SOCKET} -le 80 ] || SOCKET=/tmp/pg_stash-$(id -u)

is_running() { as_server_user "$RUN_BIN/pg_ctl" -D "$DATA" status >/dev/null 2>&1; }
connect() { echo "$RUN_BIN/psql -h $SOCKET -p $PORT -U postgres shop"; }

start() {
    mkdir -p "$SOCKET"
    if is_root; then chown postgres "$SOCKET"; fi
    if ! [ -e "$DATA/PG_VERSION" ]; then
        say "Making a private cluster in $DATA"
        mkdir -p "$DATA"
        if is_root; then chown postgres "$DATA"; fi
        as_server_user "$RUN_BIN/initdb" -D "$DATA" -U postgres -A trust --locale=C.UTF-8 >/dev/null
        as_server_user sh -c "cat >>'$DATA/postgresql.conf'" <<CONF
listen_addresses = ''
unix_socket_directories = '$SOCKET'
port = $PORT
shared_buffers = 256MB
CONF
    fi
    # A new library takes effect with a new start.
    if is_running; then stop; fi
    as_server_user "$RUN_BIN/pg_ctl" -D "$DATA" -l "$DATA/log" -w start >/dev/null ||
        fail "the private server did not start" "Its log, $DATA/log, says why."
    say "The private server runs: socket in $SOCKET, port $PORT"
}

stop() {
    if is_running; then
        as_server_user "$RUN_BIN/pg_ctl" -D "$DATA" -m fast -w stop >/dev/null
        say "The private server is stopped"
    fi
}

case $1 in
start) start ;;
stop) stop ;;
connect) connect ;;
url) echo "postgresql://postgres@/$2?host=$SOCKET&port=$PORT" ;;
psql)
    is_running || fail "the private server is not running" "Start it with: make run"
    shift
    exec "$RUN_BIN/psql" -h "$SOCKET" -p "$PORT" -U postgres "$@"
    ;;
esac
