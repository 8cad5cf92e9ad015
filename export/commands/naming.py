"""The name of a model that is given none: that of the file it is made from."""

import re
from pathlib import Path

from unpickled.export.errors import ExportError

# The endings of files with a pipeline, of tables, and of both where they are compressed.
ENDINGS = (
    *(".joblib", ".pkl", ".pickle", ".cloudpickle", ".dill", ".sav", ".jbl"),
    *(".csv", ".tsv", ".parquet", ".pq"),
    *(".gz", ".z", ".bz2", ".xz", ".lzma", ".lz4", ".zip"),
)


def model_name(path: Path) -> str:
    """A model's name made of a file's: without the endings that tell a format, as names may hold dots."""
    stem = Path(path.name)
    while stem.suffix.lower() in ENDINGS:
        stem = stem.with_suffix("")
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", stem.name).strip("-._")
    if not name:
        raise ExportError(f"No model name can be made of {str(path)!r}: give one with --name.")
    return name
