"""Dead letters: messages that have no answer, with the reason."""

import base64

from unpickled.server.message.answer import dumps
from unpickled.server.quote import counted
from unpickled.server.streams.broker import Answer, Message

_ABANDONED = "delivered_too_often"


def letter(message: Message, document: bytes, source: str) -> Answer:
    """The dead letter of a message.

    Args:
        message: The message.
        document: The error, as a JSON object.
        source: The address of the stream, without a password.

    Returns:
        The members of the error, then ``source``, ``deliveries`` and ``body``: the message as text, or
        ``body_base64`` where it is not UTF-8.
    """
    members: dict[str, object] = {"source": source, "deliveries": message.deliveries}
    try:
        members["body"] = message.body.decode()
    except UnicodeDecodeError:
        members["body_base64"] = base64.b64encode(message.body).decode()
    return Answer(id=message.id, body=document[:-1] + b"," + dumps(members)[1:], key=message.key)


def abandoned(message: Message) -> bytes:
    """The error for a message that was delivered again and again: it may be the one that ends processes."""
    times = counted(message.deliveries - 1, "time")
    reason = f"delivered {times} before, and never acknowledged: perhaps it ends the process that answers it"
    return dumps({"error": reason, "code": _ABANDONED, "id": message.id})
