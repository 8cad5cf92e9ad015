"""The command line: measure servers, and report the results.

python -m benchmarks run [--peers] [--models iris,forest] [--servers unpickled,tutorial] ...
python -m benchmarks overload [--servers unpickled fastapi-onnx] [--times 0.5 1 10] ...
python -m benchmarks observers [--repeats 5]
python -m benchmarks batches [--rows 8000000] [--level 50000000]
python -m benchmarks soak [--minutes 10]
python -m benchmarks books [--rate 5000] [--seconds 600]
python -m benchmarks peeking [--tests 2000] [--looks 50]
python -m benchmarks report
"""

import os
import signal

if __name__ == "__main__":
    # During the imports, which could swallow a KeyboardInterrupt.
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))

import argparse
import contextlib
import importlib.util
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.batches import command as batches
from benchmarks.books import command as books
from benchmarks.errors import BenchmarkError
from benchmarks.measuring import generators, machine
from benchmarks.measuring.campaign import Campaign
from benchmarks.measuring.pipelines import RECIPES, SAMPLE_ROWS
from benchmarks.measuring.turn import Plan
from benchmarks.observers import command as observers
from benchmarks.overload import command as overload
from benchmarks.peeking import command as peeking
from benchmarks.progress import Progress
from benchmarks.reporting import batches as batches_report
from benchmarks.reporting import formats, report
from benchmarks.reporting import observers as observers_report
from benchmarks.reporting import overload as overload_report
from benchmarks.reporting import peeking as peeking_report
from benchmarks.results import Run, Server
from benchmarks.servers import warden
from benchmarks.servers.catalogue import SERVERS
from benchmarks.soak import command as soak


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status."""
    # A script starts processes in the background with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        options = _parser().parse_args(arguments)
        run: Callable[[argparse.Namespace], int] = options.run
        return run(options)
    except BenchmarkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _run(options: argparse.Namespace) -> int:
    plan = _plan(options)
    run = _document(plan, options)
    # Some servers put sockets below it, whose paths must be short.
    work = Path(tempfile.mkdtemp(prefix="b-"))
    campaign = Campaign(plan, run, work, options.results, Progress(_turns(plan)))
    # These signals end a run as Ctrl-C does: servers end, and the records are saved.
    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.default_int_handler)
    warden.guard()
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
    """Print the failures; 1 where Unpickled or a baseline has no figures, which leaves nothing to compare."""
    for failure in run.failures:
        model = f" with {failure.model}" if failure.model else ""
        print(f"no figures of {failure.server}{model} ({failure.stage}): {failure.reason}", file=sys.stderr)
    return int(any(run.servers[failure.server].group != "peer" for failure in run.failures))


def _report(options: argparse.Namespace) -> int:
    _write(options.results, options.readme)
    if _stored(options.results):
        for latest in (
            formats.LATEST,
            overload_report.LATEST,
            observers_report.LATEST,
            peeking_report.LATEST,
            batches_report.LATEST,
        ):
            for path in latest.write() if latest.is_stored() else []:
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
            "--generator out to use one that is installed"
        )
    server_core, generator_core = machine.cores(pinned=not options.unpinned)
    default = [name for name, entry in SERVERS.items() if options.peers or entry.group != "peer"]
    models = _models(options.models)
    return Plan(
        models=models,
        servers=tuple(name for name in SERVERS if name in (options.servers or default)),
        repeats=options.repeats,
        seconds=options.seconds,
        connections=options.connections,
        ladder=tuple(options.ladder),
        # The model that costs least to compute, and the one that costs most.
        headline=tuple(name for name in models if name in ("iris", "forest")) or models,
        batches=tuple(options.batches),
        generator=generator,
        server_core=server_core,
        generator_core=generator_core,
    )


def _models(named: Sequence[str] | None) -> tuple[str, ...]:
    """The models to measure: those named, or all whose libraries are installed."""
    missing = {name: recipe.library for name, recipe in RECIPES.items() if recipe.is_missing}
    for name, library in missing.items():
        if named and name in named:
            raise BenchmarkError(f"{library} is missing: pip install '.[{library}]', or leave {name} out")
        if not named:
            print(f"{name} is left out: {library} is not installed", file=sys.stderr)
    return tuple(name for name in RECIPES if name in (named or RECIPES.keys() - missing))


def _document(plan: Plan, options: argparse.Namespace) -> Run:
    names = ("models", "servers", "repeats", "seconds", "connections", "ladder", "batches", "headline")
    return Run(
        kind="all" if options.peers else "baselines",
        started=datetime.now(UTC).replace(microsecond=0),
        machine=machine.describe(plan.server_core, plan.generator_core),
        versions=machine.versions(plan.generator),
        commit=machine.commit(),
        options={name: getattr(plan, name) for name in names},
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


def _turns(plan: Plan) -> int:
    """The number of turns of all servers."""
    peers = sum(SERVERS[name].group == "peer" for name in plan.servers)
    not_peers = len(plan.servers) - peers
    return plan.repeats * (len(plan.models) * not_peers + len(plan.headline) * peers)


def _names(choices: Sequence[str]) -> Callable[[str], list[str]]:
    """The parser of a list of names."""

    def parse(text: str) -> list[str]:
        names = text.split(",")
        for name in names:
            if name not in choices:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(choices)}")
        return names

    return parse


def _numbers(text: str) -> list[int]:
    with contextlib.suppress(ValueError):
        numbers = [int(part) for part in text.split(",")]
        if min(numbers) > 0 and max(numbers) <= SAMPLE_ROWS:
            return sorted(set(numbers))
    raise argparse.ArgumentTypeError(
        f"{text!r} is not a list of whole numbers from 1 to {SAMPLE_ROWS}, such as 100,1000"
    )


def _positive(text: str) -> int:
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure servers, and report.")
    commands = parser.add_subparsers(
        required=True, metavar="run|overload|observers|batches|soak|books|peeking|report"
    )
    run = commands.add_parser("run", help="measure; takes minutes, on loopback only")
    run.set_defaults(run=_run)
    run.add_argument("--peers", action="store_true", help="other frameworks too, each installed first")
    run.add_argument("--models", type=_names(list(RECIPES)), metavar="A,B", help=f"of {','.join(RECIPES)}")
    run.add_argument("--servers", type=_names(list(SERVERS)), metavar="A,B", help=f"of {','.join(SERVERS)}")
    run.add_argument("--repeats", type=_positive, default=3, metavar="N", help="of everything (default: 3)")
    run.add_argument(
        "--seconds", type=_positive, default=2, metavar="S", help="seconds of each measurement (default: 2)"
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
        "--generator",
        choices=generators.SATURATION,
        help="for saturation (default: the first that is installed)",
    )
    run.add_argument("--unpinned", action="store_true", help="do not pin processes to cores")
    overload.declare(
        commands.add_parser(
            "overload", help="offer servers up to ten times what they can do; takes minutes, on loopback only"
        )
    )
    observers.declare(
        commands.add_parser("observers", help="the cost of range, drift, truth and payload log")
    )
    batches.declare(
        commands.add_parser("batches", help="files scored beside scikit-learn with joblib, and the memory")
    )
    soak.declare(
        commands.add_parser("soak", help="every protocol, wrong requests, reloads and kills, for minutes")
    )
    books.declare(
        commands.add_parser("books", help="a payload log under kills: each row is in a file once, or counted")
    )
    peeking.declare(
        commands.add_parser("peeking", help="simulated comparisons, looked at again and again by the judge")
    )
    summary = commands.add_parser("report", help="make tables, charts, page and README from stored results")
    summary.set_defaults(run=_report)
    summary.add_argument("--readme", type=Path, default=report.README)
    for command in (run, summary):
        command.add_argument("--results", type=Path, default=report.RESULTS, help="folder of results")
    return parser


if __name__ == "__main__":
    sys.exit(main())
