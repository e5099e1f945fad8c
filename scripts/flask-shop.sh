#!/bin/sh
# make flask-shop: the example application on the private server of make run, with visitors.
. "$(dirname "$0")/env.sh"
. "$ROOT/scripts/python-env.sh"

python_env
cluster() { "$ROOT/scripts/cluster.sh" "$@"; }
cluster psql postgres -Xqc 'DROP DATABASE IF EXISTS flask_shop WITH (FORCE)' -c 'CREATE DATABASE flask_shop'
say "Filling the shop"
cluster psql flask_shop -Xqf "$ROOT/examples/flask-shop/schema.sql" >/dev/null
DATABASE_URL=$(cluster url flask_shop)
export DATABASE_URL

address=http://127.0.0.1:${SHOP_PORT:-8000}
cd "$ROOT/examples/flask-shop"
"$PY_ENV/bin/gunicorn" --workers 2 --threads 4 --bind "${address#http://}" --log-level warning --no-control-socket app:app &
shop=$!
visitors=
trap 'kill $shop $visitors 2>/dev/null; wait $shop 2>/dev/null || true' EXIT
trap 'exit 0' INT TERM
sleep 2
kill -0 $shop 2>/dev/null || fail "the shop did not start" "Is the port taken? SHOP_PORT=… chooses another."
"$PY" visitors.py "$address" &
visitors=$!
say "The shop is open at $address, the cache at $address/status. Ctrl+C closes it; make stop ends the server, too."
wait $shop
