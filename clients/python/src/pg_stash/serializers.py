"""How a value goes into bytes that has no type of its own in the cache."""

from __future__ import annotations

import pickle
from typing import Any, Protocol


class Serializer(Protocol):
    """What `serializer=` of a client takes.

    `name` is stored in front of each value: bytes are only ever given to `loads` if a serializer of this name wrote
    them. Use letters, digits, dots and dashes.
    """

    name: str

    def dumps(self, value: Any) -> bytes: ...

    def loads(self, data: bytes) -> Any: ...


class PickleSerializer:
    """Any object that pickle takes.

    Whoever may write to the cache's table can have code run by those who read from it. Where that is more people
    than run the application, use a serializer of plain data.
    """

    name = "pickle"

    def dumps(self, value: Any) -> bytes:
        return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)

    def loads(self, data: bytes) -> Any:
        return pickle.loads(data)
