"""Parts of batch jobs: the answers of POST /predict to the last bit, in every form; refused rows."""

import csv
import gzip
import hashlib
import io
import json
import re
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from conftest import PERSON, generated
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from unpickled.export import export_pipeline
from unpickled.export.data import dataset
from unpickled.export.data.columns import Choices
from unpickled.export.train import train
from unpickled.server import Config, create_app
from unpickled.server.batch.forms import columnar
from unpickled.server.batch.places.registry import place_of
from unpickled.server.batch.task import Part, Task
from unpickled.server.batch.worker import Worker
from unpickled.server.errors import ServingError
from unpickled.server.model.policy import Policy
from unpickled.server.scoring.scorer import Scorer

IDS = [f"n-{row}" for row in range(100)]
FLOWERS = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
HEADER = ",".join(FLOWERS)
# Words that are for clients of a server.
OF_HTTP = re.compile("body|request|Content-|curl|send")


@pytest.fixture(scope="module")
def orders(tmp_path_factory):
    """A folder with a model of dates, truth values, decimal commas and gaps, and its table."""
    folder = tmp_path_factory.mktemp("orders")
    rows = range(90)
    frame = pd.DataFrame(
        {
            "when": [f"{row % 28 + 1:02d}.{row % 12 + 1:02d}.202{row % 4}" for row in rows],
            "paid": ["true" if row % 3 else "false" for row in rows],
            "weight": ["" if row % 9 == 0 else f"{row % 7},{row % 10}" for row in rows],
            "city": ["Bonn" if row % 5 else "Köln" for row in rows],
            "late": ["yes" if row % 4 == 0 else "no" for row in rows],
        }
    )
    frame.to_csv(folder / "orders.csv", index=False, sep=";")
    table = dataset.read(folder / "orders.csv", "late", Choices(expand=True))
    fitted = train(table, "standard", "forest")
    export_pipeline(
        fitted.pipeline, fitted.train, name="orders", models=folder / "models", held_out=fitted.held_out,
        training=fitted.training, readings=table.readings,
    )  # fmt: skip
    return folder, frame.drop(columns="late")


def task(models, name, **options):
    data = (models / name / "1" / "model.onnx").read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    return Task(model=str(models / name), name=name, version=1, sha256=sha256, **options)


def part(folder, name, target=None):
    source, target = folder / name, folder / "scored" / (target or name)
    return Part(source=str(source), target=str(target), refused=str(folder / "refused.jsonl"), size=0)


def refusals(folder):
    return [json.loads(line) for line in (folder / "refused.jsonl").read_text().splitlines()]


def written(folder, table, records, arrow):
    """The same rows in every form, each with a column that is no feature; the names of the files."""
    header, *lines = table.splitlines()
    separator = ";" if ";" in header else ","
    lines = [f"{line}{separator}{IDS[row]}" for row, line in enumerate(lines)]
    (folder / "rows.csv").write_text("\n".join([f"{header}{separator}id", *lines]), "utf-8-sig")
    (folder / "packed.csv.gz").write_bytes(gzip.compress((folder / "rows.csv").read_bytes()))
    named = [record | {"id": name} for record, name in zip(records, IDS, strict=False)]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, named)), "utf-8")
    (folder / "arrays.jsonl").write_text("\n".join(json.dumps([*row.values()]) for row in records), "utf-8")
    parquet.write_table(
        arrow.append_column("id", [IDS[: len(records)]]), folder / "rows.parquet", row_group_size=7
    )
    return ["rows.csv", "packed.csv.gz", "rows.jsonl", "arrays.jsonl", "rows.parquet"]


def compare(client, worker, name, folder, files, table, records):
    """Every form is answered as the two forms of a request are, to the last bit."""
    path = f"/models/{name}/predict"
    asked = client.post(path, json={"instances": records}).json["predictions"]
    expected = np.array([[*row["probabilities"].values()] for row in asked])
    answer = client.post(path, data=table.encode(), content_type="text/csv").text
    cells = list(csv.DictReader(io.StringIO(answer), delimiter=";" if ";" in answer.split("\n")[0] else ","))
    for file in files:
        result = worker.score(part(folder, file, f"{file}.parquet"))
        scored = parquet.read_table(folder / "scored" / f"{file}.parquet")
        assert (result.rows, result.refused) == (len(records), 0), file
        assert scored["predicted_class"].to_pylist() == [row["predicted_class"] for row in asked]
        assert file == "arrays.jsonl" or scored["id"].to_pylist() == IDS[: len(records)]
        numbers = [name for name in scored.column_names if name.startswith("probabilities_")]
        assert np.array_equal(np.stack([scored[name] for name in numbers], axis=1), expected), file
        assert [[float(row[name]) for name in numbers] for row in cells] == expected.tolist()


