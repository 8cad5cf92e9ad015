"""A group of NATS JetStream: a durable pull consumer of a stream."""

import nats.js.errors
from nats.aio.client import Client
from nats.js import api

from unpickled.server.errors import ConfigError
from unpickled.server.streams.broker import SourceOptions
from unpickled.server.streams.nats.connection import PATIENCE


async def join(client: Client, name: str, subject: str, options: SourceOptions) -> None:
    """Create the consumer of a group, or see that the one of its name reads the subject.

    Raises:
        ConfigError: The consumer of this name is another.
    """
    policy = api.DeliverPolicy.ALL if options.first else api.DeliverPolicy.NEW
    stream = client.jetstream(timeout=PATIENCE)
    try:
        info = await stream.consumer_info(name, options.group)
    except nats.js.errors.NotFoundError:
        config = api.ConsumerConfig(
            durable_name=options.group,
            filter_subject=subject,
            deliver_policy=policy,
            ack_policy=api.AckPolicy.EXPLICIT,
            ack_wait=options.idle,
            max_ack_pending=-1,
        )
        await stream.add_consumer(name, config)
        return
    config = info.config
    if config.deliver_subject or config.ack_policy != api.AckPolicy.EXPLICIT:
        raise ConfigError(
            f"the consumer {options.group} of {name} is no pull consumer with explicit "
            "acknowledgement: choose another group, or delete it"
        )
    # Members say every few seconds that they still hold messages: see Pace.hold.
    if config.ack_wait < min(10.0, options.idle / 2):
        raise ConfigError(
            f"the group {options.group} of {name} takes messages from a member that is silent for "
            f"{config.ack_wait:g} s: choose --idle {max(1.0, config.ack_wait):g}, or another group"
        )
    if config.max_deliver > 0:
        raise ConfigError(
            f"the group {options.group} of {name} drops messages after max_deliver = {config.max_deliver}: "
            "delete it, as --deliveries gives messages up"
        )
    if config.filter_subject != subject:
        read = config.filter_subject or "every subject"
        raise ConfigError(
            f"the group {options.group} reads {read} of {name}, not {subject}: choose another "
            "group, or delete it"
        )
