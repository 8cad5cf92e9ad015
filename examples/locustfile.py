"""Load on a server that serves customers.csv's model: each user sends one row after the other.

locust -f locustfile.py --host http://127.0.0.1:8000

For made-up rows of any model, exact times below a millisecond and answers that are checked against the
model's own, see benchmarks/locustfile.py.
"""

import csv
import random
from pathlib import Path

from locust import FastHttpUser, task

NUMBERS = ("age", "months", "support_calls", "monthly_spend")


def customers() -> list[dict[str, object]]:
    """The rows of the table as the model takes them; an empty cell is a missing value."""
    with (Path(__file__).parent / "customers.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [
        {"plan": row["plan"], **{name: float(row[name]) if row[name] else None for name in NUMBERS}}
        for row in rows
    ]


class Customer(FastHttpUser):
    """A client that keeps its connection and waits for nothing but the answer."""

    rows = customers()

    @task
    def predict(self) -> None:
        """One row, by name. An answer that names no class is a failure."""
        with self.rest("POST", "/predict", json=random.choice(self.rows)) as response:
            if response.js is None or response.js["predicted_class"] not in ("no", "yes"):
                response.failure("no class was predicted")
