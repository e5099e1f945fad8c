#!/usr/bin/env python3
"""Measures pg_stash against Redis, memcached and hand-written SQL, all in one run on private servers."""

import argparse
import shutil
import sys
from pathlib import Path

import growth
import replay
import report
import rows
import sweep_cost
import watch_cost
from servers import Servers


def measure(servers, group, rounds, seconds, progress):
    """The samples of a group's rows: each round runs every row once, so that a drifting machine hits all alike."""
    servers.sql(rows.SETUP)
    for script, is_needed in ((rows.FILL, True), (rows.FILL_PEERS, group.peers), (rows.FILL_TAGGED, group.tagged)):
        for statement in script.format(size=group.size, keys=group.keys).split(";\n") if is_needed else ():
            servers.sql(statement)
    if group.portable:
        servers.make_portable(rows.PORTABLE)
        for statement in (rows.PORTABLE_SETUP, *rows.FILL_PORTABLE.format(size=group.size, keys=group.keys).split(";\n")):
            servers.sql(statement, rows.PORTABLE)
    contestants = [row for row in group.rows if row.needs is None or shutil.which(row.needs)]
    samples = {row.name: [] for row in contestants}
    for number in range(rounds + 1):
        for row in contestants:
            # The first round warms caches, and fills Redis; it does not count.
            length = seconds if number else 1
            sample = row.load.run(servers, group.clients, length, group.size, group.keys, group.zipfian)
            progress(f"{group.title}: round {number}/{rounds}: {row.name}: {sample.per_second:,.0f}/s")
            if number:
                samples[row.name].append(sample)
    return samples


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--pg-bin", type=Path, required=True, help="directory of PostgreSQL's programs")
    arguments.add_argument("--quick", action="store_true", help="the base configuration only, in under three minutes")
    arguments.add_argument("--rounds", type=int, help="rounds that count (default 5; quick: 3)")
    arguments.add_argument("--seconds", type=float, help="length of a run (default 2)")
    arguments.add_argument("--group", default="", help="only the groups whose titles contain this")
    arguments.add_argument("--out", type=Path, default=Path(__file__).parent, help="where the results go")
    arguments.add_argument("--traces", help="directory of traces to replay; synthetic requests without one")
    options = arguments.parse_args()
    rounds = options.rounds or (3 if options.quick else 5)
    seconds = options.seconds or 2

    def progress(text):
        print(f"  {text}", file=sys.stderr, flush=True)

    groups, figures = {}, {}
    with Servers(options.pg_bin.resolve()) as servers:
        header = {"machine": report.machine(), "versions": servers.versions(), "rounds": rounds, "seconds": seconds}
        chosen = rows.QUICK if options.quick else rows.FULL
        for group in [group for group in chosen if options.group in group.title]:
            samples = measure(servers, group, rounds, seconds, progress)
            groups[group.title] = report.summary(samples, {row.name: row.pair for row in group.rows})
            print(report.markdown(group.title, groups[group.title]), flush=True)
            report.write(options.out, header, groups, figures)
        if not options.quick and not options.group:
            figures = growth.measure(servers, progress) | growth.measure_portable(servers, progress)
            figures |= sweep_cost.measure(servers, progress) | watch_cost.measure(servers, progress)
            print("\n".join(f"- {name}: {value}" for name, value in figures.items()), flush=True)
            report.write(options.out, header, groups, figures)
            misses = replay.measure(servers, replay.traces_in(options.traces), progress)
            print(report.misses_markdown(misses), flush=True)
            report.write(options.out, header, groups, figures, misses)


if __name__ == "__main__":
    main()
