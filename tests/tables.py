"""Tables as files: a made-up one of every kind of column, and ways to write it."""

from pathlib import Path

import numpy as np
import pandas as pd

ROWS = 120


def customers() -> pd.DataFrame:
    """Numbers, text and truth values, some of them missing, and columns that hold nothing to learn."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "customer": np.arange(ROWS) + 1000,
            "age": rng.integers(18, 80, ROWS).astype(float),
            "income": rng.lognormal(10, 1, ROWS),
            "city": rng.choice(["Oslo", "Bergen", "Ålesund, sør"], ROWS),
            "member": rng.random(ROWS) < 0.5,
            "joined": [f"2024-01-{day % 28 + 1:02d}" for day in range(ROWS)],
            "email": [f"{n}@example.org" for n in range(ROWS)],
            "country": "NO",
            "notes": np.nan,
        }
    )
    frame["churned"] = np.where(frame.income < frame.income.median(), "yes", "no")
    frame.loc[3:9, "age"] = np.nan
    frame.loc[20:25, "city"] = np.nan
    return frame


def write(frame: pd.DataFrame, path: Path) -> Path:
    """Write a frame as CSV or Parquet, by the suffix of the path."""
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path)
    return path


def lines(path: Path, *rows: str) -> Path:
    """Write lines into a file."""
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path
