"""The command line: measure, and report what was measured.

python -m benchmarks run [--peers] [--models iris,forest] [--servers unpickled,tutorial] ...
python -m benchmarks report
"""

import argparse
import contextlib
import importlib.util
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.errors import BenchmarkError
from benchmarks.measuring import generators, machine
from benchmarks.measuring.campaign import Campaign
from benchmarks.measuring.pipelines import RECIPES, SAMPLE_ROWS
from benchmarks.measuring.turn import Plan
from benchmarks.reporting import formats, report
from benchmarks.results import Run, Server
from benchmarks.servers.catalogue import SERVERS


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status."""
    options = _parser().parse_args(arguments)
    try:
        run: Callable[[argparse.Namespace], int] = options.run
        return run(options)
    except BenchmarkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _run(options: argparse.Namespace) -> int:
    plan = _plan(options)
    run = _document(plan, options)
    # A short path: some servers put sockets below it.
    work = Path(tempfile.mkdtemp(prefix="b-"))
    say = _Progress(plan)
    campaign = Campaign(plan, run, work, options.results, say)
    # Ended from outside it keeps and ends as much as after Ctrl-C.
    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.default_int_handler)
    try:
        campaign.measure()
    except KeyboardInterrupt:
        print(f"\ninterrupted: what was measured is in {run.save(options.results)}", file=sys.stderr)
        return 130
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(f"measured: {options.results / run.file_name}")
    _write(options.results, report.README if _stored(options.results) else None)
    return _verdict(run)


def _verdict(run: Run) -> int:
    """1 where one of our own has no figures, for then there is nothing to compare with."""
    for failure in run.failures:
        of = f" with {failure.model}" if failure.model else ""
        print(f"no figures of {failure.server}{of} ({failure.stage}): {failure.reason}", file=sys.stderr)
    return int(any(run.servers[failure.server].group != "peer" for failure in run.failures))


def _report(options: argparse.Namespace) -> int:
    _write(options.results, options.readme)
    if _stored(options.results):
        for path in formats.write():
            print(f"wrote {path}")
    return 0


def _stored(results: Path) -> bool:
    """Whether a folder is that of the stored results, the only ones that README shows."""
    return results.resolve() == report.RESULTS.resolve()


def _write(results: Path, readme: Path | None) -> None:
    for path in report.write(results, readme):
        print(f"wrote {path}")


def _plan(options: argparse.Namespace) -> Plan:
    if not importlib.util.find_spec("locust"):
        raise BenchmarkError("locust is missing: pip install '.[export,server,benchmarks]'")
    generator = options.generator or generators.saturating()
    if generator != "locust" and not shutil.which(generator):
        raise BenchmarkError(
            f"{generator} is missing: install it (Debian: wrk, or nghttp2-client for h2load), or leave "
            "--generator out to use what there is"
        )
    server_core, generator_core = machine.cores(pinned=not options.unpinned)
    default = [name for name, entry in SERVERS.items() if options.peers or entry.group != "peer"]
    models = tuple(name for name in RECIPES if name in (options.models or RECIPES))
    return Plan(
        models=models,
        servers=tuple(name for name in SERVERS if name in (options.servers or default)),
        repeats=options.repeats,
        seconds=options.seconds,
        connections=options.connections,
        ladder=tuple(options.ladder),
        # The one that costs least to compute, and the one that costs most.
        headline=tuple(name for name in models if name in ("iris", "forest")) or models,
        batches=tuple(options.batches),
        generator=generator,
        server_core=server_core,
        generator_core=generator_core,
    )


def _document(plan: Plan, options: argparse.Namespace) -> Run:
    shown = ("models", "servers", "repeats", "seconds", "connections", "ladder", "batches", "headline")
    return Run(
        kind="all" if options.peers else "baselines",
        started=datetime.now(UTC).replace(microsecond=0),
        machine=machine.describe(plan.server_core, plan.generator_core),
        versions=machine.versions(plan.generator),
        commit=machine.commit(),
        options={name: getattr(plan, name) for name in shown},
        generators={"saturation": plan.generator, "latency": "locust"},
        servers={
            name: Server(
                title=SERVERS[name].title,
                group=SERVERS[name].group,
                artifact=SERVERS[name].artifact,
                note=SERVERS[name].note,
            )
            for name in plan.servers
        },
    )


class _Progress:
    """Says on stderr what is going on, since when, and about how much is left."""

    def __init__(self, plan: Plan) -> None:
        self._started = time.monotonic()
        peers = sum(SERVERS[name].group == "peer" for name in plan.servers)
        others = len(plan.servers) - peers
        self._total = plan.repeats * (len(plan.models) * others + len(plan.headline) * peers)
        self._done = 0

    def __call__(self, sentence: str, turn: bool = False) -> None:
        self._done += turn
        passed = time.monotonic() - self._started
        left = f", {passed / self._done * (self._total - self._done) / 60:.0f} min left" if self._done else ""
        print(f"[{passed / 60:4.1f} min{left}] {sentence}", file=sys.stderr, flush=True)


def _names(known: Sequence[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        names = text.split(",")
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
        return names

    return parse


def _numbers(text: str) -> list[int]:
    with contextlib.suppress(ValueError):
        numbers = [int(part) for part in text.split(",")]
        if min(numbers) > 0 and max(numbers) <= SAMPLE_ROWS:
            return sorted(set(numbers))
    raise argparse.ArgumentTypeError(
        f"{text!r} is no list of whole numbers from 1 to {SAMPLE_ROWS}, such as 100,1000"
    )


def _positive(text: str) -> int:
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure servers, and report.")
    commands = parser.add_subparsers(required=True, metavar="run|report")
    run = commands.add_parser("run", help="measure; takes minutes, on loopback only")
    run.set_defaults(run=_run)
    run.add_argument("--peers", action="store_true", help="other frameworks too, each installed first")
    run.add_argument("--models", type=_names(list(RECIPES)), metavar="A,B", help=f"of {','.join(RECIPES)}")
    run.add_argument("--servers", type=_names(list(SERVERS)), metavar="A,B", help=f"of {','.join(SERVERS)}")
    run.add_argument("--repeats", type=_positive, default=3, metavar="N", help="of everything (default: 3)")
    run.add_argument(
        "--seconds", type=_positive, default=2, metavar="S", help="of each measurement (default: 2)"
    )
    run.add_argument("--connections", type=_positive, default=32, metavar="N", help="default: 32")
    run.add_argument(
        "--ladder",
        type=_numbers,
        default=[100, 300, 1000, 2000, 3000],
        metavar="A,B",
        help="arrival rates in requests/s (default: 100,300,1000,2000,3000)",
    )
    run.add_argument(
        "--batches",
        type=_numbers,
        default=[1, 10, 100, 1000, 10_000],
        metavar="A,B",
        help="rows in a request (default: 1,10,100,1000,10000)",
    )
    run.add_argument(
        "--generator", choices=generators.SATURATION, help="of saturation (default: what there is)"
    )
    run.add_argument("--unpinned", action="store_true", help="do not pin processes to cores")
    shown = commands.add_parser("report", help="tables, charts, HTML page and README from what is stored")
    shown.set_defaults(run=_report)
    shown.add_argument("--readme", type=Path, default=report.README)
    for command in (run, shown):
        command.add_argument("--results", type=Path, default=report.RESULTS, help="folder of results")
    return parser


if __name__ == "__main__":
    sys.exit(main())