def test_every_form_is_answered_as_a_request_is(models, client, tmp_path):
    """Numbers and categories with gaps: CSV, JSON Lines, Parquet and requests have the same answers."""
    frame = models.rows["people"][:60].astype({"city": "category"})
    records = json.loads(models.rows["people"][:60].to_json(orient="records"))
    table = frame.to_csv(index=False)
    files = written(tmp_path, table, records, pa.Table.from_pandas(frame))
    compare(client, Worker(task(models.path, "people")), "people", tmp_path, files, table, records)


def test_dates_truth_values_and_decimal_commas(orders, tmp_path):
    """Cells in the notation of the training table, and the same as JSON and Parquet have it."""
    folder, frame = orders
    gaps = [None if cell == "" else float(cell.replace(",", ".")) for cell in frame.weight]
    plain = frame.assign(paid=frame.paid == "true").astype(object).assign(weight=gaps)
    records = [
        dict(zip(frame, row, strict=True)) for row in zip(*(plain[name] for name in frame), strict=True)
    ]
    records = [row | {"weight": gap} for row, gap in zip(records, gaps, strict=True)]
    client = create_app(Config(models=str(folder / "models"))).test_client()
    table = frame.to_csv(index=False, sep=";")
    files = written(tmp_path, table, records, pa.Table.from_pylist(records))
    compare(client, Worker(task(folder / "models", "orders")), "orders", tmp_path, files, table, records)


def test_refused_rows_leave_the_others_answered(models, tmp_path):
    """Lines of CSV: a wrong cell, another number of cells and a blank line; each has its number and line."""
    rows = ["id,note,petal_width,petal_length,sepal_width,sepal_length", "1,a,0.2,1.4,3.5,5.1"]
    rows += ['2,"b\nc",0.2,1.4,3.5,tall', "3,d,0.2", "", '4,"e,f",0.2,1.4,3.5,5.1', "", ""]
    (tmp_path / "rows.csv").write_text("\n".join(rows))
    result = Worker(task(models.path, "iris"), threads=2).score(part(tmp_path, "rows.csv"))
    assert (result.rows, result.refused) == (2, 3)
    scored = list(csv.reader((tmp_path / "scored" / "rows.csv").read_text().splitlines()))
    assert [row[:3] for row in scored[1:]] == [["1", "a", "0"], ["4", "e,f", "0"]]
    assert [(each["row"], each["line"]) for each in refusals(tmp_path)] == [(1, 3), (2, 5), (3, 6)]
    assert refusals(tmp_path)[0]["values"]["note"] == "b\nc"
    assert refusals(tmp_path)[0]["error"].startswith("feature 'sepal_length' of row 1 is text ('tall')")


def test_wrong_lines_of_json(models, tmp_path):
    """Each line is read as a request is: duplicates, unknown forms and missing features are refused."""
    flower = dict(zip(FLOWERS, (5.1, 3.5, 1.4, 0.2), strict=True))
    good = json.dumps(flower | {"big": 123456789012345678901})
    wrong = [good.replace("big", "petal_width"), '{"sepal_length": 5.1}', "nonsense", "7", "[1, 2]"]
    wrong += [good.replace("0.2", "NaN"), good.replace("5.1", "true"), good.replace("5.1", "1e999")]
    (tmp_path / "rows.jsonl").write_text("\n".join([good, "", *wrong, "[5.1, 3.5, 1.4, 0.2]", good]))
    result = Worker(task(models.path, "iris", append=True)).score(part(tmp_path, "rows.jsonl"))
    lines = (tmp_path / "scored" / "rows.jsonl").read_text().splitlines()
    assert (result.rows, len(lines), result.refused) == (3, 3, len(wrong))
    assert (
        json.loads(lines[0]) | {"prediction": 0}
        == json.loads(lines[2])
        == json.loads(lines[1]) | json.loads(lines[0])
    )
    assert json.loads(lines[0])["big"] == 123456789012345678901
    assert [each["line"] for each in refusals(tmp_path)] == [*range(3, 3 + len(wrong))]


