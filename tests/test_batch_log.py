"""Rows of files in the payload log: as those of requests, each once, found by the truth that is reported."""

import hashlib
import json
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from conftest import FLOWERS, PATIENCE, serving
from payloads import logged
from test_dates import ARROW, ROW, orders, stream  # noqa: F401 - a fixture

from unpickled.__main__ import main
from unpickled.server.batch.log.beginning import begun
from unpickled.server.batch.task import Part, Task
from unpickled.server.batch.worker import Worker
from unpickled.server.config import Log
from unpickled.server.observe.ids import Id

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


def job(model: Path, folder: Path, **settings: object) -> Worker:
    """A worker of the job that writes to a folder and logs beside it; a new one each time."""
    sha256 = hashlib.sha256((model / "1" / "model.onnx").read_bytes()).hexdigest()
    log = Log(log_folder=str(folder / "log"), **settings)
    task = Task(
        model=str(model), name=model.name, version=1, sha256=sha256, logged=begun(str(folder / "out"), log)
    )
    return Worker(task)


def part_of(source: Path, folder: Path, changed: str = "") -> Part:
    target, refused = folder / "out" / source.name, folder / "out" / "refused" / f"{source.name}.jsonl"
    return Part(source=str(source), target=str(target), refused=str(refused), size=1, changed=changed)


@pytest.fixture
def flowers(tmp_path):
    """A file of 5,000 flowers, one of which is refused, and another one."""
    rng = np.random.default_rng(0)
    columns = {name: rng.uniform(0.1, 7, 5000) for name in FLOWERS}
    columns["petal_width"][17] = np.nan
    for name in ("a.parquet", "b.parquet"):
        parquet.write_table(pyarrow.table(columns), tmp_path / name)
    return tmp_path / "a.parquet"


def test_rows_are_logged_as_those_of_requests(orders, tmp_path):  # noqa: F811
    """A table with dates, gaps and numbers has the same cells in the log, whichever way it came."""
    _, models = orders
    moment = datetime(2023, 10, 17, 10, 29, 13)
    table = pyarrow.table(
        {
            "ordered": pyarrow.array([moment, moment], pyarrow.timestamp("s")),
            "joined": pyarrow.array([datetime(2022, 12, 19), None], pyarrow.date32()),
            "paid": pyarrow.array([moment.replace(tzinfo=UTC)] * 2, pyarrow.timestamp("us", "UTC")),
            "weight": [0.5, 1.5],
        }
    )
    columns = {name: table.column(name).combine_chunks() for name in table.column_names}
    with serving(tmp_path, "--log-share", "1", "--log-folder", "served", models=models) as server:
        typed = urllib.request.Request(f"{server.url}/predict", stream(columns), {"Content-Type": ARROW})
        urllib.request.urlopen(typed, timeout=PATIENCE).close()
        assert server.ask("/predict", json.dumps({"instances": [ROW]}).encode())[0] == 200
    parquet.write_table(table, tmp_path / "a.parquet")
    job(models / "orders", tmp_path).score(part_of(tmp_path / "a.parquet", tmp_path))
    rows, served = logged(tmp_path / "log"), logged(tmp_path / "served")
    assert {row["_route"] for row in rows} == {"batch"}
    for row in (*rows, *served):
        del row["_time"], row["_prediction_id"], row["_route"]
    assert served[:2] == rows
    assert served[2]["ordered"] == rows[0]["ordered"]


def test_scored_rows_have_ids_that_the_log_has(models, flowers, tmp_path):
    """Each answered row has an id of its own, that of its row in the log, and a refused one has none."""
    result = job(models.path / "iris", tmp_path).score(part_of(flowers, tmp_path))
    assert (result.rows, result.refused) == (4999, 1)
    scored = parquet.read_table(tmp_path / "out" / "a.parquet").to_pydict()
    rows = logged(tmp_path / "log")
    assert scored["prediction_id"] == [row["_prediction_id"] for row in rows]
    assert scored["probabilities_setosa"] == [row["_score_setosa"] for row in rows]
    ids = [Id.read(text) for text in scored["prediction_id"]]
    assert [row["_time"] - rows[0]["_time"] for row in rows] == [each.number - ids[0].number for each in ids]
    assert [each.number - ids[0].number for each in ids] == [row for row in range(5000) if row != 17]
    assert [row["petal_length"] for row in rows][17] == parquet.read_table(flowers)["petal_length"][
        18
    ].as_py()


