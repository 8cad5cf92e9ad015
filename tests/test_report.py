"""The document of a run, and the report made from it: README's block, Markdown, the page and the charts."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree

import pytest
from conftest import ROOT
from msgspec import structs

from benchmarks import units
from benchmarks.errors import BenchmarkError
from benchmarks.reporting import apart, charts, formats, markdown, readme, report, scrutiny
from benchmarks.reporting.crossovers import batch_crossover, compute_crossover
from benchmarks.reporting.figures import REQUESTS, Figures
from benchmarks.reporting.losses import losses
from benchmarks.reporting.repeats import reported
from benchmarks.reporting.targets import outcomes
from benchmarks.results import (
    Alone,
    Batch,
    Commit,
    Compute,
    Latency,
    Machine,
    Model,
    Run,
    Saturation,
    Server,
    Stages,
    Start,
    read,
    read_all,
)

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
MARKERS = (markdown.begin(readme.BLOCK), markdown.end(readme.BLOCK))
README = f"# A project\n\n{MARKERS[0]}\nold\n{MARKERS[1]}\n\nThe rest.\n"
SERVERS = {
    "unpickled": Server(title="Unpickled", group="ours", artifact="onnx"),
    "floor": Server(title="does nothing", group="floor"),
    "tutorial": Server(title="tutorial: Flask | pickle", group="baseline", artifact="pickle"),
    "flask-onnx": Server(title="plain <Flask>", group="baseline", artifact="onnx"),
    "other": Server(title="Another", group="peer", artifact="pickle"),
}
SPEED = {"unpickled": 5e4, "floor": 8e4, "tutorial": 1e3, "flask-onnx": 2e4, "other": 900.0}
MACHINE = Machine(
    processor="A processor", cores=2, memory_mb=8000, system="Linux", server_core=0, generator_core=1
)
MODEL = Model(title="a model", estimator="any", features=4, classes=3, pickle_bytes=1000, onnx_bytes=4000)


def a_run(hour: int = 0, kind: str = "all", speed: dict[str, float] = SPEED, finished: bool = True) -> Run:
    """One model, three repetitions, every measure; speed is in requests/s."""
    run = Run(
        kind=kind,
        started=NOON + timedelta(hours=hour),
        machine=MACHINE,
        versions={"python": "3.11.7"},
        commit=Commit(id="0123456789abcdef", clean=True),
        options={"repeats": 3, "connections": 32},
        generators={"saturation": "wrk", "latency": "locust"},
        models={"iris": MODEL},
        servers=SERVERS,
    )
    for repeat, factor in enumerate((0.98, 1.0, 1.03)):
        for server, requests_per_s in speed.items():
            measure(run, server, repeat, requests_per_s * factor)
        compute(run, repeat)
    stages = {"read": 0.2, "run": 2.7, "rest": 1.5}
    key = {"model": "iris", "server": "unpickled", "repeat": 0}
    run.add(Stages(**key, stages=stages, total_us=4.4, floor_cpu_us=11.4, server_cpu_us=17.7))
    if finished:
        run.finish()
    return run


def with_another_model(hour: int) -> Run:
    """A run of the baselines with a second model, measured as the first was."""
    run = a_run(hour, "baselines")
    run.models = {**run.models, "second": structs.replace(MODEL, title="another model")}
    run.records += [structs.replace(record, model="second") for record in run.records]
    return run


def measure(run: Run, server: str, repeat: int, speed: float) -> None:
    """Add records of one server, all derived from its requests/s."""
    key, us = {"model": "iris", "server": server, "repeat": repeat}, 1e6 / speed
    busy = 0.99 if server == "floor" else 0.5
    load = {"connections": 32, "seconds": 3.0, "requests": 9000, "generator_busy": busy}
    run.add(Start(**key, ready_s=0.3, rss_mb=80.0, tree_mb=90.0, processes=2))
    run.add(Saturation(**key, **load, requests_per_s=speed, cpu_us=us, p50_us=20 * us, p99_us=40 * us))
    run.add(Alone(**key, requests_per_s=speed / 2, p50_us=2 * us, p99_us=3 * us))
    times = {"p50_us": 2 * us, "p90_us": 3 * us, "p99_us": 5 * us, "max_us": 9 * us, "late_p99_us": 1.0}
    for rate, half_of in ((100.0, None), (500.0, "tutorial"), (1000.0, None)):
        sent = {"rate": rate, "half_of": half_of, "seconds": 4.0, "requests": 2000, "achieved": rate}
        run.add(Latency(**key, **sent, **times))
    for rows, a_row in ((1, 10.0), (1000, 12.0 if server == "unpickled" else 11.0)):
        per_s = 1e6 / (us + rows * a_row)
        run.add(Batch(**key, rows=rows, requests_per_s=per_s, rows_per_s=rows * per_s))


def compute(run: Run, repeat: int) -> None:
    """Add the time of one call in process; scikit-learn is faster from 486 rows on."""
    for rows in (1, 100, 1000):
        for server, call, a_row in (("onnxruntime", 3.0, 0.3), ("scikit-learn", 100.0, 0.1)):
            us = call + a_row * rows
            run.add(Compute(model="iris", server=server, repeat=repeat, rows=rows, us=us))


def stored(folder: Path) -> Path:
    """A folder with the results of two runs, beside a README with markers."""
    (folder / "README.md").write_text(README)
    for hour in (0, 1):
        a_run(hour).save(folder / "results")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The results of two runs, from which a test writes a report."""
    return stored(tmp_path)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Name -> path of the files of a report."""
    folder = stored(tmp_path_factory.mktemp("report"))
    return {path.name: path for path in report.write(folder / "results", folder / "README.md")}


def test_readme_agrees_with_the_stored_results():
    """The lines between README's markers are those that the newest documents in benchmarks/results give."""
    assert report.README.read_text("utf-8") == readme.text(report.README, report.RESULTS)


