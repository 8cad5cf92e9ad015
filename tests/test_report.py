"""The results document, and what is made of it: README's block, the Markdown file, the page, the charts."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree

import pytest
from conftest import ROOT

from benchmarks import units
from benchmarks.errors import BenchmarkError
from benchmarks.reporting import findings, report
from benchmarks.reporting.crossovers import batch_crossover, compute_crossover
from benchmarks.reporting.figures import REQUESTS, Figures
from benchmarks.reporting.repeats import shown
from benchmarks.reporting.verdicts import losses, outcomes
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
PLACE = f"# A project\n\n{report.BEGIN}\nold\n{report.END}\n\nThe rest.\n"
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
    who = {"model": "iris", "server": "unpickled", "repeat": 0}
    run.add(Stages(**who, stages=stages, total_us=4.4, floor_cpu_us=11.4, server_cpu_us=17.7))
    if finished:
        run.finish()
    return run


def measure(run: Run, server: str, repeat: int, speed: float) -> None:
    """Figures of one server that follow from how many requests/s it answers."""
    who, us = {"model": "iris", "server": server, "repeat": repeat}, 1e6 / speed
    busy = 0.99 if server == "floor" else 0.5
    load = {"connections": 32, "seconds": 3.0, "requests": 9000, "generator_busy": busy}
    run.add(Start(**who, ready_s=0.3, rss_mb=80.0, tree_mb=90.0, processes=2))
    run.add(Saturation(**who, **load, requests_per_s=speed, cpu_us=us, p50_us=20 * us, p99_us=40 * us))
    run.add(Alone(**who, requests_per_s=speed / 2, p50_us=2 * us, p99_us=3 * us))
    took = {"p50_us": 2 * us, "p90_us": 3 * us, "p99_us": 5 * us, "max_us": 9 * us, "late_p99_us": 1.0}
    for rate, half_of in ((100.0, None), (500.0, "tutorial"), (1000.0, None)):
        sent = {"rate": rate, "half_of": half_of, "seconds": 4.0, "requests": 2000, "achieved": rate}
        run.add(Latency(**who, **sent, **took))
    for rows, a_row in ((1, 10.0), (1000, 12.0 if server == "unpickled" else 11.0)):
        each = 1e6 / (us + rows * a_row)
        run.add(Batch(**who, rows=rows, requests_per_s=each, rows_per_s=rows * each))


def compute(run: Run, repeat: int) -> None:
    for rows in (1, 100, 1000):
        for server, call, a_row in (("onnxruntime", 3.0, 0.3), ("scikit-learn", 100.0, 0.1)):
            took = call + a_row * rows
            run.add(Compute(model="iris", server=server, repeat=repeat, rows=rows, us=took))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Results of two runs, beside a README with a place for them."""
    (tmp_path / "README.md").write_text(PLACE)
    for hour in (0, 1):
        a_run(hour).save(tmp_path / "results")
    return tmp_path


def test_readme_agrees_with_the_stored_results():
    """What README shows between the markers is made from the newest documents in benchmarks/results."""
    assert report.README.read_text("utf-8") == report.readme_text()


def test_stored_report_agrees_with_the_stored_results():
    """So does report.md, and the pictures that both show are there."""
    runs = read_all(report.RESULTS)
    if run := shown(runs):
        assert (report.RESULTS / "report.md").read_text("utf-8") == report.markdown(runs, run)
    text = report.README.read_text("utf-8")
    linked = re.findall(r"\]\((benchmarks/results/[^)#]*)[^)]*\)", text)
    assert all((ROOT / name).is_file() for name in linked)


def test_a_document_survives_writing_and_reading(tmp_path):
    """What is saved reads back as it was, under a name that says kind and time, one record a line."""
    run = a_run()
    path = run.save(tmp_path)
    assert path.name == "all-20261120-120000.json"
    assert read(path) == run
    assert sum(line.startswith('  {"measure"') for line in path.read_text().splitlines()) == len(run.records)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_an_interrupted_run_keeps_what_was_measured(tmp_path):
    """A document that is not finished says so, and is shown for want of a better one."""
    run = a_run(finished=False)
    path = run.save(tmp_path)
    found = read(path)
    assert not found.complete
    assert len(found.records) == len(run.records)
    assert "An interrupted run." in report.block([found], "results")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not a results document"),
        ("[1]", "is not a results document"),
        ('{"schema": 2}', "has schema 2, this reads schema 1"),
        ('{"schema": 1}', "is not a results document"),
        ('{"schema": 1, "kind": "some"}', "is not a results document"),
    ],
)
def test_what_is_no_document_is_refused(tmp_path, text, said):
    """One sentence with the path and what is wrong."""
    path = tmp_path / "all-1.json"
    path.write_text(text)
    with pytest.raises(BenchmarkError, match=said) as caught:
        read_all(tmp_path)
    assert str(path) in str(caught.value)


