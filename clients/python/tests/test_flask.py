"""Flask-Caching on top: settings, timeouts, memoized functions, and a server that is away."""

import time

import pytest

flask = pytest.importorskip("flask")
flask_caching = pytest.importorskip("flask_caching")


@pytest.fixture
def make(server, cache_name):
    """Makes an application and its cache from settings."""
    made = []

    def make(**settings):
        app = flask.Flask(__name__)
        defaults = {
            "CACHE_TYPE": "pg_stash.flask.PostgresCache",
            "CACHE_POSTGRES_URL": server.url(),
            "CACHE_POSTGRES_NAME": cache_name,
            "CACHE_OPTIONS": {"fail_open": False},
        }
        app.config.update({**defaults, **settings})
        cache = flask_caching.Cache(app)
        made.append((app, cache))
        return app, cache

    yield make
    for app, cache in made:
        with app.app_context():
            cache.cache.client.close()


def test_the_check_of_a_site(make):
    app, cache = make()
    assert app.config["CACHE_TYPE"] == "pg_stash.flask.PostgresCache"
    with app.app_context():
        cache.set("test", "ok", timeout=60)
        assert cache.get("test") == "ok"
    app, cache = make()
    with app.app_context():
        assert cache.get("test") == "ok"


def test_database_url_is_the_default(make, monkeypatch, server):
    app, cache = make(CACHE_POSTGRES_URL=None, DATABASE_URL=server.url())
    with app.app_context():
        assert cache.set("k", 1)
    monkeypatch.setenv("DATABASE_URL", server.url())
    app, cache = make(CACHE_POSTGRES_URL=None)
    with app.app_context():
        assert cache.get("k") == 1
    monkeypatch.delenv("DATABASE_URL")
    with pytest.raises(ValueError, match="CACHE_POSTGRES_URL is not set"):
        make(CACHE_POSTGRES_URL=None)


def test_timeouts(make, server, cache_name):
    app, cache = make(CACHE_DEFAULT_TIMEOUT=100, CACHE_KEY_PREFIX="p:")

    def ttl(key):
        return server.sql(f"SELECT extract(epoch FROM cache.ttl('p:{key}', cache => '{cache_name}'))")

    with app.app_context():
        cache.set("default", 1)
        cache.set("negative", 1, timeout=-1)
        cache.set("never", 1, timeout=0)
        cache.set("own", 1, timeout=10)
        cache.set_many({"many": 1}, timeout=10)
        cache.add("added", 1)
        cache.cache.inc("counter", 2)
        assert all(99 < float(ttl(key)) <= 100 for key in ("default", "negative", "added", "counter"))
        assert all(9 < float(ttl(key)) <= 10 for key in ("own", "many"))
        assert ttl("never") == ""
        assert cache.has("never")
    app, cache = make(CACHE_DEFAULT_TIMEOUT=0, CACHE_KEY_PREFIX="p:")
    with app.app_context():
        cache.set("forever", 1)
        assert cache.has("forever")
        assert ttl("forever") == ""


def test_clear_leaves_other_prefixes_alone(make):
    app, cache = make(CACHE_KEY_PREFIX="one_")
    other_app, other = make(CACHE_KEY_PREFIX="two_")
    with app.app_context():
        cache.set("k", 1)
        with other_app.app_context():
            other.set("k", 2)
        cache.clear()
        assert not cache.has("k")
    with other_app.app_context():
        assert other.get("k") == 2


def test_memoize_and_delete_memoized(make):
    app, cache = make()
    calls = []

    @cache.memoize(60)
    def double(n):
        calls.append(n)
        return (n, n)

    with app.app_context():
        assert double(1) == double(1) == (1, 1)
        assert double(2) == (2, 2)
        cache.delete_memoized(double, 1)
        double(1)
        double(2)
        assert calls == [1, 2, 1]
        cache.delete_memoized(double)
        double(2)
        assert calls == [1, 2, 1, 2]


def test_cached_views_with_long_query_strings(make):
    app, cache = make()

    @app.route("/page")
    @cache.cached(timeout=60, make_cache_key=lambda: flask.request.full_path)
    def page():
        return str(time.monotonic())

    client = app.test_client()
    one, two = "/page?q=" + "x" * 5000 + "1", "/page?q=" + "x" * 5000 + "2"
    assert client.get(one).data == client.get(one).data
    assert client.get(one).data != client.get(two).data


def test_values_that_are_no_counters_are_counted_all_the_same(make):
    app, cache = make()
    with app.app_context():
        cache.set("float", 1.5)
        assert cache.cache.inc("float") == 2.5
        cache.set("big", 2**63 - 1)
        assert cache.cache.inc("big") == 2**63
        assert cache.cache.dec("big", 2) == 2**63 - 2


def test_a_site_goes_on_without_its_cache(make, tmp_path, caplog):
    app, cache = make(CACHE_POSTGRES_URL=f"postgresql:///cache?host={tmp_path}", CACHE_OPTIONS=None)
    with app.app_context():
        assert cache.get("k") is None
        assert cache.set("k", 1) is False
        assert cache.get_many("a", "b") == [None, None]
        assert cache.set_many({"a": 1}) == []
        assert cache.cache.inc("n") is None
        assert cache.delete("k") is False
        assert cache.has("k") is False
    assert len(caplog.records) == 1
