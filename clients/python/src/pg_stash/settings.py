"""What a client is told about its connections."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg.conninfo import make_conninfo


@dataclass(frozen=True)
class Settings:
    """Where the server is, and how long and how often to try."""

    conninfo: str
    max_connections: int = 10
    """Connections of a process, or of an event loop, at most. Further calls wait for one, for `timeout`."""
    timeout: float = 5.0
    """Seconds that a call may take. The time of a claim's `wait` comes on top."""
    connect_timeout: float = 3.0
    """Seconds that a connection attempt may take."""
    prepare: bool | None = None
    """Whether to prepare statements. None: unless a pooler is between client and server."""
    max_idle: float = 300.0
    """Seconds after which one of the unused connections is closed."""


def conninfo(url: str | None, parameters: Mapping[str, Any] | None = None) -> str:
    """A connection string from a URL or DSN, else from DATABASE_URL, else from libpq's own variables.

    A driver named in the URL, as SQLAlchemy has it, is ignored.
    """
    if url is None:
        url = os.environ.get("DATABASE_URL", "")
    url = re.sub(r"^(postgres|postgresql)\+\w+://", "postgresql://", url)
    defaults = {"client_encoding": "utf8", "fallback_application_name": "pg_stash"}
    return make_conninfo(url, **{**defaults, **(parameters or {})})
