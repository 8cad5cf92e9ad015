"""How fast a consumer takes messages, and how often."""

import msgspec


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How messages are taken.

    Attributes:
        batch: Most messages that are taken together.
        seconds: The longest wait for that many.
        deliveries: How often a message may be delivered; then it becomes a dead letter.
        hold: Seconds between two words to the broker that messages take long.
    """

    batch: int = 256
    seconds: float = 0.02
    deliveries: int = 5
    hold: float = 5.0
