"""Errors of Redis: those that no pause mends, with their remedies, and the others."""

from collections.abc import Iterator
from contextlib import contextmanager

import redis
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    ClusterDownError,
    InvalidResponse,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
)

from unpickled.server.errors import ConfigError
from unpickled.server.streams import encryption
from unpickled.server.streams.address import Address
from unpickled.server.streams.broker import SILENT, BrokerAway

# Errors that go away by themselves: a restart, a change of the master, a full memory or disk. The library has
# classes for some, and takes their codes off their texts; the texts of the others begin like this.
_PASSING = (ClusterDownError, OutOfMemoryError, ReadOnlyError)
_PASSING_TEXTS = ("NOGROUP", "MISCONF", "NOREPLICAS", "BUSY ", "UNBLOCKED", "no such key")
_REFUSED = (AuthenticationError, AuthorizationError, NoPermissionError)


@contextmanager
def translated(address: Address) -> Iterator[None]:
    """Turn the library's errors into ours: BrokerAway, or ConfigError where waiting would not help."""
    try:
        yield
    except _REFUSED as error:
        raise ConfigError(
            f"{address.server} refuses the user ({error}): correct user and password of the address, or give "
            "the user permission"
        ) from None
    except (redis.ConnectionError, redis.TimeoutError) as error:
        raise encryption.refusal(address, error) or BrokerAway(_reason(error)) from None
    except InvalidResponse as error:
        raise ConfigError(f"{address.server} does not answer as Redis does: correct host and port") from error
    except _PASSING as error:
        raise BrokerAway(_reason(error)) from None
    except redis.ResponseError as error:
        if str(error).startswith(_PASSING_TEXTS):
            raise BrokerAway(_reason(error)) from None
        raise ConfigError(f"{address} cannot be used: {error}") from None


def _reason(error: Exception) -> str:
    """The system's word for what failed, or else the library's."""
    cause = error.__cause__ or error.__context__
    if isinstance(error, redis.TimeoutError):
        return SILENT
    reason = str(getattr(cause, "strerror", None) or error).rstrip(".")
    # A code of the server stays as it is.
    return reason if reason[:2].isupper() else reason[:1].lower() + reason[1:]
