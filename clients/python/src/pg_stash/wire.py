"""PostgreSQL's binary formats of parameters and results, as far as the cache's functions need them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta, timezone
from math import isinf
from struct import Struct
from typing import Union

TEXT, BYTEA, INT8, INTERVAL, TIMESTAMPTZ, JSONB, BOOL = 25, 17, 20, 1186, 1184, 3802, 16
TEXT_ARRAY, BYTEA_ARRAY, INT8_ARRAY, JSONB_ARRAY = 1009, 1001, 1016, 3807
ELEMENT = {TEXT_ARRAY: TEXT, BYTEA_ARRAY: BYTEA, INT8_ARRAY: INT8, JSONB_ARRAY: JSONB}

_int4 = Struct("!i")
_int8 = Struct("!q")
_interval = Struct("!qii")
_array_header = Struct("!iiIii")
_NULL = _int4.pack(-1)
# The lengths of short elements. As strings they are ASCII.
_LENGTHS = [_int4.pack(length).decode() for length in range(128)]
_EPOCH = datetime(2000, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)
_INT8_MAX, _INT8_MIN = 2**63 - 1, -(2**63)

Duration = Union[timedelta, float, int]
"""A time span: a timedelta, or seconds."""

NEVER: float = float("inf")
"""The ttl of an entry that does not expire. Without any ttl the cache's own default applies."""

# The same bits as cache.never(), and as the interval 'infinity' of PostgreSQL 17.
_NEVER_BITS = _interval.pack(_INT8_MAX, 2**31 - 1, 2**31 - 1)


def seconds(duration: Duration) -> float:
    return duration.total_seconds() if isinstance(duration, timedelta) else duration


def interval(duration: Duration | None) -> bytes | None:
    if duration is None:
        return None
    if isinstance(duration, timedelta):
        micros = duration // _MICROSECOND
    elif isinf(duration) and duration > 0:
        return _NEVER_BITS
    else:
        micros = round(duration * 1_000_000)
    # An interval's own days would follow the session's time zone. What does not fit is for the server to refuse.
    return _interval.pack(max(_INT8_MIN + 1, min(micros, _INT8_MAX - 1)), 0, 0)


def read_interval(data: bytes) -> timedelta:
    micros, days, months = _interval.unpack(data)
    return timedelta(days=days + 30 * months, microseconds=micros)


def timestamptz(moment: datetime | None) -> bytes | None:
    if moment is None:
        return None
    if moment.tzinfo is None:
        raise ValueError("a time needs a time zone")
    return _int8.pack((moment - _EPOCH) // _MICROSECOND)


def read_timestamptz(data: bytes) -> datetime:
    """datetime.max stands for 'infinity', and for what datetime cannot hold."""
    micros: int = _int8.unpack(data)[0]
    try:
        return _EPOCH + timedelta(microseconds=micros)
    except OverflowError:
        return datetime.max.replace(tzinfo=timezone.utc)


def int8(number: int) -> bytes:
    return _int8.pack(number)


def read_int8(data: bytes) -> int:
    return int.from_bytes(data, "big", signed=True)


def text(string: str | None) -> bytes | None:
    return None if string is None else string.encode()


def array(oid: int, items: Sequence[bytes | None]) -> bytes:
    """A one-dimensional array of type `oid`, of elements in binary form."""
    if not items:
        return _array_header.pack(0, 0, ELEMENT[oid], 0, 0)[:12]
    parts = [_array_header.pack(1, 1, ELEMENT[oid], len(items), 1)]
    for item in items:
        if item is None:
            parts.append(_NULL)
        else:
            parts += (_int4.pack(len(item)), item)
    return b"".join(parts)


def strings(strings: Iterable[str]) -> list[str]:
    """What was given for a list of strings, as one. A string would be taken for its characters."""
    if isinstance(strings, str):
        raise TypeError("a list of strings is wanted, not one string")
    return list(strings)


def texts(strings_: Iterable[str] | None) -> bytes | None:
    """A text[]."""
    if strings_ is None:
        return None
    items = strings(strings_)
    return _short_ascii(items) or array(TEXT_ARRAY, list(map(str.encode, items)))


def _short_ascii(items: Sequence[str]) -> bytes | None:
    """What `array` makes of texts as most keys are, short and ASCII, in half its time; None of others."""
    parts = [""] * (2 * len(items))
    parts[1::2] = items
    try:
        # Not len(), which a class derived from str may have its own idea of.
        parts[::2] = map(_LENGTHS.__getitem__, map(str.__len__, items))
    except IndexError:
        return None
    joined = "".join(parts)
    if not items or not joined.isascii():
        return None
    return _array_header.pack(1, 1, TEXT, len(items), 1) + joined.encode()
