"""The application that test_gunicorn serves: its cache is used before the workers are forked."""

import os
import time

from flask import Flask
from flask_caching import Cache

app = Flask(__name__)
app.config.update(CACHE_TYPE="pg_stash.flask.PostgresCache", CACHE_OPTIONS={"fail_open": False})
cache = Cache(app)

with app.app_context():
    cache.set("master", os.getpid())


@app.route("/count")
def count():
    return {"pid": os.getpid(), "count": cache.cache.inc("count"), "master": cache.get("master")}


@app.route("/page")
@cache.cached(timeout=60)
def page():
    return f"{os.getpid()} at {time.monotonic()}"
