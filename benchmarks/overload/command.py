"""The command ``python -m benchmarks overload``: its options, and what it prints."""

import argparse

from benchmarks.measuring import machine
from benchmarks.overload.campaign import COMPARED, Campaign, split_flags
from benchmarks.overload.climb import MIXES, Plan
from benchmarks.overload.models import MODELS
from benchmarks.progress import Progress
from benchmarks.reporting import overload as reporting
from benchmarks.servers import process, warden
from benchmarks.servers.catalogue import SERVERS

TIMES = (0.5, 0.8, 1.0, 1.5, 2.0, 4.0, 10.0)


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.set_defaults(run=run)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=["wide"], help="default: wide")
    parser.add_argument(
        "--servers", nargs="+", choices=SERVERS, default=list(COMPARED), help=f"default: {' '.join(COMPARED)}"
    )
    parser.add_argument("--mixes", nargs="+", choices=MIXES, default=list(MIXES), help="default: all")
    parser.add_argument(
        "--times", nargs="+", type=_positive, default=TIMES, metavar="X",
        help=f"multiples of the capacity (default: {' '.join(f'{each:g}' for each in TIMES)})",
    )  # fmt: skip
    parser.add_argument("--seconds", type=_positive, default=10.0, help="of each step (default: 10)")
    parser.add_argument(
        "--repeats", type=int, choices=range(1, 100), default=3, metavar="N", help="default: 3"
    )
    parser.add_argument(
        "--limit", type=_positive, default=4.0, metavar="S", help="seconds after which a client gives up (4)"
    )
    parser.add_argument(
        "--connections", type=int, default=2500, metavar="N", help="the most at once (default: 2500)"
    )
    parser.add_argument("--even", action="store_true", help="requests at even intervals, not at random ones")
    parser.add_argument("--flags", default="", help="more flags of unpickled serve, as --flags='--x 1 --y 2'")
    parser.add_argument("--main-probes", action="store_true", help="ask /livez at the main port")
    parser.add_argument("--unpinned", action="store_true", help="do not pin processes to cores")
    parser.add_argument("--save", action="store_true", help="keep the figures, and write the documentation's")


def run(options: argparse.Namespace) -> int:
    """The exit status; raises BenchmarkError."""
    server_core, generator_core = machine.cores(pinned=not options.unpinned)
    if server_core is not None:
        process.refuse_leftovers("end them")
    warden.guard()
    campaign = Campaign(
        plan=Plan(
            times=tuple(sorted(set(options.times))),
            seconds=options.seconds,
            limit=options.limit,
            connections=options.connections,
            poisson=not options.even,
            mixes=tuple(options.mixes),
        ),
        models=tuple(options.models),
        servers=tuple(options.servers),
        repeats=options.repeats,
        flags=split_flags(options.flags),
        admin=not options.main_probes,
        server_core=server_core,
        generator_core=generator_core,
    )
    figures = campaign.measure(Progress())
    print(reporting.text(figures))
    if options.save:
        for path in reporting.LATEST.save(figures):
            print(f"wrote {path}")
    return 0


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value
