"""The crontab of the loop, and the hours at which its commands are due."""

import shlex
from pathlib import Path
from typing import NamedTuple


class Job(NamedTuple):
    """A command that is due at one time of every day."""

    hour: int
    minute: int
    command: list[str]


def read(crontab: Path, port: int) -> list[Job]:
    """The jobs of a day in their order, with the port of the server in place of 8000.

    Cron's notation is read as far as the file needs it: a minute, and hours as 6, as 6,18 or as */6.
    """
    text = crontab.read_text().replace(":8000", f":{port}")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    jobs = []
    for minute, hours, *_, command in (line.split(None, 5) for line in lines):
        due = range(0, 24, int(hours[2:])) if hours.startswith("*/") else map(int, hours.split(","))
        jobs += [Job(hour, int(minute), shlex.split(command)) for hour in due]
    return sorted(jobs)
