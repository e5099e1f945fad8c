"""A small shop whose cache is its database.

Pages come from Flask-Caching with a timeout. The dashboard is remembered by the database and as exact as an uncached
one: an order drops it when it commits. /status shows what the cache does.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable

import charts
import psycopg
from flask import Flask, abort, g, redirect, render_template, request, url_for
from flask_caching import Cache
from pg_stash import Client
from psycopg.rows import dict_row

app = Flask(__name__)
app.config["DATABASE_URL"] = os.environ["DATABASE_URL"]
app.config["CACHE_TYPE"] = "pg_stash.flask.PostgresCache"
app.config["CACHE_POSTGRES_NAME"] = "pages"
app.config["CACHE_DEFAULT_TIMEOUT"] = 60
pages = Cache(app)
cache = Client(app.config["DATABASE_URL"])

SALES_BY_CATEGORY = """
    SELECT p.category, sum(o.quantity * p.price)::float8 AS revenue, count(*) AS orders
    FROM public.orders AS o JOIN public.products AS p ON p.id = o.product_id
    GROUP BY p.category ORDER BY revenue DESC
"""
SALES_BY_DAY = """
    SELECT o.ordered_at::date AS day, sum(o.quantity * p.price)::float8 AS revenue
    FROM public.orders AS o JOIN public.products AS p ON p.id = o.product_id
    GROUP BY o.ordered_at::date ORDER BY day
"""


def query(sql: str, *parameters: object) -> list[dict]:
    """The rows of a query on this request's connection."""
    if "connection" not in g:
        g.connection = psycopg.connect(app.config["DATABASE_URL"], row_factory=dict_row)
    return g.connection.execute(sql, parameters).fetchall()


@app.teardown_appcontext
def close_connection(error: BaseException | None) -> None:
    connection = g.pop("connection", None)
    if connection is not None:
        connection.close()


@app.before_request
def start_clock() -> None:
    g.started = time.perf_counter()


@app.context_processor
def took() -> dict:
    return {"milliseconds": lambda: (time.perf_counter() - g.started) * 1000}


@app.route("/")
@pages.cached(query_string=True)
def shop() -> str:
    category = request.args.get("category")
    products = query("SELECT * FROM products WHERE %s::text IS NULL OR category = %s ORDER BY id", category, category)
    categories = query("SELECT DISTINCT category FROM products ORDER BY category")
    return render_template("shop.html", products=products, categories=categories, category=category)


@app.route("/product/<int:number>")
@pages.cached(timeout=30)
def product(number: int) -> str:
    found = query("SELECT * FROM products WHERE id = %s", number)
    if not found:
        abort(404)
    sold = query("SELECT coalesce(sum(quantity), 0) AS sold FROM orders WHERE product_id = %s", number)
    return render_template("product.html", product=found[0], sold=sold[0]["sold"])


@app.post("/buy/<int:number>")
def buy(number: int):
    query("INSERT INTO orders (product_id, quantity) VALUES (%s, 1) RETURNING id", number)
    # The commit drops what was remembered of the orders, before anybody is told of it.
    g.connection.commit()
    return redirect(url_for("dashboard"))


@app.route("/dashboard")
def dashboard() -> str:
    started = time.perf_counter()
    categories, days = cache.remember(SALES_BY_CATEGORY), cache.remember(SALES_BY_DAY)
    took = (time.perf_counter() - started) * 1000
    bars = charts.bars([(row["category"], row["revenue"], f"{row['revenue']:,.0f} €") for row in categories])
    line = charts.area([row["revenue"] for row in days[:-1]], labels=[days[0]["day"], days[-2]["day"]])
    orders = sum(row["orders"] for row in categories)
    revenue = sum(row["revenue"] for row in categories)
    return render_template("dashboard.html", bars=bars, line=line, orders=orders, revenue=revenue, took=took)


@app.route("/status")
def status() -> str:
    caches = query("SELECT * FROM cache.stats ORDER BY cache = 'default' DESC, cache")
    sweeper = (query("SELECT * FROM cache.sweeper WHERE database = current_database()") or [None])[0]
    total = {
        name: known_sum(row[name] for row in caches)
        for name in ("hits", "misses", "entries", "live_bytes", "file_bytes")
    }
    reads = known_sum([total["hits"], total["misses"]])
    ratio = total["hits"] / reads if reads else None
    history = None if reads is None else samples(total["hits"], total["misses"])
    for row in caches:
        share = max(float(row["used_percent"] or 0) / 100, 0.004 if row["entries"] else 0)
        row["meter"] = charts.meter(share)
        row["donut"] = charts.donut(None if row["hit_ratio"] is None else float(row["hit_ratio"]), size=84)
    known = sweeper and sweeper["lateness"] is not None
    lateness = sweeper["lateness"].total_seconds() if known else None
    return render_template(
        "status.html",
        caches=caches,
        sweeper=sweeper,
        total=total,
        reads=reads,
        removed=sweeper and known_sum([sweeper["expired"], sweeper["evicted"]]),
        donut=charts.donut(ratio, size=190),
        history=None
        if history is None
        else charts.area([point["ratio"] for point in history], top=1.0, labels=_span(history)),
        lateness=lateness,
        lateness_meter=charts.meter(min((lateness or 0) / 10, 1), kind="inverse"),
    )


def known_sum(numbers: Iterable[int | None]) -> int | None:
    """A sum of figures, None where they are not known: the portable edition does not count reads."""
    numbers = list(numbers)
    return None if None in numbers else sum(numbers)


def samples(hits: int, misses: int) -> list[dict]:
    """The hit ratio between one look and the next, of the last few minutes, kept in the cache like anything else."""
    with cache.claim("status:samples", lease=2) as claim:
        kept = claim.value or {"hits": hits, "misses": misses, "at": time.time(), "points": []}
        gets = hits + misses - kept["hits"] - kept["misses"]
        if not claim.must_compute or time.time() - kept["at"] < 1 or gets <= 0:
            if claim.must_compute:
                claim.fill(kept, ttl=3600, fresh=1)
            return kept["points"]
        point = {"at": time.time(), "ratio": (hits - kept["hits"]) / gets}
        points = [*kept["points"], point][-60:]
        claim.fill({"hits": hits, "misses": misses, "at": time.time(), "points": points}, ttl=3600, fresh=1)
        return points


def _span(history: list[dict]) -> list[str]:
    if len(history) < 2:
        return []
    seconds = history[-1]["at"] - history[0]["at"]
    return [f"{seconds:.0f} s ago" if seconds < 120 else f"{seconds / 60:.0f} min ago", "now"]


@app.template_filter("number")
def number(count: int | None) -> str:
    return "-" if count is None else f"{count:,}"


@app.template_filter("size")
def size(count: float | None) -> str:
    if count is None:
        return "-"
    for unit in ("B", "kB", "MB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GB"
