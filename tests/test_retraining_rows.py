"""The rows of a retraining: which are trained on, held out or left out, and what is told of them."""

import time

import numpy as np
import pytest
from msgspec.structs import replace
from shop import DAY, customers

from unpickled.export.errors import DataError
from unpickled.export.retraining import leakage, weights, window
from unpickled.export.retraining.material import Asked, gather
from unpickled.export.retraining.predicted import Predicted
from unpickled.server.artifact.manifest import Feature, Notation
from unpickled.server.config import Log


def asked(shop, **options):
    options = {"since": time.time() - 30 * DAY, "log": shop.log, "data": str(shop.base)} | options
    return Asked(**options)


def test_rows_add_up(shop):
    """Each row of the log is trained on, held out or left out for one reason, which is counted."""
    ids = shop.live(300, 9)
    shop.predict(customers(50, 5), 5)
    shop.report(ids[:7], ["no"] * 7, 4)
    shop.report(["abcdefgh-0-310"], ["perhaps"], 4)
    report = gather(shop.champion, asked(shop)).report
    [version] = report.versions
    left_out = version.without_truth + version.repeated + version.unfit + version.refused
    assert (version.rows, version.without_truth, version.unfit) == (350, 49, 1)
    assert left_out + version.trained + version.held_out == version.rows
    assert (report.base.rows, report.base.trained) == (300, 300)
    assert any("contradicts the first one" in note.text for note in report.notes)


def test_newest_rows_are_held_out(shop):
    """The newest fifth of the log is held out, and at least 100 rows; the base table never is."""
    for day, count in ((9, 200), (2, 300), (5, 300)):
        shop.live(count, day)
    material = gather(shop.champion, asked(shop))
    assert len(material.new) == 160
    assert material.old.times.max() < material.new.times.min() == material.start
    assert not set(material.old.ids) & set(material.new.ids)
    assert len(material.frame) == 300 + 640
    assert len(gather(shop.champion, asked(shop, held_out=0.01)).new) == 100


def test_since(shop):
    """Rows that were predicted before the moment do not count."""
    shop.live(300, 9)
    shop.live(250, 2)
    report = gather(shop.champion, asked(shop, since=window.moment("3d", time.time()))).report
    assert report.versions[0].rows == 250


@pytest.mark.parametrize(
    ("text", "moment"),
    [("30d", 1e9 - 30 * DAY), ("12h", 1e9 - 43_200), ("90m", 1e9 - 5_400), ("45s", 1e9 - 45)],
)
def test_spans(text, moment):
    """A span is counted back from now; a date begins in UTC."""
    assert window.moment(text, 1e9) == moment
    assert window.moment("1970-01-02", 1e9) == window.moment("1970-01-02T01:00+01:00", 1e9) == DAY
    with pytest.raises(DataError, match="is no moment: give a span"):
        window.moment(f"{text} ago", 1e9)


def test_too_few_rows(shop):
    """With fewer than 200 rows that have truth, nothing is trained."""
    shop.live(199, 3)
    with pytest.raises(DataError, match="199 rows whose truth is known, and at least 200 are needed"):
        gather(shop.champion, asked(shop))


KEY = b"0123456789abcdef"


@pytest.mark.parametrize(
    ("settings", "key", "reason"),
    [
        (Log(log_hash=("age", "city")), KEY, "log_hash has only hashes of 'age', 'city'"),
        (Log(log_columns=("age", "city")), None, "log_columns leaves 'income' out"),
    ],
)
def test_refused_columns(shop, settings, key, reason):
    """Rows of which a column is hashed or left out are refused, with its name and the setting."""
    ids = shop.predict(table := customers(220, 3), 4, settings, key)
    shop.report(ids, table["buys"], 3)
    with pytest.raises(DataError, match=f"220 rows of version 1 are refused: {reason}"):
        gather(shop.champion, asked(shop))
    shop.live(210, 2)
    report = gather(shop.champion, asked(shop)).report
    assert (report.versions[0].refused, len(report.refused)) == (220, 1)


def test_rows_of_the_log_in_the_base_table(shop):
    """Rows of a base table that came from the log are known by their ids; rows that are alike may repeat."""
    ids = shop.live(250, 3)
    table = customers(40, 8)
    table["_prediction_id"] = [*ids[-10:], *ids[-2:], *[""] * 28]
    table.loc[12:] = table.loc[12].to_numpy()
    table.to_csv(shop.base, index=False)
    material = gather(shop.champion, asked(shop, target=("buys",)))
    base = material.report.base
    assert (base.rows, base.repeated, base.logged, base.trained) == (40, 2, 10, 28)


