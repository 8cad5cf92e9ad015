"""The command ``python -m benchmarks observers``: its options, and what it prints."""

import argparse
import os
import shutil

from benchmarks.errors import BenchmarkError
from benchmarks.measuring import generators, machine
from benchmarks.measuring.pipelines import RECIPES
from benchmarks.observers.campaign import Campaign
from benchmarks.progress import Progress
from benchmarks.reporting import observers as reporting
from benchmarks.servers import process, warden


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.set_defaults(run=run)
    parser.add_argument("--model", choices=list(RECIPES), default="iris", help="default: iris")
    parser.add_argument(
        "--repeats", type=int, choices=range(1, 100), default=5, metavar="N", help="default: 5"
    )
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement (default: 5)")
    parser.add_argument("--connections", type=int, default=32, metavar="N", help="default: 32")
    parser.add_argument(
        "--rate", type=float, default=2000.0, metavar="R", help="requests/s for the latency (default: 2000)"
    )
    parser.add_argument("--unpinned", action="store_true", help="do not pin processes to cores")
    parser.add_argument("--save", action="store_true", help="keep the figures, and write the documentation's")


def run(options: argparse.Namespace) -> int:
    """The exit status; raises BenchmarkError."""
    server_core, generator_core = machine.cores(pinned=not options.unpinned)
    if server_core is not None:
        process.refuse_leftovers("end them")
    generator = generators.saturating()
    if not shutil.which(generator):
        raise BenchmarkError(f"{generator} is missing: install it (Debian: wrk)")
    warden.guard()
    if generator_core is not None:
        os.sched_setaffinity(0, {generator_core})
    campaign = Campaign(
        model=options.model,
        repeats=options.repeats,
        seconds=options.seconds,
        connections=options.connections,
        rate=options.rate,
        generator=generator,
        server_core=server_core,
        generator_core=generator_core,
    )
    figures = campaign.measure(Progress())
    print(reporting.text(figures))
    if options.save:
        for path in reporting.LATEST.save(figures):
            print(f"wrote {path}")
    return 0
