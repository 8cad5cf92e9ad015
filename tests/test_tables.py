"""From a file to a table to train on: what columns are taken for, which are left out, and refusals."""

import numpy as np
import pandas as pd
import pytest
from tables import ROWS, customers, lines, write

from unpickled.export.data import dataset as data
from unpickled.export.data import summary
from unpickled.export.data.columns import Choices
from unpickled.export.errors import DataError
from unpickled.export.train import train
from unpickled.server.artifact.manifest import Notation


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_columns_are_typed_and_the_useless_ones_left_out_and_named(tmp_path, suffix):
    """Numbers become float64, text stays text, and a reading says what every column was taken for."""
    table = data.read(write(customers(), tmp_path / f"people{suffix}"), "churned")
    kinds = {name: column.dtype.kind for name, column in table.features.items()}
    assert kinds == {"age": "f", "income": "f", "city": "O", "member": "f"}
    assert {reading.name: (reading.kind, reading.role, reading.missing) for reading in table.readings} == {
        "customer": ("number", "identifier", 0),
        "age": ("number", "feature", 7),
        "income": ("number", "feature", 0),
        "city": ("category", "feature", 6),
        "member": ("boolean", "feature", 0),
        "joined": ("date", "date", 0),
        "email": ("category", "identifier", 0),
        "country": ("category", "constant", 0),
        "notes": ("nothing", "constant", ROWS),
        "churned": ("category", "target", 0),
    }
    assert table.class_names == ("no", "yes")


def test_csv_and_parquet_of_one_table_have_one_fingerprint(tmp_path):
    """The fingerprint depends on the values, not on the file or its types."""
    people = customers().drop(columns="notes")
    typed = people.assign(city=people.city.astype("category"), age=people.age.astype("Int64"))
    tables = [
        data.read(write(frame, tmp_path / name), "churned")
        for frame, name in ((people, "a.csv"), (typed, "b.parquet"))
    ]
    first, second = [data.fingerprint(table.features, table.labels) for table in tables]
    assert first == second
    tables[0].features.iloc[0, 0] += 1
    assert data.fingerprint(tables[0].features, tables[0].labels) != first


def test_numbers_are_read_to_the_last_bit(tmp_path):
    """A number in a file is the same double as in a request."""
    numbers = np.random.default_rng(0).lognormal(0, 20, 5000)
    path = lines(tmp_path / "x.csv", "x,y", *(f"{x!r},{i % 2}" for i, x in enumerate(numbers.tolist())))
    assert np.array_equal(data.read(path, "y").features["x"].to_numpy(), numbers)


def test_rows_without_a_class_are_dropped_and_counted(tmp_path):
    """A row whose target is missing is left out, and a note says how many."""
    people = customers()
    people.loc[[0, 1], "churned"] = np.nan
    table = data.read(write(people, tmp_path / "people.csv"), "churned")
    assert len(table.labels) == ROWS - 2
    assert table.notes[0].startswith("2 rows without 'churned' dropped")


@pytest.mark.parametrize(
    ("cells", "labels", "names"),
    [
        (["True", "False"], [1, 0], ("false", "true")),
        (["2.0", "1.0"], [2, 1], ("1", "2")),
        (["b", "a"], ["b", "a"], ("a", "b")),
    ],
)
def test_labels_are_integers_or_text(tmp_path, cells, labels, names):
    """Whole floats are integers, truth values 0 and 1 with their own names, text stays text."""
    path = lines(tmp_path / "x.csv", "x,y", *(f"{i / 7},{cells[i % 2]}" for i in range(40)))
    table = data.read(path, "y")
    assert table.labels.tolist()[:2] == labels
    assert table.class_names == names


def test_a_nameless_index_column_is_left_out(tmp_path):
    """pandas writes the index as a column without a name; it is no feature."""
    path = lines(tmp_path / "x.csv", ",x,y", *(f"{i * i},{i / 7},{i % 2}" for i in range(40)))
    table = data.read(path, "y")
    assert list(table.features) == ["x"]
    assert table.readings[0].reason == "it has no name"