def test_weights():
    """The weight of recent rows is a number above 0."""
    assert weights.recent("recent=2.5") == 2.5
    for text in ("recent=0", "recent=nan", "old=2", "2"):
        with pytest.raises(DataError, match="write recent=2"):
            weights.recent(text)


@pytest.mark.parametrize("newest", [False, True])
def test_poisoned_day(shop, newest):
    """A day of flipped labels between fine ones, or after them, is told and left out, unless it is wanted."""
    for day in (8, 7, 6, 5, 4):
        shop.live(150, day, flipped=day == (4 if newest else 6))
    material = gather(shop.champion, asked(shop))
    [batch] = [each for each in material.report.batches if each.contradicting]
    assert batch.left_out
    assert batch.right < 0.3
    assert material.report.versions[0].contradicting == 150
    assert len(gather(shop.champion, asked(shop, any_truth=True)).old) == 600


def test_world_that_stays_changed(shop):
    """Two days on which the champion is wrong are no poison: the world has changed."""
    for day in (8, 7, 6, 5):
        shop.live(150, day, flipped=day < 7)
    assert not any(each.contradicting for each in gather(shop.champion, asked(shop)).report.batches)


def predicted(table, first):
    """Rows of a log, one a second from the moment ``first`` on."""
    count, frame = len(table), table.drop(columns="buys").reset_index(drop=True)
    frame = frame.astype({name: object for name in frame if frame[name].dtype != np.float64})
    blank = np.full(count, "", np.str_)
    times = first + np.arange(count, dtype=np.float64)
    return Predicted(
        frame, table["buys"].to_numpy().astype(np.str_), blank, times, np.ones(count, np.int64), blank
    )


def leaks(shop, column, values, **more):
    """The notes about 400 customers with one more column; ``values`` makes it of their table."""
    table = customers(400, 6)
    table[column] = values(table)
    old, new = predicted(table[:300], 1e9), predicted(table[300:], 1e9 + 300)
    kind = "number" if table[column].dtype == np.float64 else "category"
    feature = Feature(name=column, kind=kind, missing=False, **more)
    champion = shop.champion.manifest
    champion = replace(champion, features=(*champion.features, feature))
    return list(leakage.notes(champion, ("buys",), old.frame, old, new))


DATE = Notation(date="year first", times=True)


@pytest.mark.parametrize(
    ("column", "values", "more", "expected"),
    [
        ("ticket", lambda table: np.cumsum(1.0 + np.arange(400) % 3), {}, "its whole numbers grow with time"),
        ("name", lambda table: [f"customer {n}" for n in range(400)], {}, "hardly a value is there twice"),
        ("paid", lambda table: (table["buys"] == "yes") * 9.5, {}, "'paid' alone tells 100.0% of the truth"),
        ("note", lambda table: table["buys"] + "!", {}, "'note' alone tells 100.0% of the truth"),
        ("left", lambda table: 1e9 + 900.0 * np.arange(400), {"notation": DATE}, "after the prediction in"),
    ],
)
def test_leaks_are_told(shop, column, values, more, expected):
    """Columns that name rows, tell the truth or come after the prediction are named; they end nothing."""
    notes = leaks(shop, column, values, **more)
    assert [expected in note.text for note in notes] == [True]
    assert not notes[0].stops


@pytest.mark.parametrize(
    ("column", "target"),
    [("buys", "buys"), ("__score_yes", "buys"), ("_prediction_id", "buys"), ("age", "_label")],
)
def test_answers_in_the_place_of_truth(shop, column, target):
    """The target or an answer among the features ends a retraining, and so does an answer as the target."""
    champion = shop.champion.manifest
    feature = Feature(name=column, kind="category", missing=False)
    named = replace(champion, features=(feature,))
    [note] = list(leakage._answers(named, (target,)))
    assert note.stops
    assert (target if column == "age" else column) in note.text


def test_equal_rows_are_told(shop):
    """The share of held-out rows that equal a row that is trained on is told."""
    shop.live(200, 4)
    table = customers(200, seed=1_000)
    ids = shop.predict(table[:50], 1)
    shop.report(ids, table["buys"][:50], 1)
    notes = gather(shop.champion, asked(shop)).report.notes
    assert any("(50.0%) equal a row that is trained on" in note.text for note in notes)
