"""Many rows at once: psycopg's own loaders, which are in C where it is, in place of a call for each field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.adapt import AdaptersMap, Loader, Transformer
from psycopg.pq import Format
from psycopg.types.numeric import Int8BinaryLoader
from psycopg.types.string import ByteaBinaryLoader, TextBinaryLoader

from . import plain_json

if TYPE_CHECKING:
    from psycopg.abc import Buffer
    from psycopg.pq.abc import PGresult


class _JsonbLoader(Loader):
    format = Format.BINARY

    def load(self, data: Buffer) -> Any:
        return plain_json.decode(bytes(data[1:]).decode())


class _Context:
    """Loaders of our own choice, whatever the application has registered for its connections."""

    connection = None
    adapters = AdaptersMap(psycopg.adapters)


_Context.adapters.register_loader("text", TextBinaryLoader)
_Context.adapters.register_loader("jsonb", _JsonbLoader)
_Context.adapters.register_loader("bytea", ByteaBinaryLoader)
_Context.adapters.register_loader("int8", Int8BinaryLoader)


def load(result: PGresult) -> list[tuple[Any, ...]]:
    """All rows, in Python's types."""
    transformer = Transformer(_Context())
    transformer.set_pgresult(result)
    return transformer.load_rows(0, result.ntuples, tuple)