def test_a_figure_that_is_none_is_refused():
    """A record with a figure that is not a number is not taken, so that the document stays readable."""
    run = a_run()
    count = len(run.records)
    broken = Alone(model="iris", server="other", repeat=0, requests_per_s=float("nan"), p50_us=1.0)
    with pytest.raises(BenchmarkError, match="alone of other with iris"):
        run.add(broken)
    assert len(run.records) == count


def test_medians_spread_and_ratios():
    """The middle repetition counts, the outer two are the spread; ratios are Unpickled / other."""
    figures = Figures(a_run())
    found = figures.of(REQUESTS, "iris", "tutorial")
    assert (found.median, found.low, found.high) == (1000.0, 980.0, 1030.0)
    assert figures.ratio(REQUESTS, "iris", "tutorial") == 50
    assert figures.of(REQUESTS, "iris", "nobody") is None


def test_which_run_is_shown():
    """The newest of the widest complete runs, of everything before the baselines, else an interrupted one."""
    old, new, broken = a_run(0), a_run(1), a_run(2, finished=False)
    baselines = a_run(3, "baselines")
    assert shown([baselines, broken, new, old]) is new
    assert shown([baselines, broken]) is baselines
    assert shown([broken]) is broken
    narrow, once = a_run(4), a_run(5)
    narrow.servers, once.options = {"unpickled": SERVERS["unpickled"]}, {"repeats": 1}
    assert shown([once, narrow, new, old]) is new
    assert shown([]) is None


def test_targets_are_met_or_not():
    """A shortfall is in the report, in README and in the table, with what was wanted."""
    run = a_run()
    short = [outcome for outcome in outcomes(Figures(run)) if outcome.short]
    assert [(outcome.target.server, outcome.target.wanted) for outcome in short] == [("flask-onnx", 4)]
    said = "requests/s, plain \\<Flask\\> with a model, 2.5x where ≥ 4x was wanted"
    assert said in joined(report.block([run], "."))
    assert "| requests/s, plain \\<Flask\\> | ≥ 4x | **2.5x short** |" in report.markdown([run], run)
    assert ("4 of 5", "targets met") in findings.facts([run], run)


def joined(text: str) -> str:
    """A wrapped paragraph in one line."""
    return " ".join(text.split())


def test_losses_are_computed():
    """Everything in which another is better is listed, the floor apart from them."""
    run = a_run()
    found = {(loss.title, loss.server) for loss in losses(Figures(run))}
    assert found == {("rows/s, batches of 1,000", SERVERS[name].title) for name in ("tutorial", "flask-onnx")}
    text = report.markdown([run], run).partition("## Where it is not faster")[2].partition("\n## ")[0]
    assert "size of the file | a model | pickle | 1 kB | 4 kB | 4.00x" in text
    assert "one call in process, 1,000 rows | a model | scikit-learn | 200 us | 303 us | 1.51x" in text
    assert "does nothing" in text
    assert "| does nothing" not in text


def test_crossovers():
    """The sizes between which scikit-learn catches up, or that it does not."""
    figures = Figures(a_run())
    assert str(compute_crossover(figures, "iris")) == "scikit-learn catches up between 100 and 1,000 rows"
    assert str(batch_crossover(figures, "iris")).endswith("pickle catches up between 1 and 1,000 rows")
    only_onnx = {name: speed for name, speed in SPEED.items() if name != "tutorial"}
    found = batch_crossover(Figures(a_run(speed=only_onnx)), "iris")
    assert str(found) == "no crossover up to 1,000 rows"


@pytest.mark.parametrize(
    ("tutorial", "said"),
    [
        (1_000.0, "agree within 0.0%"),
        (950.0, "agree within 5.3%"),
        (800.0, "did NOT agree within 10% in 1 of 4 ratios of requests/s"),
        (800.0, "They did NOT agree within 10% in 1 of 1 ratios of p99"),
    ],
)
def test_repeatability(tutorial, said):
    """Two runs of the same kind agree when no ratio differs by more than a tenth; p99 is judged apart."""
    old, new = a_run(0), a_run(1, speed={**SPEED, "tutorial": tutorial})
    assert said in findings.agreement([new, old], new)
    assert "not made with the same" not in findings.agreement([new, old], new)


def test_repeated_with_something_else():
    """Two runs of different commits or versions are compared, and what differs is said."""
    old, new = a_run(0), a_run(1)
    new.commit, new.versions = Commit(id="fedcba9876543210", clean=True), {"python": "3.12.1"}
    said = "not made with the same: commit (0123456789ab, fedcba987654); python (3.11.7, 3.12.1)."
    assert said in findings.agreement([new, old], new)


def test_one_run_is_no_repetition():
    """Neither another kind nor an interrupted run nor another machine is compared."""
    run, elsewhere = a_run(3), a_run(2)
    elsewhere.machine = Machine(processor="Another", cores=2, memory_mb=8000, system="Linux")
    others = [elsewhere, a_run(1, "baselines"), a_run(0, finished=False)]
    assert findings.agreement([run, *others], run).startswith("There is one run only")