def test_stored_report_agrees_with_the_stored_results():
    """The stored report.md is the one the documents give, and every file that README links to exists."""
    runs = read_all(report.RESULTS)
    run = reported(runs)
    text = report.text(runs, run, charts.draw(Figures(run)))
    assert (report.RESULTS / "report.md").read_text("utf-8") == text
    links = re.findall(r"\]\((benchmarks/results/[^)#]*)[^)]*\)", report.README.read_text("utf-8"))
    assert links
    assert all((ROOT / name).is_file() for name in links)


def test_formats_agree_with_the_stored_results():
    """The documentation's table of forms is the one that the stored figures give."""
    page = markdown.holder(ROOT, formats.LATEST.name)
    assert page.read_text("utf-8") == formats.LATEST.page_text(page)


@pytest.mark.parametrize("page", ["README.md", "docs/howto/measuring.md"])
def test_the_page_of_a_block(tmp_path, page):
    """A block is in README or on one page of the documentation, wherever its markers are."""
    (tmp_path / page).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "README.md").write_text("# A project\n")
    (tmp_path / page).write_text(README)
    assert markdown.holder(tmp_path, readme.BLOCK) == tmp_path / page
    (tmp_path / "docs" / "other").mkdir(parents=True)
    (tmp_path / "docs" / "other" / "page.md").write_text(README)
    with pytest.raises(BenchmarkError, match=r"one of README\.md and docs"):
        markdown.holder(tmp_path, readme.BLOCK)


