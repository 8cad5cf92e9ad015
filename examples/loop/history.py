"""The changes of a model, out of its history.jsonl, with the day of each."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import world

Changes = Sequence[dict[str, Any]]


def read(home: Path) -> Changes:
    """All changes of the model in this folder, the oldest first; ``day`` is that of the world."""
    changes = [json.loads(line) for line in (home / "history.jsonl").read_text().splitlines()]
    return [{"day": _day(change["at"]), **change} for change in changes]


def shadowing(changes: Changes) -> list[tuple[float, int]]:
    """The versions that were made by a retraining and shadow from then on, and when."""
    return [(change["day"], change["shadow"]["version"]) for change in changes if change["by"] == "retrain"]


def stable(changes: Changes) -> list[tuple[float, int]]:
    """The versions that answer all requests from then on, and when."""
    versions: list[tuple[float, int]] = []
    for change in changes:
        version = change.get("labels", {}).get("stable")
        if version and (not versions or versions[-1][1] != version):
            versions.append((change["day"], version))
    return versions


def _day(at: str) -> float:
    return (datetime.fromisoformat(at) - world.START) / timedelta(days=1)