GOOD = [f"{i / 7},{'ab'[i % 2]}" for i in range(40)]


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([], "is empty"),
        (["x,y"], "has no rows"),
        (["x,x,y", "1,2,a"], "more than one column named 'x'"),
        (["x,y", *GOOD, "1,2,3"], "row 42 has 3 cells where the header has 2 ('1,2,3')"),
        (["x,z", *GOOD], "no column 'y'"),
        (["x,yy", *GOOD], "did you mean 'yy'"),
        (["x,y", "1,", "2,"], "is empty in every row"),
        (["x,y", *(row.replace("b", "a") for row in GOOD)], "one class only, a"),
        (["x,y", *GOOD, "1,c"], "Class c of 'y' has 1 row, and at least 5 are needed"),
        (["x,y", *(f"{i / 7},name {i}" for i in range(40))], "an identifier, not a class"),
        (["x,y", *GOOD, "inf,a"], "infinite number in 1 of 41 rows"),
        (["x,y", *GOOD, "1e999,a"], "infinite number in 1 of 41 rows"),
        (["x,y", *GOOD, "about 5,a"], "also text such as 'about 5': leave cells without a number empty, say"),
        (
            ["x,y", "1,2,a", *GOOD],
            "row 2 has 3 cells where the header has 2 ('1,2,a'); give its",
        ),
        (["x,y", *(f"1,{'ab'[i % 2]}" for i in range(40))], "holds nothing but 1"),
    ],
)
def test_a_csv_that_cannot_be_trained_on_is_refused_in_a_sentence(tmp_path, rows, sentence):
    """The error names the column or the line, and the remedy."""
    path = tmp_path / "x.csv"
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    with pytest.raises(DataError) as caught:
        data.read(path, "y")
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("x.csv", b"x,y\n\xff\x00\xfe,a\n", "no text: save the table as CSV in UTF-8"),
        (
            "x.csv",
            "x,y\n1,a\n".encode("utf-16-le"),
            "UTF-16 without a byte order mark: save it as CSV in UTF-8",
        ),
        ("x.csv", b"sep=;\nx;y\n1;a\n", "begins with 'sep=;', which is no row: leave that line out"),
        ("x.csv", b"My table\nx,y\n1,a\n", "leave out what stands above the names of the columns"),
        ("x.csv", b"x,y\n1,a,\n2,b,\n", "rows end with a separator, so end the header with one too"),
        (
            "x.csv",
            b"x,y\n1,a\n   \n",
            "row 3 has 1 cell where the header has 2 .*; complete that row, or leave",
        ),
        (
            "x.csv",
            b"x^y\n1^a\n",
            "whose only column is 'x\\^y': separate its cells by commas, semicolons, tabs",
        ),
        (
            "x.csv",
            b'[{"x": 1, "y": "a"}]',
            "has no rows: below the names of the columns, each row has a line",
        ),
        ("x.parquet", b"PAR1", "cannot be read as Parquet"),
        ("x.xlsx", b"PK", "neither .csv nor .parquet"),
        ("absent.csv", None, "There is no file"),
    ],
)
def test_a_file_that_is_no_table_is_refused_in_a_sentence(tmp_path, name, content, sentence):
    """A wrong encoding, a wrong format and a missing file have a sentence each."""
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=sentence):
        data.read(tmp_path / name, "y")


def test_texts_keep_their_spaces(tmp_path):
    """A space after a comma is part of the value, and a cell of nothing but spaces is missing."""
    rows = [f"  pad,{' ' if i == 7 else i / 7},{'ab'[i % 2]}" for i in range(40)]
    table = data.read(lines(tmp_path / "x.csv", "w,x,y", *rows, *(f"pad ,{i},a" for i in range(9))), "y")
    assert set(table.features["w"]) == {"  pad", "pad "}
    assert table.features["x"].isna().sum() == 1
    spaced = data.read(
        lines(tmp_path / "s.csv", "x, w, y", *(f'{i / 7}, "p,{i % 3}", {i % 2}' for i in range(40))), "y"
    )
    assert set(spaced.features["w"]) == {"p,0", "p,1", "p,2"}
    rows = [f'{i / 7}, "p\r\n{i % 3}", {i % 2}\r\n' for i in range(40)]
    (tmp_path / "q.csv").write_bytes("".join(['"x", "w", "y"\r\n', *rows]).encode())
    assert set(data.read(tmp_path / "q.csv", "y").features["w"]) == {"p\r\n0", "p\r\n1", "p\r\n2"}


