"""Arrays: psycopg's own loaders, which are in C where it is, in place of a call for each element."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.adapt import AdaptersMap, Transformer
from psycopg.pq import Format
from psycopg.types.numeric import Int8BinaryLoader
from psycopg.types.string import ByteaBinaryLoader, TextBinaryLoader

from .wire import BYTEA_ARRAY, INT8_ARRAY, JSONB_ARRAY, TEXT_ARRAY

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult


class _Context:
    """Loaders of our own choice, whatever the application has registered for its connections."""

    connection = None
    adapters = AdaptersMap(psycopg.adapters)


_Context.adapters.register_loader("text", TextBinaryLoader)
_Context.adapters.register_loader("jsonb", ByteaBinaryLoader)  # decoded as that of a single value is
_Context.adapters.register_loader("bytea", ByteaBinaryLoader)
_Context.adapters.register_loader("int8", Int8BinaryLoader)


class _Loaders(threading.local):
    """Those of a thread, for they are not said to be safe to share."""

    def __init__(self) -> None:
        transformer = Transformer(_Context())
        oids = (TEXT_ARRAY, JSONB_ARRAY, BYTEA_ARRAY, INT8_ARRAY)
        self.load = [transformer.get_loader(oid, Format.BINARY).load for oid in oids]


_loaders = _Loaders()


def load(result: PGresult) -> list[list[Any] | None]:
    """The columns of the one row: text[], jsonb[], bytea[] and bigint[], or NULL. Elements of the first come as
    str, of the last as int, all others as bytes."""
    values = [result.get_value(0, column) for column in range(4)]
    return [None if value is None else load(value) for value, load in zip(values, _loaders.load)]
