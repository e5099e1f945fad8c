"""Values: which of the four types of the cache a Python value goes in as, and how it comes out again.

Whatever goes in comes out equal, and of the same type. A `str` is stored as text, an `int` of up to 64 bits as
bigint, `bytes` as bytea, and None, bool, float, list and dict as jsonb where that changes nothing, so that SQL reads
them too. All else goes through the serializer, into a bytea that starts with a mark.
"""

from __future__ import annotations

from struct import Struct
from typing import Any

from . import plain_json
from .serializers import PickleSerializer, Serializer

TEXT, JSON, BYTES, INT = "text", "json", "bytes", "int"

_MARK = b"\x93pg_stash:"
_INT8 = Struct("!q")
_JSONB_VERSION = b"\x01"


class Undecodable(ValueError):
    """A stored value that this client cannot read: of another serializer, or of a class that has changed."""


class Codec:
    """Turns values into parameters in PostgreSQL's binary format, and back."""

    def __init__(self, serializer: Serializer | None = None, *, json: bool = True) -> None:
        """`json` false: None, bool, float, list and dict go through the serializer, too. A dict then keeps the order
        of its keys, which jsonb does not."""
        self._json = json
        self.use(serializer or PickleSerializer())

    def use(self, serializer: Serializer) -> None:
        """Changes the serializer. Values of another one cannot be read any more."""
        self._serializer = serializer
        self._mark = _MARK + serializer.name.encode("ascii") + b"\n"

    def encode(self, value: Any) -> tuple[str, bytes]:
        """A value's type in the cache, and its binary form."""
        kind = type(value)
        if kind is str:
            if "\0" not in value:
                try:
                    return TEXT, value.encode()
                except UnicodeEncodeError:  # a lone surrogate
                    pass
        elif kind is int:
            if -(2**63) <= value < 2**63:
                return INT, _INT8.pack(value)
        elif kind is bytes:
            if not value.startswith(_MARK):
                return BYTES, value
        elif self._json:
            text = plain_json.encode(value)
            if text is not None:
                return JSON, _JSONB_VERSION + text
        return BYTES, self._mark + self._serializer.dumps(value)

    def decode(self, text: bytes | None, json: bytes | None, data: bytes | None, integer: bytes | None) -> Any:
        """The value of a row, given its four columns in binary form."""
        if text is not None:
            return text.decode()
        if integer is not None:
            return _INT8.unpack(integer)[0]
        return self.decode_other(json, data)

    def decode_other(self, json: bytes | None, data: bytes | None) -> Any:
        """A value that is neither text nor an integer."""
        if json is not None:
            return plain_json.decode(json[1:].decode())
        if data is not None:
            return self._load(data) if data.startswith(_MARK) else data
        raise Undecodable("the entry has no value")

    def _load(self, data: bytes) -> Any:
        if not data.startswith(self._mark):
            name = data[len(_MARK) : len(_MARK) + 40].split(b"\n")[0].decode("ascii", "replace")
            raise Undecodable(f"the value was written by the serializer {name!r}, not {self._serializer.name!r}")
        try:
            return self._serializer.loads(data[len(self._mark) :])
        except Exception as error:
            raise Undecodable(f"the value cannot be deserialized: {error!r}") from error
