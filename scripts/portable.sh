#!/bin/sh
# Assembles the portable edition, sql/portable/pg_stash.sql, its pg_tle package and the scripts that remove and move it, from
# parts in sql/portable/ and from what the native edition has in sql/. With --check it only says whether the files that are
# there are up to date.
. "$(dirname "$0")/common.sh"
cd "$ROOT"

PARTS=sql/portable
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

# A part, once for each form in which values are read.
for_readers() {
    for form in \
        "|text|coalesce(e.value_text, e.value_json::pg_catalog.text, e.value_int::pg_catalog.text)|text|vals, NULL, NULL" \
        "_json|jsonb|e.value_json|json|NULL, vals, NULL" \
        "_bytes|bytea|e.value_bytes|bytes|NULL, NULL, vals"
    do
        echo "$form" | { IFS='|' read -r suffix type read form vals
        sed -e '/^-- readers$/d' -e "s/{suffix}/$suffix/g; s/{type}/$type/g; s/{read}/$read/g; s/{form}/$form/g; s/{vals}/$vals/g" "$1"; }
    done
}

# A part, once for each type of value.
for_writers() {
    for form in "text|value_text|@, NULL, NULL, NULL|pg_catalog.octet_length(\$2)" \
        "jsonb|value_json|NULL, @, NULL, NULL|pg_catalog.pg_column_size(\$2)" \
        "bytea|value_bytes|NULL, NULL, @, NULL|pg_catalog.octet_length(\$2)" "bigint|value_int|NULL, NULL, NULL, @|8"
    do
        echo "$form" | { IFS='|' read -r type column values size
        value=$(echo "$values" | sed 's/@/value/')
        expected=$(echo "$values" | sed 's/@/expected/')
        sed -e '/^-- writers$/d' -e "s/{type}/$type/g; s/{column}/$column/g; s/{value}/$value/g; s/{expected}/$expected/g; s/{size}/$size/g" "$1"; }
    done
}

part() {
    case $(head -n 1 "$1") in
    '-- readers') for_readers "$1" ;;
    '-- writers') for_writers "$1" ;;
    *) cat "$1" ;;
    esac
}

# The definitions that are made anew for each set of caches, as a query that returns one row for each.
store() {
    row_bytes=$(sed -n "/FUNCTION cache._row_bytes/,/^\$body\$;/s/^ *\(SELECT \)\{0,1\}'\(.*\)'\(::pg_catalog.text\)\{0,1\}$/\2/p" $PARTS/sweep.sql | tr -d '\n')
    first=true
    for file in $PARTS/store/*.sql; do
        $first || echo "    UNION ALL"
        first=false
        printf '    SELECT $definitions$\n'
        part "$file" | sed "s/{bytes}/$row_bytes/g"
        printf '$definitions$\n'
    done
}

# Puts what a command prints in the place of a line.
include() {
    marker=$1
    shift
    "$@" >"$out/$marker"
    sed -e "/^$marker\$/{
r $out/$marker
d
}"
}

policies() { sed -n '/^CREATE TABLE cache.caches/,/^);/p' sql/tables.sql | sed 's/^CREATE TABLE/CREATE TABLE IF NOT EXISTS/'; }

body() {
    cat $PARTS/schema.sql
    policies
    for name in errors arguments access clock invalidate size sweep; do echo; part $PARTS/$name.sql; done
    echo
    include @store store <$PARTS/store.sql | include @entries cat sql/entries.sql
    for name in policies caches write write_many lease read read_any expiry counter delete keys watch remember statistics; do
        echo
        part $PARTS/$name.sql 
    done
    echo
    sed 's/^CREATE VIEW/CREATE OR REPLACE VIEW/' sql/views.sql
    cat sql/comments.sql
}

{
    cat <<TEXT
-- pg_stash $version, portable edition: the cache for PostgreSQL 14 and later where no library can be installed.
-- Run it as a role that may create a schema in the database:  psql -v ON_ERROR_STOP=1 -f pg_stash.sql
-- Run it again to upgrade in place: caches, their entries and privileges stay. uninstall.sql removes everything.
-- This file is assembled; its parts are in sql/portable/ of the project.
BEGIN;
TEXT
    body
    cat $PARTS/schedule.sql $PARTS/moving/in.sql
    echo "COMMIT;"
} >"$out/pg_stash.sql"

{
    echo "-- Removes the portable edition of pg_stash from a database. Run it as the role that has installed it."
    echo "BEGIN;"
    cat $PARTS/moving/remove.sql
    echo "COMMIT;"
} >"$out/uninstall.sql"

{
    cat <<TEXT
-- Moves a database from the portable edition to the native one, once its library is installed on the server. Run it as a
-- superuser; the role that had installed the portable edition keeps all privileges. Policies, privileges, watched tables and
-- entries without tags stay. It is one transaction: where it fails, everything is as before.
BEGIN;
TEXT
    cat $PARTS/moving/out.sql $PARTS/moving/remove.sql
    echo "CREATE EXTENSION pg_stash;"
    cat $PARTS/moving/in.sql
    echo "COMMIT;"
} >"$out/to_native.sql"

{
    cat <<TEXT
-- Moves a database from the native edition back to the portable one. Run it as a superuser, and then, as the same role,
-- pg_stash.sql, which takes in what this one sets aside in the schema cache_aside.
BEGIN;
TEXT
    cat $PARTS/moving/out.sql
    echo "DROP EXTENSION pg_stash;"
    echo "DROP SCHEMA IF EXISTS cache;"
    echo "COMMIT;"
} >"$out/to_portable.sql"

{
    cat <<TEXT
-- pg_stash $version, portable edition, as a package of pg_tle. Run it as a role that may install extensions of pg_tle, and
-- then: CREATE EXTENSION pg_stash
SELECT pgtle.install_extension('pg_stash', '$version', 'a cache in this database (portable edition)', \$_pg_tle_\$
TEXT
    body
    echo "SELECT pg_catalog.pg_extension_config_dump('cache.caches', '');"
    echo '$_pg_tle_$);'
} >"$out/pg_stash--pgtle.sql"

for file in pg_stash.sql pg_stash--pgtle.sql uninstall.sql to_native.sql to_portable.sql; do
    if [ "${1:-}" = --check ]; then
        cmp -s "$out/$file" $PARTS/$file || fail "$PARTS/$file is not up to date" "Run: make portable"
    else
        cp "$out/$file" $PARTS/$file
    fi
done