def test_minus_zero_and_whole_numbers_are_doubles(models, tmp_path):
    """Whole numbers, exponents and minus zero in JSON are the doubles that a request has."""
    rows = [{"sepal_length": value, **dict.fromkeys(FLOWERS[1:], 1)} for value in (5, 5.0, 5e0)]
    text = "\n".join([*map(json.dumps, rows), json.dumps(rows[0]).replace("5", "-0 "), json.dumps(rows[0])])
    (tmp_path / "rows.jsonl").write_text(text)
    Worker(task(models.path, "iris")).score(part(tmp_path, "rows.jsonl", "rows.parquet"))
    numbers = parquet.read_table(tmp_path / "scored" / "rows.parquet")["probabilities_setosa"].to_pylist()
    assert len({numbers[place] for place in (0, 1, 2, 4)}) == 1


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize(
    ("options", "kept"),
    [({}, ["id", "note"]), ({"append": True}, ["id", *FLOWERS, "note"]), ({"only": ("note",)}, ["note"])],
    ids=["others", "append", "only"],
)
def test_columns_are_passed_through(models, tmp_path, form, options, kept):
    """Other columns, all columns or some stand before the answers, whose names may have a prefix."""
    row = {"id": [1], **{name: [value] for name, value in zip(FLOWERS, (5.1, 3.5, 1.4, 0.2), strict=True)}}
    parquet.write_table(pa.table(row | {"note": ["a, b"]}), tmp_path / "rows.parquet")
    worker = Worker(task(models.path, "iris", prefix="new_", **options))
    worker.score(part(tmp_path, "rows.parquet", f"rows.{form}"))
    text = (tmp_path / "scored" / f"rows.{form}").read_bytes()
    if form == "parquet":
        names = parquet.read_schema(io.BytesIO(text)).names
    else:
        names = list(json.loads(text)) if form == "jsonl" else next(csv.reader(io.StringIO(text.decode())))
    assert names[: len(kept)] == kept
    assert names[len(kept) :][:2] == ["new_prediction", "new_predicted_class"]


