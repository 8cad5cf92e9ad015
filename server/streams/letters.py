"""Dead letters: messages that have no answer, with the reason."""

import base64

from unpickled.server.message.answer import dumps
from unpickled.server.quote import counted
from unpickled.server.streams.broker import Answer, Message, Target

_ABANDONED = "delivered_too_often"
_LARGE = "answer_too_large"


def letter(message: Message, document: bytes, source: str, target: Target) -> Answer:
    """The dead letter of a message.

    Args:
        message: The message.
        document: The error, as a JSON object.
        source: The address of the stream, without a password.
        target: Takes the letter.

    Returns:
        The members of the error, then ``source``, ``deliveries`` and ``body``: the message as text, or
        ``body_base64`` where it is not UTF-8. Where the target does not take that much, ``body_bytes``
        has the number of its bytes alone.
    """
    members: dict[str, object] = {"source": source, "deliveries": message.deliveries}
    try:
        members["body"] = message.body.decode()
    except UnicodeDecodeError:
        members["body_base64"] = base64.b64encode(message.body).decode()
    complete = _joined(message, document, members)
    if target.takes(complete):
        return complete
    members.pop("body", members.pop("body_base64", None))
    return _joined(message, document, members | {"body_bytes": len(message.body)})


def too_large(message: Message, size: int, place: str) -> bytes:
    """The error for a message whose answer has more bytes than its target takes."""
    reason = f"the answer has {size:,} bytes, more than {place} takes: raise its limit, or send fewer rows"
    return dumps({"error": reason, "code": _LARGE, "id": message.id})


def abandoned(message: Message) -> bytes:
    """The error for a message that was delivered again and again: it may be the one that ends processes."""
    times = counted(message.deliveries - 1, "time")
    reason = f"delivered {times} before, and never acknowledged: perhaps it ends the process that answers it"
    return dumps({"error": reason, "code": _ABANDONED, "id": message.id})


def _joined(message: Message, document: bytes, members: dict[str, object]) -> Answer:
    return Answer(id=message.id, body=document[:-1] + b"," + dumps(members)[1:], key=message.key)
