"""A shop whose customers change: a base table, a champion, a payload log over some days, and its truth."""

import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from lots import cells

from unpickled.__main__ import main
from unpickled.export.retraining.champion import Champion
from unpickled.server.artifact.manifest import FILE
from unpickled.server.config import Config, Log
from unpickled.server.lifecycle.versions import Served
from unpickled.server.payloads import parts
from unpickled.server.payloads.schema import schema_of
from unpickled.server.service import Service
from unpickled.server.truth.store import Kept, Store

DAY = 86_400.0


def customers(count: int, seed: int, turned: bool = False) -> pd.DataFrame:
    """Rows and whether each buys: by their age, or once the shop has turned, by their income."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"age": rng.normal(40, 10, count), "income": rng.normal(50, 10, count)})
    table["city"] = rng.choice(["Bonn", "Ulm", "Trier"], count)
    decisive = (table["income"] - 50) / 10 if turned else (table["age"] - 40) / 10
    table["buys"] = np.where(rng.random(count) < 1 / (1 + np.exp(-3 * decisive)), "yes", "no")
    return table.round(3)


class Shop:
    """A folder with the models, the base table and the log of one model, "shop"."""

    def __init__(self, folder: Path, *options: str, base: pd.DataFrame | None = None) -> None:
        self.folder, self.models, self.log = folder, folder / "models", folder / "log"
        self.base = folder / "base.csv"
        self.home = self.models / "shop"
        self._base = customers(300, 0) if base is None else base
        self._target = self._base.columns[-1]
        self._options = options
        self._number = 0

    def like(self, folder: Path) -> "Shop":
        """Another shop with the same champion and the same base table, and without a log."""
        shop = Shop(folder)
        shutil.copy(self.base, shop.base)
        shutil.copytree(self.home / "1", shop.home / "1")
        return shop

    def train(self) -> "Shop":
        """The champion, version 1."""
        self.write_base()
        words = ["--data", self.base, "--target", self._target, "--models", self.models, "--name", "shop"]
        assert main(["train", *map(str, words), *self._options]) == 0
        return self

    def write_base(self) -> None:
        """Write the base table."""
        self._base.to_csv(self.base, index=False)

    @property
    def champion(self) -> Champion:
        """Version 1, loaded."""
        return Champion(1, self.home, self._served.model)

    @property
    def _served(self) -> Served:
        return Service(Config(models=str(self.models))).repository.find("shop", "1")

    def predict(
        self, table: pd.DataFrame, days_ago: float, settings: Log | None = None, key: bytes | None = None
    ) -> list[str]:
        """Log the answers to rows, predicted on one day, some a second; the ids of the rows."""
        served = self._served
        names = list(served.model.signature.names)
        rows = [tuple(row) for row in table[names].itertuples(index=False)]
        labels, scores = served.model.run(served.model.signature.feeds(rows))
        schema, moment = schema_of(served, settings or Log(), key), time.time() - days_ago * DAY
        written = []
        for place, (row, label, score) in enumerate(zip(rows, labels.tolist(), scores.tolist(), strict=True)):
            number = self._number + place
            written += cells(
                schema, [row], [label], [score], number=number, time=moment + place / 50, key=key
            )
        parts.write(self.log, schema, written, f"part-{self._number}")
        ids = [f"abcdefgh-0-{self._number + place}" for place in range(len(rows))]
        self._number += len(rows)
        return ids

    def report(self, ids: list[str], truths: Any, days_ago: float) -> None:
        """Report the truth of rows on a day."""
        received = datetime.fromtimestamp(time.time() - days_ago * DAY, UTC).isoformat()
        lines = [Kept(identity, truth, "", received) for identity, truth in zip(ids, truths, strict=True)]
        Store(str(self.log), f"site-{len(ids)}-{days_ago}", 10**9).add("shop", lines)

    def live(self, count: int, days_ago: float, turned: bool = False, flipped: bool = False) -> list[str]:
        """A day of customers, predicted and known; their ids."""
        table = customers(count, seed=1_000 + self._number, turned=turned)
        ids = self.predict(table, days_ago)
        truths = table["buys"].map({"yes": "no", "no": "yes"}) if flipped else table["buys"]
        self.report(ids, truths, days_ago)
        return ids

    def retrain(self, *words: str) -> int:
        """The exit status of the command, with this base table."""
        return self.repeat("--data", str(self.base), *words)

    def repeat(self, *words: str) -> int:
        """The exit status of the command, with the base table of the recipe."""
        return main([*self.command, *words])

    @property
    def command(self) -> list[str]:
        """The words of the command."""
        return ["retrain", "shop", "--log", str(self.log), "--models", str(self.models)]

    def versions(self) -> list[int]:
        """The numbers of the versions on disk."""
        return sorted(int(path.parent.name) for path in self.home.glob(f"*/{FILE}"))
