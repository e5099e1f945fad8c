"""The backend for Flask-Caching.

CACHE_TYPE = "pg_stash.flask.PostgresCache"
CACHE_POSTGRES_URL = "postgresql://localhost/shop"    # default: DATABASE_URL
CACHE_DEFAULT_TIMEOUT = 300
CACHE_OPTIONS = {"fail_open": True}                   # options of pg_stash.Client
"""

from __future__ import annotations

import os
from typing import Any

from flask_caching.backends.base import BaseCache

from .cachelib import PostgresCache as CachelibPostgresCache


class PostgresCache(CachelibPostgresCache, BaseCache):
    """A Flask-Caching backend in PostgreSQL. A timeout of 0 is none; a negative one, or None, is the default."""

    @classmethod
    def factory(cls, _app: Any, config: dict[str, Any], args: list[Any], kwargs: dict[str, Any]) -> PostgresCache:
        """Makes the cache from the settings of an application."""
        url = config.get("CACHE_POSTGRES_URL") or config.get("DATABASE_URL") or os.environ.get("DATABASE_URL")
        if not url and not args:
            raise ValueError("CACHE_POSTGRES_URL is not set, and neither is DATABASE_URL")
        settings = {
            "url": url,
            "name": config.get("CACHE_POSTGRES_NAME", "default"),
            "key_prefix": config.get("CACHE_KEY_PREFIX"),
        }
        if args:
            del settings["url"]
        return cls(*args, **{**settings, **kwargs})