def test_codes_keep_their_leading_zeros(tmp_path):
    """Digits padded with zeros are text, and a note says so; other numbers stay numbers."""
    rows = [f"{i % 7:03},{i % 5},{'' if i == 3 else f'{i % 3:02}'},0{i / 7},{'ab'[i % 2]}" for i in range(60)]
    table = data.read(lines(tmp_path / "x.csv", "code,count,gap,x,y", *rows), "y")
    assert set(table.features["code"]) == {f"{i:03}" for i in range(7)}
    assert table.features["gap"].isna().sum() == 1
    assert [table.features[name].dtype.kind for name in ("code", "count", "gap", "x")] == list("OfOf")
    assert table.readings[0].remark == "codes such as 000 stay text"


@pytest.mark.parametrize(
    ("template", "number"),
    [
        ('"{:,.2f}"', "1,164.00"),
        ("{:.1f}%", "1164.0%"),
        ("${:.0f}", "$1164"),
        ('"{:.0f},5"', 1164.5),
        ("{:_.0f} €", "1 164 €"),
        ("'{:.0f}", None),
    ],
)
def test_numbers_in_their_own_notation_are_read(tmp_path, template, number):
    """Separators of thousands, signs and decimal commas are read, and a remark shows how they are written."""
    cells = [template.format(97.0 * i).replace("_", " ") for i in range(60)]
    rows = [f"{i / 7},{cell},{'ab'[i % 2]}" for i, cell in enumerate(cells)]
    table = data.read(lines(tmp_path / "x.csv", "x,price,y", *rows), "y")
    reading = table.readings[1]
    if number is None:
        assert (reading.kind, reading.role) == ("category", "identifier")
        return
    assert table.features["price"][12] == (1164.5 if number == 1164.5 else 1164.0)
    assert reading.remark.startswith("written like ")


def test_a_misspelt_target_is_asked_about(tmp_path):
    """The error about a misspelt target suggests the right name."""
    with pytest.raises(DataError) as caught:
        data.read(lines(tmp_path / "x.csv", "x,churn", *GOOD), "chrun")
    assert str(caught.value).endswith("did you mean 'churn'?")


def test_a_column_of_records_is_left_out(tmp_path):
    """A nested column of a Parquet file is left out."""
    frame = pd.DataFrame({"x": [{"a": 1}] * 20, "z": range(0, 40, 2), "y": ["a", "b"] * 10})
    table = data.read(write(frame, tmp_path / "x.parquet"), "y")
    assert list(table.features) == ["z"]
    assert "lists, records or bytes" in table.readings[0].reason


WORDS = ["NA", "n/a", "NaN", "null", "None", "?", "-", "N/A", "#N/A", "missing", " NA "]


@pytest.mark.parametrize("word", WORDS)
def test_words_among_numbers_are_missing_and_among_texts_are_categories(tmp_path, word):
    """A word stands for a missing value where the other cells are numbers, and is a category elsewhere."""
    texts = [word, "ok", "bad"]
    rows = [f"{word if i % 5 == 0 else i / 7},{texts[i % 3]},{'ab'[i % 2]}" for i in range(40)]
    table = data.read(lines(tmp_path / "x.csv", "x,w,y", *rows), "y")
    assert table.features["x"].isna().sum() == 8
    assert set(table.features["w"]) == set(texts)
    assert table.readings[0].words == {word: 8}
    declared = Choices(missing=frozenset({word.strip()}))
    assert set(data.read(tmp_path / "x.csv", "y", declared).features["w"].dropna()) == {"ok", "bad"}


def test_a_table_of_semicolons_and_decimal_commas_is_read(tmp_path):
    """Semicolons part cells whose numbers have decimal commas; a note says so."""
    rows = [f"{str(i / 8).replace('.', ',')};{i % 3},000;{'ab'[i % 2]}" for i in range(40)]
    table = data.read(lines(tmp_path / "x.csv", "x;z;y", *rows), "y")
    assert table.features["x"][5] == 0.625
    assert table.features["z"][5] == 2.0
    assert table.notes == ("x.csv is separated by semicolons.",)
    commas = lines(tmp_path / "z.csv", "z,y", *(f'"{i % 3 + 1},000",{"ab"[i % 2]}' for i in range(40)))
    assert data.read(commas, "y").features["z"][5] == 3000.0