def test_parquet_keeps_types_and_metadata(models, tmp_path):
    """Columns that are passed through keep their types and metadata, even if no row is answered."""
    schema = pa.schema(
        [("at", pa.timestamp("us", "UTC")), ("kind", pa.dictionary(pa.int8(), pa.string())),
         ("tags", pa.list_(pa.int16())), *((name, pa.float32()) for name in FLOWERS)],
        metadata={"owner": "us"},
    )  # fmt: skip
    rows = [{"at": 1, "kind": "a", "tags": [1], **dict.fromkeys(FLOWERS, value)} for value in (1.0, None)]
    parquet.write_table(pa.Table.from_pylist(rows[1:], schema=schema), tmp_path / "none.parquet")
    parquet.write_table(pa.Table.from_pylist(rows, schema=schema), tmp_path / "rows.parquet")
    worker = Worker(task(models.path, "iris"))
    for name, count in (("rows.parquet", 1), ("none.parquet", 0)):
        assert worker.score(part(tmp_path, name)).rows == count
        scored = parquet.read_table(tmp_path / "scored" / name)
        assert scored.schema.types[:3] == schema.types[:3]
        assert (scored.schema.metadata[b"owner"], len(scored)) == (b"us", count)
    assert (
        parquet.ParquetFile(tmp_path / "scored" / "rows.parquet").metadata.row_group(0).column(0).compression
        == "ZSTD"
    )


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("rows.csv", "a,b\n1,2\n", "line 1: features 'sepal_length'"),
        ("rows.csv", "5.1,3.5,1.4,0.2\n", "; its first line is the header, whose cells are separated by"),
        ("rows.csv", "", ": it is empty: begin it with a header row"),
        ("rows.csv", "\n1,2", ": it is blank in its first line: begin it with a header row"),
        ("rows.csv", '{"id": 1}\n', "; rows in JSON are read from a file whose name ends with .jsonl"),
        ("rows.csv", 'id,"a\n1,2', "line 2: it is not CSV: unexpected end of data"),
        ("rows.csv", f'{HEADER}\n1,1,1,1\n1,"a"b,1,1\n', "line 3 is not CSV: "),
        ("rows.csv", f"{HEADER},5.1,3.5,1.4,0.2", ": put each row on a line of its own"),
        ("rows.csv", b"\x1f\x8b\x08", ": it is compressed: the name of such a file ends with .csv.gz"),
        ("rows.csv", b"\xff", ": it is not UTF-8: save it as UTF-8"),
        ("rows.parquet", "no Parquet", "rows.parquet: "),
        ("rows.parquet", "", "rows.parquet: "),
        ("rows.arrows", "no stream", "rows.arrows: "),
        ("rows.jsonl.gz", "no gzip", "rows.jsonl.gz: "),
    ],
)
def test_a_file_that_cannot_be_read_leaves_nothing(models, tmp_path, name, content, sentence):
    """The error names the file and the reason; neither a target nor a file that is half written is left."""
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ServingError, match=name) as caught:
        Worker(task(models.path, "iris")).score(part(tmp_path, name))
    assert sentence in str(caught.value)
    assert not OF_HTTP.search(str(caught.value))
    assert not list((tmp_path / "scored").iterdir())


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (b"tall", "row 1 is not JSON: Expecting value at column 1"),
        (b'{"id": 1', "row 1 is not JSON: Expecting ',' delimiter at column 9"),
        (b'{"id": "\xff"}', "row 1 is not JSON: byte 8 is not UTF-8"),
        (b"\x1f\x8b", "row 1 is not JSON: it is compressed: the name of such a file ends with .jsonl.gz"),
        (b"[" * 9999, "row 1 is not JSON: it is nested too deep"),
        (b"[" + b"[]," * 1_000_000 + b"1]", "row 1 holds more than 1000000 arrays and objects: split it"),
        (b"5", "row 1 is neither an object nor an array"),
    ],
    ids=range(7),
)
def test_a_line_that_cannot_be_read(models, tmp_path, line, sentence):
    """Its reason names the row and the place in it, in words for a file; the rows around it are answered."""
    good = b"[5.1, 3.5, 1.4, 0.2]"
    (tmp_path / "rows.jsonl").write_bytes(b"\n".join((good, line, good)))
    assert Worker(task(models.path, "iris")).score(part(tmp_path, "rows.jsonl")).rows == 2
    [refused] = refusals(tmp_path)
    assert (refused["error"], refused["row"], refused["line"]) == (sentence, 1, 2)


def test_names_that_clash(models, tmp_path):
    """A column with the name of an answer's is refused before anything is written, with a remedy."""
    (tmp_path / "rows.csv").write_text(f"{','.join(FLOWERS)},prediction\n5.1,3.5,1.4,0.2,7\n")
    with pytest.raises(ServingError, match=r"'prediction' has the name of an answer's column.*--prefix"):
        Worker(task(models.path, "iris")).score(part(tmp_path, "rows.csv"))
    assert Worker(task(models.path, "iris", prefix="new_")).score(part(tmp_path, "rows.csv")).rows == 1


def test_the_policy_of_the_model_is_kept(models, tmp_path):
    """Values outside the training range are counted, or their rows refused, as the policy says."""
    (tmp_path / "rows.csv").write_text(f"{','.join(FLOWERS)}\n5.1,3.5,1.4,0.2\n500,3.5,1.4,0.2\n")
    result = Worker(task(models.path, "iris")).score(part(tmp_path, "rows.csv"))
    assert (result.rows, result.outside, result.features) == (2, 1, ("sepal_length",))
    refusing = Worker(task(models.path, "iris", policy=Policy(outside="refuse")))
    assert refusing.score(part(tmp_path, "rows.csv")).refused == 1
    assert refusals(tmp_path)[0]["code"] == "outside_training"


def test_another_file_of_the_model_is_refused(models, tmp_path):
    """A worker that finds another content than the job began with does not score."""
    wrong = Task(model=str(models.path / "iris"), name="iris", version=1, sha256="0" * 64)
    with pytest.raises(ServingError, match="is not the file of version 1 of iris that the job began with"):
        Worker(wrong)


def test_files_appear_whole(tmp_path):
    """A file is not there while it is written, nor after an error, and an earlier one stays."""
    path = str(tmp_path / "folder" / "a.csv")
    place = place_of(path)
    with place.write(path) as file:
        file.write(b"first")
        assert place.read(path) is None
    with pytest.raises(TypeError), place.write(path) as file:
        file.write("no bytes")
    assert place.read(path) == b"first"
    assert [entry.name for entry in place.list(str(tmp_path))] == ["folder/a.csv"]


