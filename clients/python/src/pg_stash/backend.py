"""What the backends for the frameworks share."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from inspect import signature
from typing import Any, TypeVar

from psycopg.pq import Conninfo

from .runner import Runner

R = TypeVar("R", bound=Runner)

_MAX_KEY = 1024
_HEAD = 900

_clients: dict[tuple[Any, ...], Runner] = {}
_lock = threading.Lock()


def fit(key: str) -> str:
    """A key that the cache takes, for any string: one that is too long, such as one made of a URL, ends in a hash."""
    if 0 < len(key) <= _MAX_KEY // 4 and "\0" not in key:
        return key
    data = key.encode("utf-8", "surrogatepass")
    if 0 < len(data) <= _MAX_KEY and b"\0" not in data:
        return key
    head = data.replace(b"\0", b"")[:_HEAD].decode("utf-8", "ignore")
    return f"{head}#{hashlib.sha256(data).hexdigest()}"


def known(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the options that a client has, or a connection."""
    names = {*signature(Runner).parameters, *(option.keyword.decode() for option in Conninfo.get_defaults())}
    return {name: value for name, value in options.items() if name in names}


def shared(kind: type[R], url: str | None, cache: str, options: dict[str, Any]) -> R:
    """The process's client for these settings. A framework may make a backend for each thread; connections are
    limited for the process."""
    identity = (kind, url, cache, *sorted((name, repr(value)) for name, value in options.items()))
    with _lock:
        client = _clients.get(identity)
        if client is None:
            client = _clients[identity] = kind(url, cache, **options)
    assert isinstance(client, kind)
    return client


def close_shared() -> None:
    """Closes the idle connections of all shared clients."""
    with _lock:
        for client in _clients.values():
            client.close_idle()