@pytest.mark.parametrize(
    ("cells", "remark"),
    [
        (("950", "1.234"), "written like 1.234, read as 1.234"),
        (("950", "1,234"), "written like 1,234, read as 1.234"),
        (("5 €", "1,234 €"), "written like 1,234 €, read as 1.234"),
        (("950", "1.5"), ""),
        (("5", "7"), ""),
    ],
)
def test_a_number_with_two_readings_is_shown(tmp_path, cells, remark):
    """Between semicolons 1.234 may be thousands: the report says how it was read, with a cell that is it."""
    rows = [f"{cells[i % 2]};{i / 8};{'ab'[i % 3 > 1]}" for i in range(40)]
    table = data.read(lines(tmp_path / "x.csv", "x;z;y", *rows), "y")
    assert table.readings[0].remark == remark
    assert summary.lines(table.readings)[1].endswith(remark or "-")
    commas = [f"{('950', '1.234')[i % 2]},{'ab'[i % 3 > 1]}" for i in range(40)]
    assert data.read(lines(tmp_path / "c.csv", "x,y", *commas), "y").readings[0].remark == ""


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
def test_files_of_spreadsheets_are_read_in_their_encoding(tmp_path, encoding):
    """A byte order mark, UTF-16 and Latin-1 lose no letter."""
    rows = "\n".join(
        ["größe\tcity\ty", *(f"{i / 7}\t{'KölnBonn'[i % 2 * 4 :][:4]}\t{'ab'[i % 2]}" for i in range(40))]
    )
    (tmp_path / "x.tsv").write_bytes(rows.encode(encoding))
    table = data.read(tmp_path / "x.tsv", "y")
    assert list(table.features) == ["größe", "city"]
    assert set(table.features["city"]) == {"Köln", "Bonn"}


def test_columns_declared_as_text_stay_text(tmp_path):
    """--text makes categories of numbers; a column that is not there is named."""
    rows = [f"{80331 + i % 3},{i / 7},{'ab'[i % 2]}" for i in range(40)]
    path = lines(tmp_path / "x.csv", "zip,x,y", *rows)
    assert data.read(path, "y").features["zip"].dtype == float
    text = data.read(path, "y", Choices(text=frozenset({"zip"}))).features["zip"]
    assert set(text) == {"80331", "80332", "80333"}
    for name, remedy in (
        ("zap", "did you mean 'zip'"),
        ("ZIP", "did you mean 'zip'"),
        ("q", "it has zip, x, y"),
    ):
        with pytest.raises(DataError, match=f"no column '{name}' to read as text in .*: {remedy}"):
            data.read(path, "y", Choices(text=frozenset({name})))


def test_rare_texts_of_a_column_of_many_are_one_category(tmp_path):
    """The texts of fewer than ten rows, and unknown ones, are one category in a column of 300 texts."""
    random = np.random.default_rng(0)
    towns = np.where(random.random(2000) < 0.5, random.integers(0, 8, 2000), random.integers(8, 300, 2000))
    rows = [f"t{town},{'ab'[town % 2]}" for town in towns]
    table = data.read(lines(tmp_path / "x.csv", "town,y", *rows), "y")
    assert "texts; those of fewer than 10 rows count as one" in table.readings[0].remark
    pipeline = train(table, "standard", "logistic").pipeline
    rare, unknown = (pipeline.predict_proba(pd.DataFrame({"town": [town]})) for town in ("t9", "elsewhere"))
    assert len(pipeline[0].get_feature_names_out()) < 20
    assert rare.tolist() == unknown.tolist()


def test_a_class_may_be_called_none(tmp_path):
    """Words are classes in a target of text, and advice is given where one of them is rare."""
    path = lines(tmp_path / "x.csv", "x,y", *(f"{i / 7},{['None', 'some'][i % 2]}" for i in range(40)))
    assert data.read(path, "y").class_names == ("None", "some")
    path = lines(tmp_path / "x.csv", "x,y", *(f"{i / 7},{'ab'[i % 2]}" for i in range(40)), "1,NA")
    with pytest.raises(DataError, match="or say --missing NA if it stands for a missing class"):
        data.read(path, "y")


def test_the_report_lists_every_column(tmp_path):
    """Each column has a line: what it was taken for, how many cells are missing, words and remarks."""
    rows = [f"{i},{'NA' if i % 4 == 0 else i / 7},{i % 3:02},c,{'ab'[i % 2]}" for i in range(40)]
    table = data.read(lines(tmp_path / "x.csv", "id,x,code,c,y", *rows), "y")
    assert summary.lines(table.readings) == [
        "column  taken for   missing",
        "id      identifier        -  left out: it numbers the rows",
        "x       number           10  missing where NA 10",
        "code    category          -  codes such as 00 stay text",
        "c       constant          -  left out: it holds nothing but c",
        "y       target            -",
    ]