def test_a_document_survives_writing_and_reading(tmp_path):
    """A saved run reads back unchanged; the file is named after kind and time and has a record a line."""
    run = a_run()
    path = run.save(tmp_path)
    assert path.name == "all-20261120-120000.json"
    assert read(path) == run
    assert sum(line.startswith('  {"measure"') for line in path.read_text().splitlines()) == len(run.records)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_an_interrupted_run_keeps_what_was_measured(tmp_path):
    """The document of an interrupted run says so, and is reported where there is no better one."""
    run = a_run(finished=False)
    stored = read(run.save(tmp_path))
    assert not stored.complete
    assert len(stored.records) == len(run.records)
    assert "Interrupted. A processor" in readme.block([stored], "results")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "is not a results document"),
        ("[1]", "is not a results document"),
        ('{"schema": 2}', "has schema 2, this reads schema 1"),
        ('{"schema": 1}', "is not a results document"),
        ('{"schema": 1, "kind": "some"}', "is not a results document"),
    ],
)
def test_a_broken_document_is_refused(tmp_path, text, sentence):
    """The error names the file and what is wrong with it."""
    path = tmp_path / "all-1.json"
    path.write_text(text)
    with pytest.raises(BenchmarkError, match=sentence) as caught:
        read_all(tmp_path)
    assert str(path) in str(caught.value)


def test_a_figure_that_is_no_number_is_refused():
    """A record with such a figure is not added, so the document stays readable."""
    run = a_run()
    count = len(run.records)
    broken = Alone(model="iris", server="other", repeat=0, requests_per_s=float("nan"), p50_us=1.0)
    with pytest.raises(BenchmarkError, match="alone of other with iris"):
        run.add(broken)
    assert len(run.records) == count


def test_medians_spread_and_ratios():
    """A figure is the median of the repetitions, with their range; a ratio is Unpickled / other."""
    figures = Figures(a_run())
    figure = figures.of(REQUESTS, "iris", "tutorial")
    assert (figure.median, figure.low, figure.high) == (1000.0, 980.0, 1030.0)
    assert figures.ratio(REQUESTS, "iris", "tutorial") == 50
    assert figures.of(REQUESTS, "iris", "nobody") is None


def test_the_run_that_is_reported():
    """The newest of the widest complete runs is reported, an interrupted one for want of any."""
    old, new, broken = a_run(0), a_run(1), a_run(2, finished=False)
    baselines = a_run(3, "baselines")
    assert reported([baselines, broken, new, old]) is new
    assert reported([baselines, broken]) is baselines
    assert reported([broken]) is broken
    narrow, once = a_run(4), a_run(5)
    narrow.servers, once.options = {"unpickled": SERVERS["unpickled"]}, {"repeats": 1}
    assert reported([once, narrow, new, old]) is new
    assert reported([]) is None


def test_models_that_the_reported_run_leaves_out():
    """Each is shown from the newest complete run that has it, by itself, and named in README's block."""
    run, older, newer = a_run(0), with_another_model(1), with_another_model(2)
    broken = with_another_model(3)
    broken.complete = False
    (part,) = apart.remaining([broken, newer, older, run], run)
    assert (part.started, list(part.models)) == (newer.started, ["second"])
    assert {record.model for record in part.records} == {"second"}
    shown = report.text([newer, run], run, {}).partition("## Models measured apart")[2]
    assert f"{newer.started:%Y-%m-%d %H:%M} UTC" in shown
    assert ("**another model" in shown, "**a model" in shown) == (True, False)
    assert "in other runs: another model, 50x." in readme.block([newer, run], "results")
    assert apart.remaining([newer, run], newer) == []


def test_targets_are_met_or_not():
    """The table has each target with the ratio that is wanted and the one that was measured."""
    run = a_run()
    missed = [outcome for outcome in outcomes(Figures(run)) if outcome.missed]
    assert [(outcome.target.server, outcome.target.limit) for outcome in missed] == [("flask-onnx", 4)]
    assert "| requests/s, plain \\<Flask\\> | ≥ 4x | **2.5x missed** |" in report.text([run], run, {})
    assert ("4 of 5", "targets met") in scrutiny.summary([run], run)


