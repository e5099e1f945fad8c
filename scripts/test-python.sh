#!/bin/sh
# All tests of the Python client and of the example in Python, on private servers: lints and types, the package, its own
# tests, and those that the frameworks have for a cache, on both editions. PG_TREE=run takes the release build of make run.
. "$(dirname "$0")/env.sh"
. "$ROOT/scripts/python-env.sh"

tree=$WORK/${PG_TREE:-build}
export PG_BIN="$tree/usr/lib/postgresql/$major/bin"
[ -e "$tree/usr/share/postgresql/$major/extension/pg_stash.control" ] ||
    fail "the extension is not installed in $tree" "make test, or make run, builds and installs it."

python_env pgbouncer chromium chromium-driver
client=$ROOT/clients/python
sources=$ROOT/target/python/sources

# The frameworks' tests are in their source distributions.
for package in Flask-Caching==2.5.1 cachelib==0.17.0 Django==5.2.19; do
    name=$(echo "${package%%=*}" | tr 'A-Z-' 'a-z_')
    version=${package##*=}
    if ! [ -d "$sources/$name-$version/tests" ]; then
        say "Downloading the tests of $package"
        mkdir -p "$sources"
        "$PY" -m pip download -q --disable-pip-version-check --no-deps --no-binary :all: -d "$sources" "$package" ||
            fail "pip could not download the source of $package"
        tar -xzf "$sources/$name-$version.tar.gz" -C "$sources"
    fi
done

say "Python: formatting, lints and types"
cd "$client"
"$PY_ENV/bin/ruff" format --check -q . "$ROOT/examples"
"$PY_ENV/bin/ruff" check -q . "$ROOT/examples"
"$PY_ENV/bin/mypy" --no-error-summary

say "Python: wheel and source distribution"
"$PY" tests/package.py "$ROOT/target/python"

say "Python: the client's tests, those of Flask-Caching, cachelib, dogpile.cache and Django, and the example in a browser"
"$PY" tests/run.py "$sources"