@pytest.mark.parametrize("name", ["rows.csv", "packed.csv.gz", "rows.jsonl", "rows.parquet"])
def test_a_file_that_grows_while_it_is_read_leaves_nothing(models, tmp_path, name):
    """The last row that was read may be half of one: the part fails, and is scored once the file is whole."""
    flowers = pd.DataFrame([[5.1, 3.5, 1.4, 0.2]] * 9, columns=FLOWERS)
    written(tmp_path, flowers.to_csv(index=False), flowers.to_dict("records"), pa.Table.from_pandas(flowers))
    path, worker = tmp_path / name, Worker(task(models.path, "iris"))
    whole = path.read_bytes()
    with pytest.raises(ServingError, match=f"{name}: it was written to while it was read"):
        worker.score(part(tmp_path, name), lambda _: path.write_bytes(whole + b"\n"))
    assert not [*(tmp_path / "scored").glob("*")]
    path.write_bytes(whole)
    assert worker.score(part(tmp_path, name)).rows == 9


def test_long_tables_are_read_in_pieces(models, tmp_path):
    """More rows than are read at once: numbers of rows and lines go on, in each form."""
    lines = [f"{row},{'x' if row == 30_000 else 5.1},3.5,1.4,0.2" for row in range(40_000)]
    (tmp_path / "rows.csv").write_text("\n".join([f"id,{','.join(FLOWERS)}", *lines]))
    frame = pd.DataFrame({"id": range(140_000), **dict.fromkeys(FLOWERS, 1.0)})
    frame.loc[130_000, "sepal_width"] = np.nan
    frame.to_parquet(tmp_path / "rows.parquet", index=False)
    told = []
    worker = Worker(task(models.path, "iris"), threads=2)
    assert worker.score(part(tmp_path, "rows.csv"), told.append).rows == 39_999
    assert (refusals(tmp_path)[0]["row"], refusals(tmp_path)[0]["line"]) == (30_000, 30_002)
    assert worker.score(part(tmp_path, "rows.parquet"), told.append).rows == 139_999
    assert refusals(tmp_path)[0]["row"] == 130_000
    assert sum(told) == 180_000
    scored = parquet.read_table(tmp_path / "scored" / "rows.parquet")["id"]
    assert scored.to_pylist() == [row for row in range(140_000) if row != 130_000]


def test_text_that_is_not_utf8(models, tmp_path):
    """A table in another encoding is refused with what to do, wherever its first such letter is."""
    rows = [f"id,{','.join(FLOWERS)}", *["1,5.1,3.5,1.4,0.2"] * 20_000, "Köln,5.1,3.5,1.4,0.2"]
    (tmp_path / "rows.csv").write_text("\n".join(rows), "latin-1")
    (tmp_path / "head.csv").write_text(rows[0].replace("id", "Größe"), "latin-1")
    worker = Worker(task(models.path, "iris"))
    with pytest.raises(ServingError, match=r"head\.csv: it is not UTF-8: save it as UTF-8"):
        worker.score(part(tmp_path, "head.csv"))
    with pytest.raises(ServingError, match=r"rows\.csv: it is not UTF-8 somewhere behind line \d+: save it"):
        worker.score(part(tmp_path, "rows.csv"))
    (tmp_path / "rows.csv").write_text("\n".join(rows), "utf-16")
    assert worker.score(part(tmp_path, "rows.csv")).rows == 20_001


@pytest.mark.parametrize("cell", ['"', ",", "\r", "\n", "a,b\r\nc", "", " ", 'say "hi"'])
def test_cells_that_need_quotes(models, tmp_path, cell):
    """Whatever a cell holds that is passed through, a reader of CSV gets it back."""
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["id", *FLOWERS], [cell, 5.1, 3.5, 1.4, 0.2], ["x", 5.1, 3.5, 1.4, 0.2]])
    Worker(task(models.path, "iris")).score(part(tmp_path, "rows.csv"))
    with (tmp_path / "scored" / "rows.csv").open(newline="") as file:
        assert [row[0] for row in csv.reader(file)] == ["id", cell, "x"]