def test_losses_are_listed():
    """The table has every figure in which another is better, but none of the floor."""
    run = a_run()
    rows = {(loss.title, loss.server) for loss in losses(Figures(run)) if loss.title.startswith("rows/s")}
    assert rows == {("rows/s, batches of 1,000", SERVERS[name].title) for name in ("tutorial", "flask-onnx")}
    text = report.text([run], run, {}).partition("## Where others are better")[2].partition("\n## ")[0]
    assert "size of the file | a model | pickle | 1 kB | 4 kB | 4.00x" in text
    assert "one call in process, 1,000 rows | a model | scikit-learn | 200 us | 303 us | 1.51x" in text
    assert "does nothing" not in text


def test_crossovers():
    """A crossover is given by the two sizes of batches around it."""
    figures = Figures(a_run())
    assert str(compute_crossover(figures, "iris")) == "between 100 and 1,000 rows"
    title = SERVERS["tutorial"].title
    assert str(batch_crossover(figures, "iris")) == f"between 1 and 1,000 rows ({title})"
    only_onnx = {name: speed for name, speed in SPEED.items() if name != "tutorial"}
    assert str(batch_crossover(Figures(a_run(speed=only_onnx)), "iris")) == "none up to 1,000 rows"


@pytest.mark.parametrize(
    ("tutorial", "throughput", "p99"),
    [(1_000.0, "4 of 4", "1 of 1"), (950.0, "4 of 4", "1 of 1"), (800.0, "3 of 4", "0 of 1")],
)
def test_repeatability(tutorial, throughput, p99):
    """A ratio is repeated when two runs of the same kind differ by a tenth at most."""
    old, new = a_run(0), a_run(1, speed={**SPEED, "tutorial": tutorial})
    counts = {question: count for count, question in scrutiny.summary([new, old], new)}
    assert counts["ratios of requests/s that a second run repeats within 10%"] == throughput
    assert counts["ratios of p99 that a second run repeats within 10%"] == p99
    assert "not the same in both" not in report.text([new, old], new, {})


def test_versions_that_differ_between_two_runs():
    """Two runs of different commits or versions are compared, and the differences are listed."""
    old, new = a_run(0), a_run(1)
    new.commit, new.versions = Commit(id="fedcba9876543210", clean=True), {"python": "3.12.1"}
    text = report.text([new, old], new, {})
    assert "| commit | fedcba987654 | 0123456789ab |" in text
    assert "| python | 3.12.1 | 3.11.7 |" in text


def test_runs_that_are_no_repetition():
    """Neither another kind of run nor an interrupted one nor another machine is compared."""
    run, elsewhere = a_run(3), a_run(2)
    elsewhere.machine = Machine(processor="Another", cores=2, memory_mb=8000, system="Linux")
    runs = [run, elsewhere, a_run(1, "baselines"), a_run(0, finished=False)]
    assert ("none", "second run to compare with") in scrutiny.summary(runs, run)
    assert "## Repeatability" not in report.text(runs, run, {})


def test_everything_is_written(files):
    """The report, the page, the charts and README's block are written; writing again changes nothing."""
    contents = {name: path.read_bytes() for name, path in files.items()}
    assert {"README.md", "report.md", "report.html", "throughput.svg", "latency.svg"} <= set(contents)
    results = files["report.md"].parent
    report.write(results, files["README.md"])
    assert {name: path.read_bytes() for name, path in files.items()} == contents
    text = files["README.md"].read_text()
    assert text.startswith("# A project\n")
    assert text.endswith("\n\nThe rest.\n")
    assert "old" not in text
    assert text == readme.text(files["README.md"], results)


def test_the_page_is_self_contained(files):
    """The page has no address, no script and loads nothing; texts are escaped, and ids are unique."""
    page = files["report.html"].read_text()
    assert not re.search(r"<(script|link|img|iframe)|@import|url\((?!#)", page)
    assert not re.findall(r"(?:src|href)=\"(?!#)", page)
    assert "plain &lt;Flask&gt;" in page
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_charts_are_pictures_for_light_and_dark(files):
    """Each chart is well-formed SVG with a title, text that is text, and colours for dark pages."""
    for path in (path for name, path in files.items() if name.endswith(".svg")):
        root = ElementTree.parse(path).getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert root.findtext("{http://www.w3.org/2000/svg}title")
        assert "<text" in path.read_text()
        assert "prefers-color-scheme: dark" in path.read_text()


