"""The job that scikit-learn is given: each file by one of several processes, as joblib hands them out.

    python -m benchmarks.batches.joblib_job <pickle> <files> <out> <processes>

A process loads the pipeline once, reads a file with pandas, and writes label and probabilities.
"""

import functools
import pickle
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


@functools.cache
def _pipeline(path: Path) -> Any:
    return pickle.loads(path.read_bytes())


def score(path: Path, source: Path, out: Path) -> None:
    """Score one file."""
    import pandas as pd

    pipeline = _pipeline(path)
    table = pd.read_parquet(source)
    # By values: the pipeline was fitted to arrays, and warns about names.
    probabilities = pipeline.predict_proba(table.to_numpy())
    answers = pd.DataFrame({"prediction": pipeline.classes_[probabilities.argmax(axis=1)]})
    for place, name in enumerate(pipeline.classes_):
        answers[f"probabilities_{name}"] = probabilities[:, place]
    answers.to_parquet(out / source.name, compression="zstd", index=False)


def main(arguments: Sequence[str]) -> None:
    """Score all files."""
    from joblib import Parallel, delayed

    # By its name, which the processes import: this module is the program here.
    from benchmarks.batches.joblib_job import score

    path, sources, out = map(Path, arguments[:3])
    out.mkdir(parents=True, exist_ok=True)
    tasks = [delayed(score)(path, source, out) for source in sorted(sources.glob("*.parquet"))]
    Parallel(n_jobs=int(arguments[3]))(tasks)


if __name__ == "__main__":
    main(sys.argv[1:])
