"""Run the loop: a model is served while its world changes, and cron retrains, judges and promotes.

    python run.py

It takes a few minutes: no day has to pass, as the clock of all processes is moved (clock/sitecustomize.py).
Otherwise they are those of a real service. The folder run gets models and log, what the commands print
(cron.log), and the days in numbers (days.json) and in a picture (loop.svg).
"""

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path

import cron
import history
import picture
import world
from client import Client

HERE = Path(__file__).parent
# The model that cron looks after, and the same one left alone.
NAME, ALONE = "parcels", "alone"
# The days on which requests come, and how many on each.
SERVED, MANY = range(28, 47), 700
# Seconds between two requests while a command runs, and between two looks.
PAUSE, LOOK = 0.005, 0.05


@dataclass
class Day:
    """The parcels of one day, and how many answers were right with the loop and without."""

    day: int
    rows: int = 0
    right: int = 0
    right_alone: int = 0
    versions: dict[str, int] = field(default_factory=dict)


class Loop:
    """The folder of a run, with a server, and with the commands that cron runs there."""

    def __init__(self, folder: Path, port: int) -> None:
        self._folder, self._port = folder, port
        self._clock = folder / "clock"
        others = {key: value for key, value in os.environ.items() if not key.startswith("UNPICKLED_")}
        self._environ = {
            **others,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(HERE / "clock"),
            "LOOP_CLOCK": str(self._clock),
        }
        self._jobs = cron.read(HERE / "crontab", port)
        # The truth that will be reported, by the ids of predictions.
        self._truth: dict[str, str] = {}
        self.client = Client(f"http://127.0.0.1:{port}")

    def move_clock(self, day: int, hour: int = 0, minute: int = 0) -> None:
        """Make it that time for every process."""
        moment = world.START + timedelta(days=day, hours=hour, minutes=minute)
        new = self._clock.with_suffix(".new")
        new.write_text(str(moment.timestamp() - time.time()))
        new.replace(self._clock)

    def start(self, command: list[str]) -> subprocess.Popen[bytes]:
        """Start a command, which prints into cron.log."""
        with (self._folder / "cron.log").open("a") as log:
            print(f"$ {' '.join(command)}", file=log, flush=True)
            return subprocess.Popen(command, cwd=self._folder, env=self._environ, stdout=log, stderr=log)

    def train(self) -> None:
        """Train the first version, once for each of the two models."""
        world.write_table(self._folder / "base.csv")
        for name in (NAME, ALONE):
            words = ["unpickled", "train", "--data", "base.csv", "--target", "late", "--name", name]
            if self.start(words).wait():
                raise SystemExit(f"{' '.join(words)} failed: see {self._folder / 'cron.log'}")
        shutil.copy(HERE / "serving.toml", self._folder / "models" / NAME)
        self.start(["unpickled", "models", "promote", NAME, "1"]).wait()

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Serve the models to the end of the block."""
        with (self._folder / "server.log").open("w") as log:
            command = ["unpickled", "serve", "--port", str(self._port)]
            server = subprocess.Popen(command, cwd=self._folder, env=self._environ, stdout=log, stderr=log)
        try:
            while not self._is_ready():
                if server.poll() is not None:
                    raise SystemExit(f"the server has ended: see {self._folder / 'server.log'}")
                time.sleep(LOOK)
            yield
        finally:
            server.terminate()
            server.wait()

    def live(self, day: int) -> Day:
        """Let a day pass, in as many parts as cron has jobs: half of its requests come while they run.

        At its first hour the truth of the day before is reported.
        """
        summary, yesterday = Day(day), self._truth
        self._truth = {}
        parcels, truth = world.parcels(day, MANY)
        rows = [*zip(parcels, truth, world.reported(day, truth), strict=True)]
        for part, job in enumerate(self._jobs):
            self._await_rows()
            self._await_files(day, job.hour, job.minute)
            if not part and yesterday:
                self.client.report(NAME, yesterday)
            coming = rows[part :: len(self._jobs)]
            command = self.start(job.command)
            for row in coming[::2]:
                self._ask(*row, summary)
                time.sleep(PAUSE)
            command.wait()
            self._await_server()
            for row in coming[1::2]:
                self._ask(*row, summary)
        return summary

    def changes(self) -> history.Changes:
        """Which versions answered and shadowed, from the beginning."""
        return history.read(self._folder / "models" / NAME)

    def _ask(self, parcel: world.Parcel, truth: str, reported: str, day: Day) -> None:
        """Ask both models about a parcel. The key decides whether a canary gets it: in each run the same."""
        key = f"{day.day}-{day.rows}"
        answer, prediction, version = self.client.predict(NAME, parcel, key)
        alone, _, _ = self.client.predict(ALONE, parcel, key)
        if prediction:
            self._truth[prediction] = reported
        day.rows += 1
        day.right += answer == truth
        day.right_alone += alone == truth
        day.versions[version] = day.versions.get(version, 0) + 1

    def _await_rows(self) -> None:
        """Wait until the payload log has every answer, with the date of now."""
        while self.client.logged() < self.client.answered:
            time.sleep(LOOK)

    def _await_files(self, day: int, hour: int, minute: int) -> None:
        """Make it that time, and wait until the files of the payload log are finished.

        They are when they are ten minutes old. The answers of a shadow may come into new ones meanwhile:
        while there are some, the clock goes on.
        """
        self.move_clock(day, hour, minute)
        while any(self._folder.glob("log/*/.open/*.journal")):
            time.sleep(LOOK)
            minute += 1
            self.move_clock(day, hour, minute)

    def _await_server(self) -> None:
        """Wait until the server does what the last line of the history says."""
        last = self.changes()[-1]
        while any(self.client.model(NAME)[key] != last.get(key) for key in ("traffic", "shadow")):
            time.sleep(LOOK)

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/readyz") as answer:
                return answer.status == 200
        except OSError:
            return False


def main() -> None:
    """Run the loop as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--folder", type=Path, default=Path("run"), help="a folder that is not there yet (run)"
    )
    parser.add_argument("--port", type=int, help="the port of the server (a free one)")
    options = parser.parse_args()
    options.folder.mkdir(parents=True)
    shutil.copy(HERE / "unpickled.toml", options.folder)
    port = options.port or free_port()
    loop = Loop(options.folder.absolute(), port)
    loop.move_clock(SERVED[0])
    loop.train()
    days = []
    with loop.serving():
        print(f"serving http://127.0.0.1:{port}", flush=True)
        for day in SERVED:
            days.append(loop.live(day))
            print(line(days[-1], loop.changes()), flush=True)
    write(options.folder, days, loop)
    failed, answered = len(loop.client.failures), loop.client.answered
    print(f"{failed} of {failed + answered:,} requests failed; {options.folder / 'loop.svg'} shows the days")


def free_port() -> int:
    """A port at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def line(day: Day, changes: history.Changes) -> str:
    """A day in one line."""
    made = [f"version {version} is made" for at, version in history.shadowing(changes) if int(at) == day.day]
    stable = [f"version {version} answers" for at, version in history.stable(changes) if int(at) == day.day]
    right, alone = day.right / day.rows, day.right_alone / day.rows
    return (
        f"day {day.day}: {right:.2f} right, left alone {alone:.2f}   {', '.join([*stable, *made])}".rstrip()
    )


def write(folder: Path, days: list[Day], loop: Loop) -> None:
    """Write what has happened, in numbers and as a picture."""
    document = {
        "days": [asdict(day) for day in days],
        "changes": loop.changes(),
        "answered": loop.client.answered,
        "failures": loop.client.failures,
    }
    (folder / "days.json").write_text(json.dumps(document, indent=1))
    (folder / "loop.svg").write_text(picture.draw(document["days"], document["changes"]))


if __name__ == "__main__":
    main()
