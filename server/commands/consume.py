"""The command ``consume``: answers the messages of a broker."""

import os
import socket
from collections.abc import Mapping
from typing import Any

import click
from msgspec.structs import replace

from unpickled.server import config, console
from unpickled.server.commands.settings import Settled, options
from unpickled.server.config import Config
from unpickled.server.streams.address import Addresses, parsed
from unpickled.server.streams.broker import SourceOptions
from unpickled.server.streams.pace import Pace

# The settings of a server that mean something here.
_SETTINGS = frozenset(
    {
        *(
            "models",
            "reload_seconds",
            "max_body_bytes",
            "max_rows",
            "extra_columns",
            "admin_port",
            "admin_host",
        ),
        *("provider", "strict", "intra_op_threads", "arena", "shadow_rows", "drift", "log_level"),
        *(key for key in config.FIELDS if key.startswith("log_")),
    }
)


def _complete_model(context: click.Context, parameter: click.Parameter, start: str) -> list[str]:
    # Imported here, as only the Tab key needs it: it imports ONNX Runtime.
    from unpickled.server.commands import completion

    return completion.models(context, parameter, start)


def _number(flag: str, default: float, kind: "click.ParamType[Any]", text: str) -> click.Option:
    return click.Option([flag], type=kind, default=default, show_default=True, metavar="NUMBER", help=text)


_OPTIONS = [
    click.Argument(["source"], metavar="SOURCE"),
    click.Option(["--to"], required=True, metavar="ADDRESS", help="place that gets the answers"),
    click.Option(
        ["--dead"],
        metavar="ADDRESS",
        help="place that gets messages without an answer, with the reason  [default: --to gets the errors]",
    ),
    click.Option(
        ["--group"],
        default="unpickled",
        show_default=True,
        metavar="NAME",
        help="group whose members share the messages; it is created where it does not exist",
    ),
    click.Option(
        ["--member"], metavar="NAME", help="name of this member of the group  [default: host and process id]"
    ),
    click.Option(
        ["--from", "beginning"],
        type=console.Choice(["start", "end"]),
        default="start",
        show_default=True,
        help="where a group begins that is created: with the oldest message, or with the next that comes",
    ),
    click.Option(
        ["--model", "default_model"],
        metavar="NAME",
        shell_complete=_complete_model,
        help="model that answers  [default: the server's default_model, or the only one]",
    ),
    _number("--batch", 256, click.IntRange(1, 100_000), "most messages that are taken together"),
    _number("--wait-ms", 20, click.IntRange(0, 5000), "milliseconds to wait for so many"),
    _number("--deliveries", 5, click.IntRange(1), "deliveries after which a message is given up"),
    _number(
        "--idle",
        60,
        click.FloatRange(1),
        "seconds after which messages of a silent member are taken over, where the broker does not do that "
        "by itself",
    ),
]


@click.command(
    cls=Settled,
    params=[*_OPTIONS, *options(_SETTINGS)],
    epilog=console.examples(
        "unpickled consume redis://localhost/flowers --to redis://localhost/scored",
        "unpickled consume redis://host/flowers --group scorers --to redis://host/scored --dead redis://host/dead",
        "unpickled consume 'rediss://me@host/flowers?password_file=secret' --to 'redis://other/scored?maxlen=100000'",
        "unpickled consume kafka://host:9092,host2/flowers --to nats://host/flowers.scored",
    ),
)
@click.pass_obj
def consume(
    environ: Mapping[str, str],
    /,
    source: str,
    to: str,
    dead: str | None,
    group: str,
    member: str | None,
    beginning: str,
    batch: int,
    wait_ms: int,
    deliveries: int,
    idle: float,
    **flags: Any,
) -> int:
    """Answer the messages of a broker as POST /predict answers requests.

    SOURCE is where the messages are: a stream of Redis (redis://), a topic of Kafka (kafka://), a subject of
    NATS JetStream (nats://) or a queue of RabbitMQ (amqp://). Answers may go to another kind of broker.

    Each answer is written before its message is acknowledged, so that none is lost whatever ends; after an
    end in the middle, those that were held are answered twice.

    Start this command several times to use several processors: the members of a group share the messages.
    """
    settings = _settings(config.load(flags, environ))
    addresses = Addresses(parsed(source), parsed(to), None if dead is None else parsed(dead))
    options = SourceOptions(
        group=group,
        member=member or f"{socket.gethostname()}-{os.getpid()}",
        first=beginning == "start",
        batch=batch,
        idle=idle,
    )
    # Messages that are held are kept well before others may take them over.
    pace = Pace(batch=batch, seconds=wait_ms / 1000, deliveries=deliveries, hold=min(5.0, idle / 4))
    # Imported after the addresses are read, so that neither --help nor a wrong one waits for ONNX Runtime.
    consuming = console.needed("unpickled.server.process.consuming", "server")
    status: int = consuming.consume(settings, addresses, options, pace)
    return status


def _settings(settings: Config) -> Config:
    """The settings without those of requests: nobody waits, and nobody reports truth here."""
    return replace(
        settings,
        limits=replace(settings.limits, request_timeout=None),
        truth=replace(settings.truth, truth_rows=0),
    )
