"""The dashboard and the alert rules use metrics that exist, and each alert fires in a scene."""

import json
import re
import shutil
import subprocess
from itertools import combinations
from typing import Any

import pytest
from conftest import ROOT

DEPLOY = ROOT / "deploy"
ALERTS = (DEPLOY / "prometheus" / "alerts.yml").read_text("utf-8")
DASHBOARD = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text("utf-8"))
SCENES = [ROOT / "tests" / "alerts.yml", ROOT / "tests" / "alerts_slow.yml"]
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool is not installed: it comes with Prometheus (Debian: prometheus)"
)
# The endings of the series of a histogram.
PARTS = re.compile(r"_(bucket|sum|count)$")


def promtool(*arguments: object) -> None:
    completed = subprocess.run([PROMTOOL, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert completed.returncode == 0, completed.stdout + completed.stderr


def nested(document: Any, key: str) -> list[Any]:
    """Every value of a key at any depth."""
    inner = list(document.values()) if isinstance(document, dict) else document
    if not isinstance(inner, list):
        return []
    direct = [document[key]] if isinstance(document, dict) and key in document else []
    return direct + [value for part in inner for value in nested(part, key)]


def panels(*, rows: bool = False) -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if (panel["type"] == "row") == rows]


def placed() -> list[tuple[str, str]]:
    """The row and the title of each panel."""
    found, row = [], ""
    for panel in DASHBOARD["panels"]:
        if panel["type"] == "row":
            row = panel["title"]
        else:
            found.append((row, panel["title"]))
    return found


def metrics(text: str) -> set[str]:
    """The names of metrics in a text; a name with a colon is that of a recording rule."""
    return {PARTS.sub("", name) for name in re.findall(r"(?<![\w:])unpickled_\w+(?![\w:])", text)}


def alerts() -> dict[str, str]:
    """Name of each alert -> its rule."""
    rules = re.split(r"(?m)^ {6}- (?=alert:|record:)", ALERTS)
    return {name: rule for rule in rules for name in re.findall(r"\Aalert: (\w+)", rule)}


@needs_promtool
def test_rules_are_sound():
    """Prometheus accepts the rules and their templates."""
    promtool("check", "rules", DEPLOY / "prometheus" / "alerts.yml")


@needs_promtool
@pytest.mark.parametrize("scenes", SCENES, ids=lambda path: path.stem)
def test_alerts_fire_when_they_should(scenes):
    """In each scene exactly the expected alerts fire, at the expected time."""
    promtool("test", "rules", scenes)


@needs_promtool
def test_queries_of_the_dashboard_parse(tmp_path):
    """Each query of the dashboard is PromQL once its variables are filled in."""
    queries = [query.replace("$__rate_interval", "5m") for query in nested(DASHBOARD, "expr")]
    rules = [
        {"record": f"query:{number}", "expr": re.sub(r"\$\w+", ".*", query)}
        for number, query in enumerate(queries)
    ]
    assert len(rules) > 40
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool("check", "rules", tmp_path / "rules.yml")


def test_every_alert_has_a_scene():
    """Each alert fires in a scene, and each scene expects alerts that exist."""
    scenes = [path.read_text("utf-8") for path in SCENES]
    assert {name for scene in scenes for name in re.findall(r'\{alertname="(\w+)"', scene)} == set(alerts())


@pytest.mark.parametrize("name", alerts())
def test_alerts_say_how_bad_and_what_to_do(name):
    """Each alert has a known severity, a delay, a summary, and a description with the remedy."""
    rule = alerts()[name]
    assert re.search(r"labels: \{severity: (critical|warning|info)\}", rule)
    assert re.search(r"(?m)^        for: \d+[mh]$", rule)
    assert re.search(r"(?m)^          summary: ", rule)
    assert len(rule.partition("description: ")[2]) > 100


def test_alerts_point_at_rows_of_the_dashboard():
    """Each row of the dashboard that an alert names exists."""
    rows = set(re.findall(r"[rR]ow\s+(\w+)\s+of\s+the\s+dashboard", ALERTS))
    assert len(rows) >= 4
    assert rows <= {row["title"] for row in panels(rows=True)}
    named = {(row, title) for title, row in re.findall(r"([A-Z][\w ]+), in row\s+(\w+)", ALERTS)}
    assert named
    assert named <= set(placed())


def test_no_panel_is_called_like_another_row():
    """A panel that has the title of a row lies in it: "Drift" is against training, wherever it is named."""
    titles = {row["title"] for row in panels(rows=True)}
    assert {(row, title) for row, title in placed() if title in titles} <= {(row, row) for row in titles}
    drifts = [rule for name, rule in alerts().items() if "Drift" in name]
    assert all("unpickled_drift_alarm" in rule for rule in drifts)


def test_only_metrics_that_exist(client):
    """Alerts and scenes use only exposed metrics, and the dashboard shows all of them."""
    exposed = set(re.findall(r"(?m)^# TYPE (\S+)", client.get("/metrics").get_data(as_text=True)))
    charted = metrics(json.dumps([nested(DASHBOARD, "expr"), nested(DASHBOARD, "query")]))
    assert charted == exposed
    scenes = [path.read_text("utf-8") for path in SCENES]
    assert metrics("\n".join([ALERTS, *scenes])) <= exposed


def test_panels_have_places_of_their_own():
    """No two panels share an id or a cell of the grid, and none sticks out."""
    everything = DASHBOARD["panels"]
    assert len({panel["id"] for panel in everything}) == len(everything)
    for place in (panel["gridPos"] for panel in everything):
        assert 0 <= place["x"] < place["x"] + place["w"] <= 24
    for first, second in combinations(everything, 2):
        assert apart(first["gridPos"], second["gridPos"]), (first["title"], second["title"])


def apart(first: dict[str, int], second: dict[str, int]) -> bool:
    """Whether two places of the grid have no cell in common."""
    return any(
        low[start] + low[size] <= high[start]
        for start, size in (("x", "w"), ("y", "h"))
        for low, high in ((first, second), (second, first))
    )


def test_the_dashboard_belongs_to_no_grafana():
    """The dashboard has a variable for its data source, and uses no variable that it does not define."""
    sources = nested(DASHBOARD["panels"], "datasource") + nested(DASHBOARD["templating"], "datasource")
    assert {source["uid"] for source in sources} == {"${datasource}"}
    assert DASHBOARD["id"] is None
    defined = {variable["name"] for variable in DASHBOARD["templating"]["list"]} | {"__rate_interval"}
    assert set(re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD))) - {"__all"} == defined


def test_panels_are_explained():
    """Each panel has a title, a description, and queries with different names."""
    for panel in panels():
        assert panel["title"]
        assert len(panel["description"]) > 20
        names = [query["refId"] for query in panel["targets"]]
        assert len(set(names)) == len(names) > 0