@pytest.mark.parametrize("template", ["{}.01.24", "Jan {}, 2024", "{}.234,50 EUR", "{} kg", "{}k"])
def test_numbers_that_are_not_read_are_named_with_what_is(tmp_path, template):
    """Dates and amounts in a notation that is not read are left out with the ones that are; names without."""
    columns = {
        "x": [template.format(n) for n in range(40)],
        "who": [f"name {chr(97 + n % 26)}{chr(97 + n // 2)}" for n in range(40)],
        "n": [n % 7 for n in range(40)],
        "y": ["ab"[n % 2] for n in range(40)],
    }
    pd.DataFrame(columns).to_csv(tmp_path / "t.csv", index=False)
    x, who, *_ = data.read(tmp_path / "t.csv", "y").readings
    assert (x.role, who.role) == ("identifier", "identifier")
    assert x.reason.endswith("; numbers and dates are read where they are written like 1234.5 and 2024-01-31")
    assert who.reason.endswith("so it identifies rows")


@pytest.mark.parametrize("template", ["ID{:05}", "ord-2024-{}", "0{:04}", "{:032x}"])
def test_codes_are_not_told_how_numbers_are_written(tmp_path, template):
    """Identifiers behind constant letters, with leading zeros or in hexadecimal are no failed numbers."""
    rows = [f"{template.format(n * 997)},{n % 7},{'ab'[n % 2]}" for n in range(40)]
    code, *_ = data.read(lines(tmp_path / "t.csv", "code,n,y", *rows), "y").readings
    assert code.role == "identifier"
    assert code.reason.endswith("so it identifies rows")


def test_a_group_behind_a_lone_nought_is_a_fraction(tmp_path):
    """0,125 is an eighth, not 125, though the table has commas between its cells."""
    rows = "".join(f'"{("0,125", "0,250", "1,500")[i % 3]}",{"ab"[i % 3 > 1]}\n' for i in range(60))
    (tmp_path / "t.csv").write_text(f"x,y\n{rows}")
    table = data.read(tmp_path / "t.csv", "y")
    assert sorted(set(table.features["x"])) == [0.125, 0.25, 1.5]
    assert table.readings[0].notation == Notation(decimal=",")


def test_the_report_of_a_wide_table_shows_what_is_left_out(tmp_path):
    """The report of a hundred columns gives those that are left out lines before those that have gaps."""
    header = [f"x{column}" for column in range(98)]
    rows = [[f"{(row + 1) * (column + 3) % 11 / 7:.3f}" for column in range(98)] for row in range(20)]
    cells = [",".join([*row, "c", "ab"[place % 2]]) for place, row in enumerate([*rows, [""] * 98])]
    table = data.read(lines(tmp_path / "x.csv", ",".join([*header, "c", "y"]), *cells), "y")
    report = summary.lines(table.readings)
    assert "left out: it holds nothing but c" in report[-3]
    assert [line.split()[0] for line in report[-3:]] == ["c", "y", "and"]
    assert len(report) == summary.MOST + 2


@pytest.mark.parametrize(
    ("classes", "sentence"),
    [
        ([f"{2**53}", f"{2**53 + 1}", "7"], "numbers of more than 15 digits, .* say --text y if they"),
        (["a", "a\0", "b"], "A class of the target 'y' ends with a NUL character: remove it."),
    ],
)
def test_classes_that_would_become_one_are_refused(tmp_path, classes, sentence):
    """Numbers that no double tells apart, and texts that NumPy does not, are no classes."""
    rows = [f"{i / 7},{classes[i % 3]}" for i in range(60)]
    with pytest.raises(DataError, match=sentence):
        data.read(lines(tmp_path / "x.csv", "x,y", *rows), "y")


def test_a_cell_may_be_longer_than_a_block_of_the_reader(tmp_path):
    """A text of three million letters is read."""
    rows = [f"{i / 7},{'k' * 3_000_000 if i == 0 else 'l'},{'ab'[i % 2]}" for i in range(40)]
    assert len(data.read(lines(tmp_path / "x.csv", "x,text,y", *rows), "y").features["text"][0]) == 3_000_000


def targeted(path, cells, **more):
    """A table of 60 rows whose target has these cells in turn."""
    rows = [f"{i / 7};{cells[i % len(cells)]}" for i in range(60)]
    return data.read(lines(path / "x.csv", "x;y", *rows), "y", **more)


