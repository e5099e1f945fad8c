"""What watching a table costs those who write to it: the time of a statement, and of a row, against the same on a table
that is not watched. Measured inside the server, where no round trip hides it."""

from statistics import median

SETUP = """
DROP TABLE IF EXISTS unwatched, watched, watched_rows;
CREATE UNLOGGED TABLE unwatched (id int, n int);
CREATE UNLOGGED TABLE watched (id int, n int);
CREATE UNLOGGED TABLE watched_rows (id int, n int);
SELECT cache.watch('watched'), cache.watch('watched_rows', 'row:{id}');
"""
STATEMENTS, ROWS = 100_000, 500_000

# Prints microseconds for each statement of one row, and for each row of one statement.
MEASURE = """
SELECT clock_timestamp() AS begun \\gset
DO $$BEGIN FOR i IN 1 .. {statements} LOOP INSERT INTO {table} VALUES (i, 1); END LOOP; END$$;
SELECT extract(epoch FROM clock_timestamp() - :'begun') * 1e6 / {statements};
SELECT clock_timestamp() AS begun \\gset
INSERT INTO {table} SELECT i, 1 FROM generate_series(1, {rows}) AS i;
SELECT extract(epoch FROM clock_timestamp() - :'begun') * 1e6 / {rows};
TRUNCATE {table};
"""


def measure(servers, progress, rounds: int = 5) -> dict:
    """The figures, each as text."""
    servers.sql(SETUP)
    tables = ("unwatched", "watched", "watched_rows")
    times = {table: [] for table in tables}
    for number in range(1, rounds + 1):
        for table in tables:
            script = MEASURE.format(table=table, statements=STATEMENTS, rows=ROWS)
            times[table].append([float(line) for line in servers.sql_lines(script)])
            progress(f"watching, round {number}/{rounds}: {table}: {times[table][-1][0]:.2f} µs a statement, "
                     f"{times[table][-1][1]:.2f} µs a row")

    def added(table, what):
        return median(mine[what] - theirs[what] for mine, theirs in zip(times[table], times["unwatched"]))

    base = median(time[0] for time in times["unwatched"])
    return {
        "microseconds that watching a table adds to a statement (an INSERT of one row takes "
        f"{base:.2f})": f"{added('watched', 0):.2f}",
        "the same, watched row by row": f"{added('watched_rows', 0):.2f}",
        "microseconds that watching row by row adds to each row of a statement that writes many": f"{added('watched_rows', 1):.2f}",
    }
