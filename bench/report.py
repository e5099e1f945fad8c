"""Medians, ratios and spread of what was measured, as a table, Markdown and JSON."""

import json
import platform
from statistics import median

FLOOR, GET, SET = "floor: SELECT $1", "Redis GET (unix socket)", "Redis SET (unix socket)"


def machine() -> str:
    """What machine this is, in a line."""
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    cores = sum(1 for line in open("/proc/cpuinfo") if line.startswith("processor"))
    return f"{cores} × {model}, {platform.system()} {platform.release()}"


def summary(samples: dict, pairs: dict) -> list:
    """A row for each contestant. `pairs` tells which row another one is to be held against. A ratio is the median of the ratios of the same round, so that a machine that drifts
    hits both sides of it alike."""
    rows = []
    for name, runs in samples.items():
        rates = [run.per_second for run in runs]

        def ratio_to(other):
            if other not in samples or other == name:
                return None
            return round(median(mine.per_second / theirs.per_second for mine, theirs in zip(runs, samples[other])), 2)

        rows.append({
            "name": name,
            "per_second": round(median(rates)),
            "spread": round((max(rates) - min(rates)) / median(rates), 2),
            "to_floor": ratio_to(FLOOR),
            "to_redis_get": ratio_to(GET),
            "to_redis_set": ratio_to(SET),
            "pair": pairs.get(name),
            "to_pair": ratio_to(pairs.get(name)),
            "p50_ms": _median([run.p50 for run in runs]),
            "p99_ms": _median([run.p99 for run in runs]),
        })
    return rows


def _median(values):
    values = [value for value in values if value is not None]
    return round(median(values), 3) if values else None


def markdown(title: str, rows: list) -> str:
    """The table of one group."""
    ratios = {"to_floor": "÷ floor", "to_redis_get": "÷ Redis GET", "to_redis_set": "÷ Redis SET", "to_pair": "÷ pair"}
    ratios = {key: head for key, head in ratios.items() if any(row.get(key) is not None for row in rows)}
    lines = [f"### {title}", "", "| | per second | spread | " + " | ".join(ratios.values()) + " | p50 ms | p99 ms |",
             "|---|" + "--:|" * (4 + len(ratios))]
    for row in rows:
        cells = [f"{row['per_second']:,}", f"± {row['spread'] / 2:.0%}"]
        cells += ["" if row[key] is None else f"{row[key]:.2f}" for key in ratios]
        cells += ["" if row[key] is None else f"{row[key]:.3f}" for key in ("p50_ms", "p99_ms")]
        pair = f" (pair: {row['pair']})" if row.get("pair") else ""
        lines.append(f"| {row['name']}{pair} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def misses_markdown(rows: list) -> str:
    """The table of a replay."""
    lines = ["### Misses on real requests", "",
             "Share of requests that miss; in brackets the entries in the cache at the end.", "",
             "| trace | entries | exact LRU | FIFO | Redis allkeys-lru | pg_stash | pg_stash ÷ LRU |",
             "|---|--:|--:|--:|--:|--:|--:|"]
    for row in rows:
        other = f"{row['redis']:.4f} ({row['redis_entries']:,})" if "redis" in row else ""
        lines.append(f"| {row['trace']} ({row['requests']:,} requests) | {row['capacity']:,} | {row['lru']:.4f} | "
                     f"{row['fifo']:.4f} | {other} | {row['pg_stash']:.4f} ({row['pg_stash_entries']:,}) | "
                     f"{row['pg_stash'] / row['lru']:.3f} |")
    return "\n".join(lines) + "\n"


def write(directory, header: dict, groups: dict, figures: dict, misses: list = ()) -> None:
    """Writes results.json and results.md."""
    everything = {**header, "groups": groups, "figures": figures, "misses": list(misses)}
    (directory / "results.json").write_text(json.dumps(everything, indent=1) + "\n")
    text = ["# Results of make bench", "", f"Machine: {header['machine']}. " +
            ", ".join(f"{name}: {version}" for name, version in header["versions"].items()) + ".", "",
            f"{header['rounds']} rounds of {header['seconds']} s for each row, in turn; medians, and the spread between "
            "the slowest and the fastest round. Only ratios within one table mean anything.", ""]
    text += [markdown(title, rows) for title, rows in groups.items()]
    if figures:
        text += ["### What grows", ""] + [f"- {name}: {value}" for name, value in figures.items()] + [""]
    if misses:
        text.append(misses_markdown(misses))
    (directory / "results.md").write_text("\n".join(text))