def test_a_part_that_is_scored_again_is_logged_once(models, flowers, tmp_path):
    """A job that goes on gives a part the ids it had, other ids to other content, and no row twice."""
    first, again = part_of(flowers, tmp_path), part_of(flowers, tmp_path, "since")
    job(models.path / "iris", tmp_path).score(first)
    before = logged(tmp_path / "log")
    job(models.path / "iris", tmp_path).score(first)
    assert logged(tmp_path / "log") == before
    job(models.path / "iris", tmp_path).score(again)
    job(models.path / "iris", tmp_path).score(part_of(flowers.with_name("b.parquet"), tmp_path))
    ids = {row["_prediction_id"] for row in logged(tmp_path / "log")}
    assert len(ids) == len(logged(tmp_path / "log")) == 2 * 4999
    assert not ids.intersection(row["_prediction_id"] for row in before)
    (tmp_path / "other").mkdir()
    job(models.path / "iris", tmp_path / "other").score(part_of(flowers, tmp_path / "other"))
    assert not ids.intersection(row["_prediction_id"] for row in logged(tmp_path / "other" / "log"))


def test_a_part_without_answers_leaves_nothing(models, flowers, tmp_path):
    """A file whose rows are all refused by now is in the log no more."""
    job(models.path / "iris", tmp_path).score(part_of(flowers, tmp_path))
    parquet.write_table(pyarrow.table({name: [float("nan")] * 3 for name in FLOWERS}), flowers)
    assert job(models.path / "iris", tmp_path).score(part_of(flowers, tmp_path, "since")).refused == 3
    assert not [*(tmp_path / "log").rglob("*.parquet*")]


def test_a_part_that_fails_is_not_logged(models, flowers, tmp_path):
    """The log has the rows of scored files alone."""
    content = flowers.read_bytes()
    flowers.write_bytes(content[:4] + bytes(2000) + content[2004:])
    with pytest.raises(Exception, match=r"a\.parquet"):
        job(models.path / "iris", tmp_path).score(part_of(flowers, tmp_path))
    assert not [*(tmp_path / "log").rglob("*.parquet*")]


def test_settings_of_the_log_hold(models, flowers, tmp_path):
    """Columns are left out and hashed as in the log of requests."""
    (tmp_path / "key").write_text("0123456789abcdef")
    settings = {"log_columns": ("sepal_length", "petal_width"), "log_hash": ("petal_width",)}
    job(models.path / "iris", tmp_path, **settings, log_key=str(tmp_path / "key")).score(
        part_of(flowers, tmp_path)
    )
    row = logged(tmp_path / "log")[0]
    assert [name for name in row if not name.startswith("_")] == ["sepal_length", "petal_width"]
    assert len(row["petal_width"]) == 32


def test_truth_finds_the_rows_of_files(models, flowers, tmp_path, capsys):
    """A server takes the truth of scored rows, and their accuracy is that of these truths."""
    job(models.path / "iris", tmp_path).score(part_of(flowers, tmp_path))
    scored = parquet.read_table(tmp_path / "out" / "a.parquet").slice(0, 100).to_pylist()
    truths = [
        {"id": row["prediction_id"], "truth": row["prediction"] if place % 4 else (row["prediction"] + 1) % 3}
        for place, row in enumerate(scored)
    ]
    flags = ("--log-share", "1", "--log-folder", str(tmp_path / "log"), "--truth-rows", "100")
    with serving(tmp_path, *flags, models=models.path) as server:
        status, outcome = server.ask("/models/iris/truth", json.dumps(truths).encode())
    assert status == 200
    assert {result["status"] for result in outcome["results"]} == {"kept"}
    words = ["accuracy", "iris", "--log", str(tmp_path / "log"), "--models", str(models.path), "--json"]
    assert main(words) in (0, 3)
    report = json.loads(capsys.readouterr().out)
    assert "4,999 rows, 100 with truth" in report["note"]
    assert report["versions"][0]["figures"]["accuracy"]["value"] == 0.75