def test_servers_without_figures():
    """A server without figures is in the report with the reason, and the others are reported as ever."""
    run = a_run(speed={name: speed for name, speed in SPEED.items() if name != "other"})
    run.fail("other", None, "install", "pip found no version | of it")
    text = report.text([run], run, {})
    assert "| Another | every model | **installation** | pip found no version \\| of it |" in text
    assert "| requests/s, Another | ≥ 10x | not measured |" in text
    assert "| 1 | servers that did not run |" in text


def test_requests_that_failed():
    """A latency with failed requests is marked, meets no target and counts as a loss."""
    run = a_run()
    for record in run.records:
        if isinstance(record, Latency) and record.server == "unpickled" and record.half_of:
            record.failures = 2
    [latency] = [outcome for outcome in outcomes(Figures(run)) if outcome.target.at]
    assert latency.missed
    assert "failed requests at 500 requests/s" in {loss.title for loss in losses(Figures(run))}
    assert "40 us / 100 us (6 failed)" in report.text([run], run, {})


def test_memory_of_all_processes():
    """The memory of the largest process and of all together is in the report, and both are compared."""
    run = a_run()
    for record in run.records:
        if isinstance(record, Start) and record.server == "unpickled":
            record.tree_mb = 99.0
    assert "80 MiB / 99 MiB" in report.text([run], run, {})
    assert "memory, all processes" in {loss.title for loss in losses(Figures(run))}


def test_where_the_generator_was_the_limit():
    """A rate for which the generator had no time left is listed."""
    assert "| a model | does nothing | 99.0% |" in report.text([a_run()], a_run(), {})


def test_a_run_that_has_just_begun():
    """A run without figures has a report too."""
    run = a_run(speed={})
    run.records.clear()
    assert "## How it was measured" in report.text([run], run, {})
    assert "0 of 0" in report.page([run], run, {})


def test_without_results(tmp_path):
    """README's block says that there are no results; a report is refused with the remedy."""
    page = tmp_path / "README.md"
    page.write_text(README)
    assert readme.NONE in readme.text(page, tmp_path)
    with pytest.raises(BenchmarkError, match=r"no results in .*python -m benchmarks run"):
        report.write(tmp_path, page)


def test_a_folder_of_its_own(folder):
    """Without a README only the report is written; a report that cannot be written is one sentence."""
    assert "README.md" not in {path.name for path in report.write(folder / "results", None)}
    assert (folder / "README.md").read_text() == README
    (folder / "results" / "report.md.part").mkdir()
    with pytest.raises(BenchmarkError, match=r"report\.md\.part cannot be written: Is a directory"):
        report.write(folder / "results", None)


def test_without_markers(folder):
    """A README without markers is named, and nothing is written."""
    (folder / "README.md").write_text("# A project\n")
    with pytest.raises(BenchmarkError, match=r"README\.md has no place for the benchmarks"):
        report.write(folder / "results", folder / "README.md")
    assert not list((folder / "results").glob("report.*"))


@pytest.mark.parametrize(
    ("figure", "text"),
    [
        (units.number(56_123.4), "56,100"),
        (units.number(12.4), "12"),
        (units.number(0.6512), "0.65"),
        (units.number(999.9), "1,000"),
        (units.duration(79.2), "79 us"),
        (units.duration(999.9), "1 ms"),
        (units.duration(21_400), "21 ms"),
        (units.seconds(1.13), "1.1 s"),
        (units.size(1310), "1.3 kB"),
        (units.memory(24105), "23.5 GiB"),
        (units.times(412.3), "412x"),
    ],
)
def test_figures_as_people_read_them(figure, text):
    """Two digits below 100, three from there on, in the unit that fits."""
    assert figure == text