CELLS = st.sampled_from(
    [
        "41",
        "4.5",
        "-0",
        "1e3",
        "1e999",
        "nan",
        "inf",
        "",
        " ",
        "x",
        "1_0",
        "Bonn",
        "Köln",
        "pro",
        "true",
        "NA",
        "0x1",
    ]
)
VALUES = st.sampled_from(
    [
        41,
        4.5,
        -0.0,
        10**25,
        10**400,
        True,
        None,
        "x",
        "Bonn",
        "pro",
        "",
        [1],
        {"a": 1},
        float("nan"),
        float("inf"),
    ]
)


@pytest.fixture(scope="module")
def people(models):
    """A worker for the model of people."""
    return Worker(task(models.path, "people"))


@given(rows=st.lists(st.fixed_dictionaries(dict.fromkeys(PERSON, CELLS)), min_size=1, max_size=6))
@generated(20)
def test_any_cells(people, client, tmp_path, rows):
    """Whatever the cells of a row are: it is answered, or refused, as the same row in a request is."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(PERSON))
    writer.writeheader()
    writer.writerows(rows)
    head, *lines = text.getvalue().splitlines(keepends=True)
    check(people, client, tmp_path, "rows.csv", head, lines, "text/csv")


@given(rows=st.lists(st.fixed_dictionaries(dict.fromkeys(PERSON, VALUES)), min_size=1, max_size=6))
@generated(20)
def test_any_values(people, client, tmp_path, rows):
    """Whatever the values of a record are: it is answered, or refused, as the same record in a request is."""
    lines = [f"{json.dumps(row)}\n" for row in rows]
    check(people, client, tmp_path, "rows.jsonl", "", lines, "application/json")


def check(worker, client, folder, name, head, lines, kind):
    """Each line of a file has the answer of a request with that line alone, or is refused as that is."""
    (folder / name).write_text(head + "".join(lines), newline="")
    (folder / "refused.jsonl").unlink(missing_ok=True)
    result = worker.score(part(folder, name, "rows.parquet"))
    scored = parquet.read_table(folder / "scored" / "rows.parquet").to_pylist()
    refused = {each["row"]: each["error"] for each in (refusals(folder) if result.refused else [])}
    for row, line in enumerate(lines):
        body = f"{head}{line}" if head else f'{{"instances": [{line}]}}'
        accept = {"Accept": "application/json"}
        answer = client.post("/models/people/predict", data=body.encode(), content_type=kind, headers=accept)
        if answer.status_code == 200:
            ours = scored.pop(0)
            theirs = answer.json if head else answer.json["predictions"][0]
            numbers = theirs["probabilities"][0] if head else [*theirs["probabilities"].values()]
            assert [ours["probabilities_leaves"], ours["probabilities_stays"]] == numbers
        else:
            reason = answer.json["error"].removeprefix("line 2: ").replace("row 0 ", f"row {row} ")
            # The cells of a table are read by column: of two wrong ones in a row, another may be named.
            ours = refused.pop(row)
            assert ours == reason or (head and f" of row {row} " in ours)
    assert (scored, refused) == ([], {})


def test_without_pyarrow(models, tmp_path, monkeypatch):
    """CSV and JSON Lines need no pyarrow; Parquet says what to install."""
    (tmp_path / "rows.csv").write_text(f"{','.join(FLOWERS)}\n5.1,3.5,1.4,0.2\n")
    pd.DataFrame({name: [1.0] for name in FLOWERS}).to_parquet(tmp_path / "rows.parquet")
    worker = Worker(task(models.path, "iris"))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert worker.score(part(tmp_path, "rows.csv")).rows == 1
    with pytest.raises(
        ServingError, match=r"rows\.parquet: this needs pyarrow: pip install 'unpickled\[batch\]'"
    ):
        worker.score(part(tmp_path, "rows.parquet"))


def test_columns_that_no_table_has(models, tmp_path):
    """Two columns of one name, and JSON values of several types in one column of Parquet, are refused."""
    values = [pa.array([1]), pa.array([2]), *[pa.array([1.0])] * 4]
    parquet.write_table(pa.Table.from_arrays(values, names=["id", "id", *FLOWERS]), tmp_path / "rows.parquet")
    worker = Worker(task(models.path, "iris"))
    with pytest.raises(ServingError, match="2 of its columns are named 'id': give each its own name"):
        worker.score(part(tmp_path, "rows.parquet"))
    row = dict.fromkeys(FLOWERS, 1.0)
    lines = [json.dumps(row | {"note": note}) for note in (*range(20_000), "late")]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    with pytest.raises(ServingError, match=r"of several types|'note' is string in some rows and int64"):
        worker.score(part(tmp_path, "rows.jsonl", "rows.parquet"))
    assert worker.score(part(tmp_path, "rows.jsonl")).rows == 20_001


def test_times_of_nanoseconds_and_bytes(models, tmp_path):
    """Types that pandas writes and Python lacks are ISO 8601 in JSON; bytes are base64 in each row."""
    columns = {
        "at": pa.array([1, None], pa.timestamp("ns", "UTC")),
        "all": pa.array([[1], []], pa.list_(pa.timestamp("ns"))),
        "raw": pa.array([b"abc", b"\xff"]),
    }
    parquet.write_table(pa.table(columns | {name: [1.0, 1.0] for name in FLOWERS}), tmp_path / "rows.parquet")
    worker = Worker(task(models.path, "iris"))
    for form in ("jsonl", "csv"):
        assert worker.score(part(tmp_path, "rows.parquet", f"rows.{form}")).rows == 2
    rows = [json.loads(line) for line in (tmp_path / "scored" / "rows.jsonl").read_text().splitlines()]
    assert [row["at"] for row in rows] == ["1970-01-01T00:00:00.000000001Z", None]
    assert [row["all"] for row in rows] == [["1970-01-01T00:00:00.000000001"], []]
    cells = list(csv.DictReader((tmp_path / "scored" / "rows.csv").read_text().splitlines()))
    assert [row["raw"] for row in rows] == [json.loads(cell["raw"]) for cell in cells] == ["YWJj", "/w=="]


@pytest.mark.parametrize(
    ("first", "later", "kept"),
    [
        (1.5, 2, 2.0),
        ({"a": 1, "b": 2}, {"a": 1}, {"a": 1, "b": None}),
        ({"a": 1}, {"a": 1, "b": 2}, None),
        ("7", 7, None),
        (7, "007", None),
        (True, 2, None),
        (1.5, 2**53 + 1, None),
    ],
)
def test_later_values_of_another_type(first, later, kept):
    """A value that a column of Parquet cannot hold as it is ends the part; none is changed or left out."""
    field = pa.field("note", pa.array([first]).type)
    if kept is None:
        with pytest.raises(ValueError, match=r"column 'note' is .* in some rows and .* in its first ones"):
            columnar.cast(pa.array([later]), field)
    else:
        assert columnar.cast(pa.array([later]), field).to_pylist() == [kept]


def test_a_member_that_no_record_has(models, tmp_path):
    """A column to keep that no line has ends the part; one that some have is kept."""
    row = dict.fromkeys(FLOWERS, 1.0)
    (tmp_path / "rows.jsonl").write_text(f"{json.dumps(row)}\n{json.dumps(row | {'id': 7})}\n")
    assert Worker(task(models.path, "iris", only=("id",))).score(part(tmp_path, "rows.jsonl")).rows == 2
    with pytest.raises(ServingError, match="there is no column 'nope' to keep"):
        Worker(task(models.path, "iris", only=("id", "nope"))).score(part(tmp_path, "rows.jsonl"))


def test_endings_in_capitals(models, tmp_path):
    """ROWS.CSV.GZ is unpacked, and its answers are packed."""
    (tmp_path / "ROWS.CSV.GZ").write_bytes(gzip.compress(f"{','.join(FLOWERS)}\n5.1,3.5,1.4,0.2\n".encode()))
    assert Worker(task(models.path, "iris")).score(part(tmp_path, "ROWS.CSV.GZ")).rows == 1
    assert gzip.decompress((tmp_path / "scored" / "ROWS.CSV.GZ").read_bytes()).startswith(b"prediction,")


def test_values_outside_are_counted_alone(models):
    """A job counts the values outside the training range, and spends no time on describing them."""
    columns = {name: np.full(5000, 500.0) for name in FLOWERS}
    scored = Scorer(Worker(task(models.path, "iris")).predictor).score(columns)
    assert [(each.count, each.findings) for each in scored.outside] == [(16_384, b"[]"), (3616, b"[]")]
    assert scored.outside[0].features == tuple(FLOWERS)
