"""The model under load: its features, rows for it and, from a sample, scikit-learn's answers."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.errors import BenchmarkError
from benchmarks.traffic.checks import Expected
from benchmarks.traffic.rows import draw

ROWS = 4096


@dataclass(frozen=True)
class Subject:
    """A model. ``classes``: None where they are unknown or none. ``expected``: None without a sample."""

    names: list[str]
    classes: list[Any] | None
    rows: Sequence[Sequence[Any]]
    expected: Expected | None = None

    def batch(self, start: int, size: int) -> list[Sequence[Any]]:
        """``size`` rows from ``start`` on; after the last row comes the first."""
        return [self.rows[index % len(self.rows)] for index in range(start, start + size)]

    def answers(self, start: int, size: int) -> Expected | None:
        """scikit-learn's answers to the same rows."""
        if self.expected is None:
            return None
        indices = [index % len(self.rows) for index in range(start, start + size)]
        labels, probabilities = self.expected.labels, self.expected.probabilities
        return Expected([labels[i] for i in indices], [probabilities[i] for i in indices if probabilities])


def sampled(path: Path) -> Subject:
    """The model of a sample; raises BenchmarkError."""
    document = _read(path, "--sample")
    try:
        rows = document["rows"]
        expected = Expected(document["labels"], document["probabilities"])
        subject = Subject(list(document["features"]), list(document["classes"]), rows, expected)
        answered = {len(expected.labels), len(expected.probabilities or expected.labels)}
        sound = rows and answered == {len(rows)}
    except (KeyError, TypeError):
        sound = False
    if not sound:
        raise BenchmarkError(
            f"--sample {path} is not a sample: it needs features, classes, rows, labels and probabilities"
        )
    return subject


def saved(path: Path, model: str) -> Subject:
    """Rows drawn from a saved answer of GET /models; raises BenchmarkError."""
    return published(_read(path, "--features"), model, f"--features {path}")


def published(document: Any, model: str, place: str) -> Subject:
    """Rows drawn from an answer of GET /models, or of GET /models/NAME; raises BenchmarkError."""
    manifest = _manifest(document, model, place)
    try:
        features = manifest["features"]
        rows = draw(features, ROWS)
        # A classifier with scores only has no probabilities to compare the labels with.
        return Subject([feature["name"] for feature in features], manifest.get("classes"), rows)
    except (KeyError, TypeError, AttributeError):
        raise BenchmarkError(f"{place} does not say which features the model takes") from None


def _manifest(document: Any, model: str, place: str) -> Any:
    try:
        models = {entry["name"]: entry for entry in document.get("models", [document])}
    except (KeyError, TypeError, AttributeError):
        raise BenchmarkError(f"{place} lists no models: give --sample or --features instead") from None
    names = ", ".join(models) or "no model"
    if not model and len(models) != 1:
        raise BenchmarkError(f"{place} lists {names}: name one with --model")
    if model and model not in models:
        raise BenchmarkError(f"{place} lists {names}, but not {model!r}")
    return models[model or next(iter(models))].get("manifest", {})


def _read(path: Path, option: str) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not JSON"
        raise BenchmarkError(f"{option} {path} cannot be read: {reason}") from None
