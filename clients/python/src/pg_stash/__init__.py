"""The PostgreSQL that you already run as your cache.

from pg_stash import Client

cache = Client("postgresql://localhost/shop")
cache.set("greeting", "hello", ttl=300)
cache.get("greeting")
"""

from .async_client import AsyncClient
from .calls import Call
from .claim import AsyncClaim, Claim
from .client import Client
from .errors import NotInstalled, TooLarge
from .serializers import PickleSerializer, Serializer
from .values import Undecodable
from .wire import NEVER

__version__ = "0.1.0"

__all__ = [
    "NEVER",
    "AsyncClaim",
    "AsyncClient",
    "Call",
    "Claim",
    "Client",
    "NotInstalled",
    "PickleSerializer",
    "Serializer",
    "TooLarge",
    "Undecodable",
]
