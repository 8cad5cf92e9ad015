"""The command ``python -m benchmarks peeking``: its options, and what it prints."""

import argparse

from benchmarks.errors import BenchmarkError
from benchmarks.peeking.simulation import Simulation
from benchmarks.reporting import peeking as reporting


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.set_defaults(run=run)
    parser.add_argument("--tests", type=int, default=2000, metavar="N", help="of each kind (default: 2000)")
    parser.add_argument("--looks", type=int, default=50, metavar="N", help="at each test (default: 50)")
    parser.add_argument("--rows", type=int, default=10_000, metavar="N", help="in the end (default: 10000)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the random numbers (default: 0)")
    parser.add_argument("--save", action="store_true", help="keep the figures, and write the documentation's")


def run(options: argparse.Namespace) -> int:
    """The exit status: 1 where the judge errs more often than it says; raises BenchmarkError."""
    for name in ("tests", "looks", "rows"):
        if getattr(options, name) < 1:
            raise BenchmarkError(f"--{name} {getattr(options, name)}: give a number above 0")
    if options.rows < 10 * options.looks:
        raise BenchmarkError(f"--rows {options.rows}: give at least ten for each of --looks {options.looks}")
    figures = Simulation(options.tests, options.looks, options.rows, options.seed).measure()
    print(reporting.text(figures))
    if options.save:
        for path in reporting.LATEST.save(figures):
            print(f"wrote {path}")
    return int(not figures.holds)
