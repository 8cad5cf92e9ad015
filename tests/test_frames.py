"""Rows in memory mean what they mean over HTTP, in whatever container they come."""

import enum
import sys
from datetime import UTC, date, datetime
from decimal import Decimal

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from conftest import FLOWER, FLOWERS, PERSON, generated, run
from hypothesis import given
from hypothesis import strategies as st

from unpickled import Config, create_app, load
from unpickled.__main__ import main
from unpickled.server.errors import InvalidInput
from unpickled.server.frames.reader import PART

ORDERS = "ordered,paid,express,weight,late\n" + "".join(
    f"2024-01-{day:02} {day % 24:02}:30,2024-02-{day:02}T08:00:00Z,{day % 3 == 0},{day / 4},{day % 4 > 1}\n"
    for day in range(1, 29)
)
GAPS = {"people", "spending"}


@pytest.fixture(scope="module")
def home(tmp_path_factory, models, regressors):
    """A folder with iris, people, spending, areas, and a model of dates and truth values."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "orders.csv").write_text(ORDERS)
    options = ["--dates", "expand", "--classifier", "decision_tree", "--models", str(folder)]
    assert main(["train", "--data", str(folder / "orders.csv"), "--target", "late", *options]) == 0
    for name, source in {
        "iris": models,
        "people": models,
        "spending": regressors,
        "areas": regressors,
    }.items():
        (folder / name).symlink_to(source.path / name)
    return folder


@pytest.fixture(scope="module")
def client(home):
    return create_app(Config(models=str(home), reload_seconds=0)).test_client()


def frame(name):
    """Typed rows for a model, with gaps where it takes them."""
    if name == "orders":
        moments = [datetime(2024, 1, 5, 12, 30), datetime(2024, 1, 20, 23, 59, 59)]
        paid = pd.to_datetime([moment.replace(tzinfo=UTC) for moment in moments])
        return pd.DataFrame({"ordered": moments, "paid": paid, "express": [True, False], "weight": [0.5, 7]})
    if name in GAPS:
        rows = [[41, 2100.5, "Bonn", "pro"], [None, 900.0, "Ulm", "free"], [80, 1.5, "Köln", "pro"]]
        return pd.DataFrame(rows, columns=list(PERSON), index=["x", "y", "z"])
    return pd.DataFrame([FLOWER, [6, 3, 5, 2]], columns=FLOWERS)


def records(name):
    """The same rows as a request has them in JSON."""
    values = frame(name).astype(object).where(frame(name).notna(), None)
    if name == "orders":
        values["ordered"] = [moment.isoformat() for moment in frame(name)["ordered"]]
        values["paid"] = [moment.isoformat() for moment in frame(name)["paid"]]
    return values.to_dict("records")


def reordered(name):
    return frame(name)[[*reversed(frame(name).columns)]]


def structured(name):
    rows = [tuple(record.values()) for record in records(name)]
    return np.array(rows, dtype=[(feature, object) for feature in frame(name)])


def categorical(name):
    texts = frame(name).select_dtypes(exclude=["number", "bool", "datetime", "datetimetz"]).columns
    return frame(name).astype(dict.fromkeys(texts, "category"))


def arrow_columns(name):
    table = pa.Table.from_pandas(frame(name), preserve_index=False)
    return {column: table[column] for column in table.column_names}


CONTAINERS = {
    "lists": lambda name: [list(record.values()) for record in records(name)],
    "tuples": lambda name: tuple(tuple(record.values()) for record in records(name)),
    "records": records,
    "mixed": lambda name: [records(name)[0], *([*record.values()] for record in records(name)[1:])],
    "columns": lambda name: frame(name).to_dict("list"),
    "columns of arrays": lambda name: {key: column.to_numpy() for key, column in frame(name).items()},
    "series": lambda name: [row for _, row in frame(name).iterrows()],
    "numpy": lambda name: frame(name).to_numpy(),
    "numpy objects": lambda name: np.array([list(record.values()) for record in records(name)], object),
    "numpy structured": structured,
    "pandas": frame,
    "pandas in another order": reordered,
    "pandas nullable": lambda name: frame(name).convert_dtypes(),
    "pandas on Arrow": lambda name: frame(name).convert_dtypes(dtype_backend="pyarrow"),
    "pandas categorical": categorical,
    "polars": lambda name: pl.from_pandas(frame(name)),
    "arrow": lambda name: pa.Table.from_pandas(frame(name)),
    "arrow batch": lambda name: pa.RecordBatch.from_pandas(frame(name)),
    "arrow reader": lambda name: pa.Table.from_pandas(frame(name)).to_reader(max_chunksize=1),
    "arrow columns": arrow_columns,
    "columns of each library": lambda name: {**arrow_columns(name), **dict([*frame(name).items()][:1])},
    "duckdb": lambda name: duckdb.from_arrow(pa.Table.from_pandas(frame(name), preserve_index=False)),
}


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("name", ["iris", "people", "orders", "spending", "areas"])
def test_every_container_is_answered_as_over_http(client, home, name, container):
    """The answers to the same rows agree to the last bit, whatever holds them."""
    expected = client.post(f"/models/{name}/predict", json={"instances": records(name)}).json["predictions"]
    answers = load(home / name).predict(CONTAINERS[container](name), as_frame=True)
    table = answers.to_pandas() if hasattr(answers, "to_pandas") else answers
    assert table.to_numpy().tolist() == [flat(answer) for answer in expected]


def flat(answer):
    """The values of an answer, one after the other."""
    parts = [[*value.values()] if isinstance(value, dict) else [value] for value in answer.values()]
    return [value for part in parts for value in part]


SCALARS = st.one_of(
    st.none(), st.booleans(), st.text(max_size=3), st.floats(), st.integers(-(2**70), 2**70),
    st.sampled_from(["Bonn", "pro", "free", "NA", 40.0, 2000.0, 10**400, -(10**400)]),
)  # fmt: skip
ROWS = st.one_of(
    st.lists(SCALARS, min_size=3, max_size=5),
    st.fixed_dictionaries({name: st.sampled_from([value, None]) | SCALARS for name, value in PERSON.items()}),
    st.dictionaries(st.sampled_from([*PERSON, "Age"]), SCALARS),
)


@given(st.lists(ROWS, min_size=1, max_size=3))
@generated(60)
def test_any_rows_are_answered_or_refused_as_over_http(client, home, rows):
    """Generated rows get the answer of the server, or its sentence."""
    answer = client.post("/models/people/predict", json={"instances": rows})
    predictions, error = answered(load_once(home / "people"), rows)
    if error is None:
        assert [each["prediction"] for each in answer.json["predictions"]] == predictions
    else:
        assert answer.json == {"error": str(error), "code": error.code, **error.details}


def answered(model, rows):
    """The predictions for rows, or the error that refuses them."""
    try:
        return model.predict(rows).tolist(), None
    except InvalidInput as error:
        return None, error


COLUMNS = {name: [1.0] for name in FLOWERS}
LOADED = {}


def load_once(path):
    return LOADED.setdefault(path, load(path))


class City(str, enum.Enum):  # noqa: UP042
    BONN = "Bonn"


def test_values_of_python_and_numpy_are_those_of_json(home):
    """Scalars of NumPy, decimals, enumerations and every mark of a missing value mean the same."""
    model = load(home / "people")
    expected = model.predict_proba([41.0, 2100.5, "Bonn", "pro"])
    for row in (
        [np.int8(41), Decimal("2100.5"), City.BONN, np.str_("pro")],
        [41, np.float64(2100.5), "Bonn", City("Bonn") and "pro"],
    ):
        assert np.array_equal(model.predict_proba(row), expected)
    expected = model.predict_proba([None, 2100.5, "Bonn", "pro"])
    for gap in (float("nan"), np.nan, pd.NA, pd.NaT, np.datetime64("NaT"), np.float32("nan")):
        assert np.array_equal(model.predict_proba([gap, 2100.5, "Bonn", "pro"]), expected)
    with pytest.raises(InvalidInput, match="of row 0 is true, but a number belongs there: send 1"):
        model.predict([np.True_, 2100.5, "Bonn", "pro"])


def test_a_decimal_that_no_arithmetic_takes_is_missing(home):
    """A signalling NaN means what every other NaN means, in a row, in a record and in several rows."""
    model, row = load(home / "people"), [Decimal("sNaN"), 2100.5, "Bonn", "pro"]
    expected = model.predict_proba([None, *row[1:]])
    for rows in (row, [row], dict(zip(model.features, row, strict=True))):
        assert np.array_equal(model.predict_proba(rows), expected)


def test_dates_are_refused_where_text_belongs(home):
    """A typed date is read in a feature of dates alone; another has many spellings of it."""
    dated, plain = load(home / "orders"), load(home / "people")
    row = [date(2024, 1, 5), datetime(2024, 2, 5, 8, tzinfo=UTC), True, 0.5]
    assert dated.predict(row).shape == (1,)
    with pytest.raises(InvalidInput, match="which has no offset from UTC, unlike in training"):
        dated.predict([row[0], datetime(2024, 2, 5, 8), True, 0.5])
    for value in (date(2024, 1, 5), np.datetime64("2024-01-05"), pd.Timestamp("2024-01-05")):
        with pytest.raises(InvalidInput, match=r"'city' of row 0 .* but a category \(text\) belongs there"):
            plain.predict([41.0, 2100.5, value, "pro"])
    frame = pd.DataFrame([PERSON]).assign(city=pd.to_datetime(["2024-01-05"]))
    with pytest.raises(InvalidInput, match="'city' of row 0 is of the type datetime64"):
        plain.predict(frame)


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([], "there are zero rows"),
        (pd.DataFrame(columns=FLOWERS), "there are zero rows"),
        (7, "rows of the type int are not read: give a row"),
        (iter([FLOWER]), "rows of the type list_iterator are not read"),
        ([FLOWER, 5.0], "row 1 is of the type float: give a list of its values, or a record"),
        (FLOWER[:3], "row 0 has 3 values, but the model takes 4"),
        (np.zeros((2, 5)), "row 0 has 5 values, but the model takes 4"),
        (np.zeros((1, 1, 4)), "the array has 3 dimensions"),
        (pl.LazyFrame({"a": [1]}), r"call collect\(\) first"),
        (pl.Series(FLOWER), "a column has no names"),
        (pa.array(FLOWER), "a column has no names"),
        (pd.Series(FLOWER), "row 0 has the name 0, which is no text"),
        (pd.DataFrame([FLOWER]), "a column has the name 0, which is no text"),
        (pd.DataFrame([FLOWER * 2], columns=FLOWERS * 2), "'sepal_length' is given twice"),
        (pd.DataFrame([FLOWER], columns=[*FLOWERS[:3], "petal_wide"]), "did you mean 'petal_width'"),
        (COLUMNS | {"petal_width": 2.0}, "'petal_width' has one value, but"),
        (COLUMNS | {"petal_width": [2.0, 3.0]}, "has 1 value where another has 2"),
        (dict.fromkeys(FLOWERS, np.zeros((2, 2))), "is an array of 2 dimensions"),
        (pd.Series(FLOWER * 2, FLOWERS * 2), "row 0 has the name 'sepal_length' twice"),
        ([FLOWER, pd.Series(FLOWER * 2, FLOWERS * 2)], "row 1 has the name 'sepal_length' twice"),
        (
            {name: pd.Series([1.0, 2.0], [*name[:2]]) for name in FLOWERS},
            "'petal_length' has another index than 'sepal_length'",
        ),
        (np.array([FLOWER], complex), "is of the type complex, which is not read"),
        (dict.fromkeys(FLOWERS, np.array([1], "m8[s]")), "is of the dtype timedelta64"),
        (pa.table(dict.fromkeys(FLOWERS, pc.run_end_encode([5.1]))), r"run_end_decode"),
        (pa.table(dict.fromkeys(FLOWERS, pa.array([1], pa.duration("s")))), "cast it to a number"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_is_not_read_is_refused_with_a_remedy(home, rows, sentence):
    """Rows that could mean several things, or nothing, get a sentence."""
    with pytest.raises(InvalidInput, match=sentence):
        load_once(home / "iris").predict(rows)


@pytest.mark.parametrize("container", ["numpy", "lists", "pandas", "arrow"])
def test_rows_keep_their_numbers_in_long_tables(home, container):
    """A table is read in parts; an error in a later one has the number that its row has in the table."""
    values = np.tile(FLOWER, (PART + 9, 1))
    values[PART + 3, 1] = np.nan
    table = pd.DataFrame(values, columns=FLOWERS)
    rows = {"numpy": values, "lists": values.tolist(), "pandas": table, "arrow": pa.Table.from_pandas(table)}
    with pytest.raises(InvalidInput, match=f"'sepal_width' of row {PART + 3} is missing"):
        load_once(home / "iris").predict(rows[container])


def test_numpy_of_every_dtype_and_layout(home):
    """Integers, halves, other byte orders, masks and columns side by side mean the same numbers."""
    model, whole = load_once(home / "iris"), np.array([[5, 3, 1, 0], [6, 3, 5, 2]])
    expected = model.predict_proba(whole.tolist())
    for dtype in ("i1", "u8", "f2", "f4", ">f8", "f16", "O"):
        assert np.array_equal(model.predict_proba(whole.astype(dtype)), expected), dtype
    assert np.array_equal(model.predict_proba(np.asfortranarray(whole, "f8")), expected)
    assert np.array_equal(model.predict_proba(np.arange(16.0).reshape(2, 8)[:, ::2] * 0 + whole), expected)
    with pytest.raises(InvalidInput, match="'sepal_width' of row 1 is missing"):
        model.predict(np.ma.masked_array(whole, [[0, 0, 0, 0], [0, 1, 0, 0]]))


def test_a_mask_hides_values_of_every_dtype(home):
    """A masked number, text or date is a missing value, in a column, a structured array and a list."""
    model, row = load(home / "orders"), ["2024-01-05T12:30:00", "2024-02-05T08:00:00Z", True, 0.5]
    dtypes = [("ordered", "M8[s]"), ("paid", "U20"), ("express", "?"), ("weight", "f8")]
    for place, (name, _) in enumerate(dtypes):
        rows = np.ma.array([tuple(row)] * 2, dtypes)
        rows[name][1] = np.ma.masked
        listed = [[*row], [*row[:place], np.ma.masked, *row[place + 1 :]]]
        expected = answered(model, [row, [*row[:place], None, *row[place + 1 :]]])
        columns = {column: rows[column] for column, _ in dtypes}
        for form in (rows, columns, listed):
            assert str(answered(model, form)) == str(expected)


def test_an_array_without_dimensions_is_one_value(home):
    """It is a value in a record or a row, and no column."""
    model = load(home / "people")
    record = {name: np.array(value) for name, value in PERSON.items()}
    expected = model.predict_proba(PERSON)
    for form in (record, [*record.values()], [record], PERSON | {"age": record["age"]}):
        assert np.array_equal(model.predict_proba(form), expected)


def test_frames_need_no_other_library(home):
    """pandas and polars are read without pyarrow, and lists without any of the three."""
    code = f"""
import sys
sys.modules["pyarrow"] = None
from unpickled import load
model = load({str(home / "people")!r})
row = {PERSON!r}
assert model.predict([row]).tolist() == model.predict(row).tolist()
assert not {{"pandas", "polars", "sklearn", "flask", "granian"}} & {{*sys.modules}}
import pandas, polars
assert model.predict(pandas.DataFrame([row])).tolist() == model.predict(polars.DataFrame([row])).tolist()
"""
    completed = run([sys.executable, "-c", code])
    assert completed.returncode == 0, completed.stderr
