"""One value of any form as JSON, and as the text of a cell."""

from typing import Any

import msgspec


def _other(value: Any) -> str:
    """Nanoseconds, which Python's own times do not have: ISO 8601, as all times."""
    return str(value.isoformat()) if hasattr(value, "isoformat") else str(value)


ENCODER = msgspec.json.Encoder(enc_hook=_other)


def text_of(value: Any) -> str:
    """The cell of a value: empty for null, a text as it is, JSON otherwise."""
    if value is None or isinstance(value, str):
        return value or ""
    return ENCODER.encode(value).decode()