def test_everything_is_written(folder):
    """The report, the page, the charts and README's block; writing again changes nothing."""
    paths = report.write(folder / "results", folder / "README.md")
    written = {path.name: path.read_bytes() for path in paths}
    assert {"README.md", "report.md", "report.html", "throughput.svg", "latency.svg"} <= set(written)
    report.write(folder / "results", folder / "README.md")
    assert {path.name: path.read_bytes() for path in paths} == written
    readme = (folder / "README.md").read_text()
    assert readme.startswith("# A project\n")
    assert readme.endswith("\n\nThe rest.\n")
    assert "old" not in readme
    assert readme == report.readme_text(folder / "README.md", folder / "results")


def test_the_page_is_self_contained(folder):
    """No address, no script, nothing loaded; what results say is escaped, and ids are unique."""
    report.write(folder / "results", folder / "README.md")
    page = (folder / "results" / "report.html").read_text()
    assert not re.search(r"<(script|link|img|iframe)|@import|url\((?!#)", page)
    assert not re.findall(r"(?:src|href)=\"(?!#)", page)
    assert "plain &lt;Flask&gt;" in page
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_charts_are_pictures_for_light_and_dark(folder):
    """Each is well-formed SVG with a title, text that is text, and its colours on dark pages."""
    report.write(folder / "results", folder / "README.md")
    for path in (folder / "results").glob("*.svg"):
        root = ElementTree.parse(path).getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert root.findtext("{http://www.w3.org/2000/svg}title")
        assert "<text" in path.read_text()
        assert "prefers-color-scheme: dark" in path.read_text()


def test_failures_are_shown():
    """A server without figures is in the report with its reason, and the others are reported all the same."""
    run = a_run(speed={name: speed for name, speed in SPEED.items() if name != "other"})
    run.fail("other", None, "install", "pip found no version | of it")
    text = report.markdown([run], run)
    assert "| Another | every model | **was not installed** | pip found no version \\| of it |" in text
    assert "| requests/s, Another | ≥ 10x | not measured |" in text
    block = joined(report.block([run], "."))
    assert "Without all figures: Another was not installed." in block
    assert "; 1 target not measured." in block


def test_requests_that_failed():
    """A latency of requests of which some failed is marked, meets no target and is a loss."""
    run = a_run()
    for record in run.records:
        if isinstance(record, Latency) and record.server == "unpickled" and record.half_of:
            record.failures = 2
    [target] = [found for found in outcomes(Figures(run)) if found.target.at]
    assert target.short
    assert "failed requests" in {loss.kind for loss in losses(Figures(run))}
    assert "40 us / 100 us (6 failed)" in report.markdown([run], run)


def test_memory_of_all_processes():
    """The largest process and all together are shown, and both are compared."""
    run = a_run()
    for record in run.records:
        if isinstance(record, Start) and record.server == "unpickled":
            record.tree_mb = 99.0
    assert "80 MiB / 99 MiB" in report.markdown([run], run)
    assert "memory, all processes" in {loss.kind for loss in losses(Figures(run))}
    assert "memory, all processes with a model, 90 MiB (" in joined(report.block([run], "."))


def test_where_the_generator_was_the_limit():
    """A generator that had no time left is named beside the figure."""
    text = report.markdown([a_run()], a_run())
    assert "| does nothing | the generator was busy 99% of the time: it could do more" in text


def test_little_was_measured():
    """A run that has just begun makes a report, too."""
    run = a_run(speed={})
    run.records.clear()
    assert "## How it was measured" in report.markdown([run], run)
    assert "No target was measured." not in report.page([run], run, [])


def test_without_results(tmp_path):
    """The block says that there are none; writing a report is refused with the remedy."""
    readme = tmp_path / "README.md"
    readme.write_text(PLACE)
    assert report.NONE in report.readme_text(readme, tmp_path)
    with pytest.raises(BenchmarkError, match=r"no results in .*python -m benchmarks run"):
        report.write(tmp_path, readme)


def test_a_folder_of_its_own(folder):
    """Without a README its report is written and nothing else; where it cannot be, one sentence says so."""
    assert "README.md" not in {path.name for path in report.write(folder / "results", None)}
    assert (folder / "README.md").read_text() == PLACE
    (folder / "results" / "report.md.part").mkdir()
    with pytest.raises(BenchmarkError, match=r"report\.md\.part cannot be written: Is a directory"):
        report.write(folder / "results", None)


def test_without_markers(folder):
    """A README without a place for the block is named, and nothing is written."""
    (folder / "README.md").write_text("# A project\n")
    with pytest.raises(BenchmarkError, match=r"README\.md has no place for the results"):
        report.write(folder / "results", folder / "README.md")
    assert not list((folder / "results").glob("report.*"))


@pytest.mark.parametrize(
    ("written", "text"),
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
        (units.listed(["a", "b", "c"]), "a, b and c"),
    ],
)
def test_figures_as_people_read_them(written, text):
    """Two digits below 100, three from there on, in the unit that fits."""
    assert written == text
