#!/bin/sh
# make bench: installs the contestants that are missing, and measures. QUICK=1 for the base configuration only.
# GROUP=… for the groups whose titles contain that, with the results in target/.
# make replay (with the argument "replay"): replays the requests of the traces in TRACES.
. "$(dirname "$0")/env.sh"

missing=
for package in python3 redis-server redis-tools memcached libmemcached-tools; do
    [ "$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)" = "install ok installed" ] || missing="$missing $package"
done
if [ -n "$missing" ]; then
    say "Installing with apt-get:$missing"
    # The services are not wanted, only their programs: this keeps the packages from starting them.
    guard=/usr/sbin/policy-rc.d
    if ! [ -e "$guard" ]; then
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$guard" >/dev/null
        as_root chmod 755 "$guard"
        trap 'as_root rm -f "$guard"' EXIT
    fi
    as_root apt-get update -qq
    # shellcheck disable=SC2086
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing ||
        fail "apt-get could not install:$missing"
fi

if [ "${1:-}" = replay ]; then
    say "Replaying requests (a minute or two)"
    exec python3 bench/replay.py --pg-bin "$RUN_BIN" ${TRACES:+--traces "$TRACES"}
fi
say "Measuring (quick: under 3 minutes; full: about 20)"
python3 bench/bench.py --pg-bin "$RUN_BIN" ${QUICK:+--quick} ${TRACES:+--traces "$TRACES"} ${GROUP:+--group "$GROUP" --out target}
say "The results are in bench/results.md and bench/results.json"