@pytest.mark.parametrize(
    ("cells", "task", "note"),
    [
        (["a", "b"], "classification", ""),
        (["true", "false"], "classification", ""),
        (["1", "2", "7"], "classification", "'y' has 3 different whole numbers: a class is predicted"),
        ([*map(str, range(13))], "regression", "'y' has 13 different numbers: a number is predicted"),
        (["1.5", "2"], "regression", "'y' has 2 different numbers: a number is predicted"),
        (["1.204,50 €", "7 €", "NA"], "regression", "'y' has 2 different numbers"),
        (["007", "008"], "classification", ""),
    ],
)
def test_the_target_decides_about_the_task_and_says_so(tmp_path, cells, task, note):
    """Texts, truth values and few whole numbers are classes; other numbers are predicted."""
    table = targeted(tmp_path, cells)
    assert table.task == task
    assert bool(table.class_names) == (task == "classification")
    assert any(note in line for line in table.notes)
    assert (table.labels.dtype == np.float64) == (task == "regression")


def test_numbers_of_a_target_are_read_as_those_of_features_are(tmp_path):
    """Thousands separators, decimal commas, units and words for a missing number are read in a target."""
    table = targeted(tmp_path, ["1.204,50 €", "7 €", "NA"])
    assert sorted(set(table.labels.tolist())) == [7.0, 1204.5]
    assert table.notes[-1] == "20 rows without 'y' dropped."


@pytest.mark.parametrize(("task", "labels"), [("classification", np.int64), ("regression", np.float64)])
def test_the_user_decides_otherwise(tmp_path, task, labels):
    """Few whole numbers are what the user says, and no note explains a choice."""
    table = targeted(tmp_path, ["1", "2", "3"], task=task)
    assert (table.task, table.labels.dtype) == (task, labels)
    assert not any("different" in note for note in table.notes)


@pytest.mark.parametrize(
    ("cells", "alternative", "words"),
    [
        (["1", "2"], "regression", "(--task regression for a number)."),
        ([*map(str, range(22))], "classification", "(--task classification for classes)."),
        ([*map(str, range(40))], None, "a number is predicted."),
        (["1.5", "2"], None, "a number is predicted."),
    ],
)
def test_the_other_task_is_offered_where_the_target_would_do_for_it(tmp_path, cells, alternative, words):
    """A note names --task only where a training with it would begin."""
    rows = [f"{i / 7};{cells[i % len(cells)]}" for i in range(300)]
    table = data.read(lines(tmp_path / "x.csv", "x;y", *rows), "y")
    assert (table.alternative, table.notes[-1].endswith(words)) == (alternative, True)
    if alternative:
        other = data.read(tmp_path / "x.csv", "y", task=alternative)
        assert (other.task, other.alternative) == (alternative, table.task)


@pytest.mark.parametrize(
    ("cells", "task", "sentence"),
    [
        (["a", "b"], "regression", "holds 'a', which is no number: name a column of numbers, or say --task"),
        (["true", "false"], "regression", "holds 'true', which is no number"),
        (["1.5", "2"], "classification", "not whole, which are no classes: say --task regression"),
        ([*map(str, range(50))], "classification", "a number to predict, not a class. Say --task regression"),
        ([*["1", "2"] * 10, "3"], None, "Class 3 of 'y' has 2 rows, .* number to predict, say --task regr"),
        ([*["true"] * 20, "false"], None, "Class 0 of 'y' has 2 rows, .* or remove it\\.$"),
        ([*map(chr, range(97, 122))], "regression", "which is no number: name a column of numbers\\.$"),
        (["2024-01-31", "2024-02-29"], None, "holds dates, which no model here predicts: name another"),
        (["1.5", "2", "inf"], None, "'y' holds an infinite number in 20 of 60 rows"),
        (["1.5"], "regression", "holds nothing but 1.5: there is nothing to predict"),
        (["1.5", *[""] * 20, "2"], None, "has a number in 5 rows, and at least 10 are needed"),
        (["1e200", "1.5"], None, "numbers up to 1e\\+200, whose squares are infinite"),
        ([*(f"{i}.5" for i in range(29)), "sold"], None, "also text such as 'sold': leave cells without"),
    ],
)
def test_a_target_that_suits_no_task_is_refused(tmp_path, cells, task, sentence):
    """The error about a target says what it holds, and what would do."""
    with pytest.raises(DataError, match=sentence):
        targeted(tmp_path, cells, task=task)
