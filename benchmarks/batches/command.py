"""The command ``python -m benchmarks batches``: its options, and what it prints."""

import argparse

from benchmarks.batches.campaign import CASES, Campaign
from benchmarks.errors import BenchmarkError
from benchmarks.progress import Progress
from benchmarks.reporting import batches as reporting


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.set_defaults(run=run)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES), help="default: all")
    parser.add_argument("--rows", type=int, default=8_000_000, metavar="N", help="of iris (default: 8000000)")
    parser.add_argument("--files", type=int, default=8, metavar="N", help="default: 8")
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="default: 3")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="processes (default: 2)")
    parser.add_argument(
        "--level", type=int, default=50_000_000, metavar="N", help="rows for the memory; 0 leaves it out"
    )
    parser.add_argument("--level-files", type=int, default=50, metavar="N", help="default: 50")
    parser.add_argument("--save", action="store_true", help="keep the figures, and write the documentation's")


def run(options: argparse.Namespace) -> int:
    """The exit status; raises BenchmarkError."""
    for name in ("rows", "files", "repeats", "workers", "level_files"):
        if getattr(options, name) < 1:
            raise BenchmarkError(f"--{name.replace('_', '-')} is {getattr(options, name)}: give one above 0")
    campaign = Campaign(
        cases=options.cases,
        rows=options.rows,
        files=options.files,
        repeats=options.repeats,
        workers=options.workers,
        level=max(options.level, 0),
        level_files=options.level_files,
    )
    figures = campaign.measure(Progress())
    print(reporting.text(figures))
    if options.save:
        for path in reporting.LATEST.save(figures):
            print(f"wrote {path}")
    return 0
