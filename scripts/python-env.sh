# The virtualenv that tests, examples and measurements in Python run in, in target/python. Sourced, after env.sh.
PY_ENV=$ROOT/target/python/env
PY=$PY_ENV/bin/python

# Installs Debian packages that are missing, without starting the services that come with them.
install_packages() {
    missing=
    for package in "$@"; do
        [ "$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)" = "install ok installed" ] || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    say "Installing with apt-get:$missing"
    guard=/usr/sbin/policy-rc.d
    if ! [ -e "$guard" ]; then
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$guard" >/dev/null
        as_root chmod 755 "$guard"
        trap 'as_root rm -f "$guard"' EXIT
    fi
    as_root apt-get update -qq
    # shellcheck disable=SC2086
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing >/dev/null ||
        fail "apt-get could not install:$missing"
}

# Makes the virtualenv with what requirements.txt lists and the client, or brings it up to date.
python_env() {
    install_packages python3 python3-venv "$@"
    requirements=$ROOT/clients/python/tests/requirements.txt
    if ! [ -e "$PY_ENV/ready" ] || ! cmp -s "$requirements" "$PY_ENV/ready"; then
        say "Making a virtualenv in target/python/env"
        rm -rf "$PY_ENV"
        /usr/bin/python3 -m venv "$PY_ENV"
        "$PY" -m pip install -q --disable-pip-version-check -r "$requirements" -e "$ROOT/clients/python" ||
            fail "pip could not install what the Python client's tests need" "Is the package index reachable?"
        cp "$requirements" "$PY_ENV/ready"
    fi
}
