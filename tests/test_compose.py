"""The server, Prometheus and Grafana of deploy/compose: files that agree, and programs that take them."""

import json
import re
import shutil
import sys
import urllib.request
from pathlib import PurePosixPath
from urllib.parse import quote

import pytest
import yaml
from conftest import ROOT, environment, eventually, free_port, run, serving, started

from unpickled.server.config import FIELDS, Listening

DEPLOY = ROOT / "deploy"
FOLDER = DEPLOY / "compose"
CONTAINERFILE = DEPLOY / "Containerfile"
PAGE = (ROOT / "docs" / "how-to" / "compose.md").read_text("utf-8")


def read(path):
    return yaml.safe_load(path.read_text("utf-8"))


SERVICES = read(FOLDER / "compose.yaml")["services"]
SERVER, PROMETHEUS, GRAFANA = (SERVICES[name] for name in ("unpickled", "prometheus", "grafana"))
SCRAPING = read(DEPLOY / "prometheus" / "prometheus.yml")
SOURCE = read(DEPLOY / "grafana" / "datasource.yml")["datasources"][0]
PROVIDER = read(DEPLOY / "grafana" / "dashboards.yml")["providers"][0]
DASHBOARD = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text("utf-8"))
# A name with its default, as in ${CPUS:-1}.
DEFAULT = re.compile(r"\$\{([A-Z_]+):-(.*?)\}")


def needs(program):
    return pytest.mark.skipif(not shutil.which(program), reason=f"{program} is not installed")


def resolved(value):
    """The text with the defaults of its variables."""
    return DEFAULT.sub(r"\2", str(value))


def mounts(service):
    """Path inside -> file or volume outside, of a service."""
    long = {each["target"]: each["source"] for each in service["volumes"] if isinstance(each, dict)}
    short = [each.split(":") for each in service["volumes"] if isinstance(each, str)]
    return {target: resolved(source) for target, source in long.items()} | {
        target: source for source, target, *_ in short
    }


def published(service):
    """Port outside and port inside, of each that a service publishes."""
    return [tuple(map(int, resolved(port).split(":")[1:])) for port in service["ports"]]


def targets():
    """Name of each job -> the address that Prometheus asks."""
    return {job["job_name"]: job["static_configs"][0]["targets"][0] for job in SCRAPING["scrape_configs"]}


def asked(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/{path}") as answer:
        return json.load(answer)["data"]


@pytest.mark.long
@pytest.mark.parametrize(
    "program",
    [pytest.param(name, marks=needs(name)) for name in ("docker-compose", "podman-compose")],
)
def test_compose_takes_the_file(program):
    """Compose accepts the file, and a variable of the shell reaches the server."""
    environ = environment(UNPICKLED_WORKERS="3", MODELS="/srv/elsewhere", CPUS="2")
    completed = run([program, "--file", FOLDER / "compose.yaml", "config"], env=environ, cwd=ROOT)
    assert completed.returncode == 0, completed.stderr
    services = yaml.safe_load(completed.stdout)["services"]
    assert set(services) == {"unpickled", "prometheus", "grafana"}
    server = services["unpickled"]
    # podman-compose asks the shell only when it starts the container.
    assert server["environment"]["UNPICKLED_WORKERS"] in ("3", None)
    assert float(server["cpus"]) == 2
    assert "/srv/elsewhere" in str(server["volumes"])


@pytest.mark.parametrize("name", SERVICES)
def test_containers_are_locked_down(name):
    """Each container has a read-only root, no capabilities, and bounds on what it uses."""
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"cpus", "mem_limit", "pids_limit"} <= set(service)
    assert service["restart"] == "unless-stopped"
    assert all(resolved(port).startswith("127.0.0.1:") for port in service["ports"])


def test_images_are_pinned():
    """The images of others are those of one release each."""
    images = {SERVICES[name]["image"] for name in ("prometheus", "grafana")}
    assert all(re.fullmatch(r"docker\.io/[a-z/]+:v?\d+\.\d+\.\d+", image) for image in images)
    assert SERVER["image"] == "unpickled:latest"
    assert (FOLDER / SERVER["build"]["context"]).resolve() == ROOT


def test_ports_agree():
    """The port of predictions is published; that of metrics is not, and Prometheus asks it."""
    assert published(SERVER) == [(8000, Listening().port)]
    host, admin = targets()["unpickled"].split(":")
    assert SERVICES[host] is SERVER
    assert f", {admin}, " in SERVER["healthcheck"]["test"][-1]
    address, port = f"http://{targets()['prometheus']}".removeprefix("http://").split(":")
    assert (address, published(PROMETHEUS)) == ("localhost", [(int(port), int(port))])
    assert SOURCE["url"] == f"http://prometheus:{port}"


def test_files_agree_with_mounts():
    """Each file is where its program looks for it."""
    assert mounts(PROMETHEUS)["/etc/prometheus"] == "../prometheus"
    assert "--config.file=/etc/prometheus/prometheus.yml" in PROMETHEUS["command"]
    assert "--storage.tsdb.path=/prometheus" in PROMETHEUS["command"]
    home = GRAFANA["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert mounts(GRAFANA)[home] == "../grafana/dashboard.json"
    assert str(PurePosixPath(home).parent) == PROVIDER["options"]["path"]
    for kind in ("datasources", "dashboards"):
        assert f"/etc/grafana/provisioning/{kind}/unpickled.yml" in mounts(GRAFANA)
    volumes = read(FOLDER / "compose.yaml")["volumes"]
    outside = [outside for service in SERVICES.values() for outside in mounts(service).values()]
    assert all(each in volumes or (FOLDER / each).exists() for each in outside)


def test_the_dashboard_finds_its_source():
    """The one data source is the default, of the kind that the dashboard asks for, and knows the interval."""
    variable = next(each for each in DASHBOARD["templating"]["list"] if each["type"] == "datasource")
    assert (variable["query"], SOURCE["isDefault"]) == (SOURCE["type"], True)
    assert SOURCE["jsonData"]["timeInterval"] == SCRAPING["global"]["scrape_interval"]


def test_settings_exist():
    """Every variable of the server is a setting, and its log goes to a volume."""
    names = [name.removeprefix("UNPICKLED_").lower() for name in SERVER["environment"]]
    assert set(names) <= set(FIELDS)
    assert mounts(SERVER)[SERVER["environment"]["UNPICKLED_LOG_FOLDER"]] == "log"


def test_variables_are_listed():
    """The page and the file of variables name each one that can be set."""
    text = (FOLDER / "compose.yaml").read_text("utf-8")
    names = {name for name, _ in DEFAULT.findall(text)}
    names |= {name for name, value in SERVER["environment"].items() if value is None}
    file = (FOLDER / ".env").read_text("utf-8")
    assert set(re.findall(r"(?m)^# ([A-Z_]+)=", file)) == names
    assert all(f"| `{name}` |" in PAGE for name in names)


def test_the_image_agrees():
    """The image has the ports and folders that compose relies on."""
    text = CONTAINERFILE.read_text("utf-8")
    settings = dict(re.findall(r"\bUNPICKLED_([A-Z_]+)=([^\s\\]+)", text))
    assert settings["ADMIN_PORT"] == targets()["unpickled"].split(":")[1]
    assert {settings["MODELS"], SERVER["environment"]["UNPICKLED_LOG_FOLDER"]} == set(mounts(SERVER))
    assert (settings["HOST"], settings.get("PORT")) == ("0.0.0.0", None)


def test_requests_end_before_the_container():
    """The container has longer than a server takes to end."""
    grace = int(SERVER["stop_grace_period"].removesuffix("s"))
    assert grace > Listening().drain_delay + Listening().shutdown_timeout


@pytest.mark.long
def test_the_health_check_tells(models, tmp_path):
    """The check succeeds while a worker answers predictions, and fails once the server has ended."""
    admin = free_port()
    _, *check = SERVER["healthcheck"]["test"]
    check = [sys.executable, *(word.replace("9000", str(admin)) for word in check[1:])]
    with serving(tmp_path, "--admin-port", str(admin), models=models.path):
        eventually(lambda: run(check).returncode == 0)
    assert run(check).returncode == 1


@needs("promtool")
def test_promtool_takes_the_configuration():
    """Prometheus accepts its configuration and the rules beside it."""
    completed = run(["promtool", "check", "config", DEPLOY / "prometheus" / "prometheus.yml"])
    assert completed.returncode == 0, completed.stdout + completed.stderr
    assert "1 rule files found" in completed.stdout


def configured(folder, admin, port):
    """A copy of Prometheus' folder that asks these ports, each second."""
    shutil.copytree(DEPLOY / "prometheus", folder)
    file = folder / "prometheus.yml"
    text = file.read_text("utf-8").replace("15s", "1s")
    text = text.replace(targets()["unpickled"], f"127.0.0.1:{admin}")
    file.write_text(text.replace(targets()["prometheus"], f"127.0.0.1:{port}"), "utf-8")
    return file


@pytest.mark.long
@needs("prometheus")
def test_prometheus_scrapes_a_server(models, tmp_path):
    """Prometheus finds the server up at its admin port, gets its metrics, and evaluates the rules."""
    admin, port = free_port(), free_port()
    file = configured(tmp_path / "prometheus", admin, port)
    command = ["prometheus", f"--config.file={file}", f"--storage.tsdb.path={tmp_path / 'data'}"]
    command += [f"--web.listen-address=127.0.0.1:{port}"]
    with (
        (tmp_path / "log").open("wb") as log,
        serving(tmp_path, "--admin-port", str(admin), models=models.path),
        started(command, stdout=log, stderr=log) as prometheus,
    ):
        eventually(lambda: prometheus.poll() is not None or answers(port))
        eventually(lambda: {"unpickled", "prometheus"} <= up(port))
        eventually(lambda: {"iris", "people", "forest"} <= models_seen(port))
        groups = asked(port, "rules")["groups"]
        assert {rule["health"] for group in groups for rule in group["rules"]} <= {"ok", "unknown"}
        assert len([rule for group in groups for rule in group["rules"]]) >= 40
        eventually(lambda: all(each["lastEvaluation"] > "1" for each in asked(port, "rules")["groups"]))


def answers(port):
    try:
        return asked(port, "targets")
    except OSError:
        return False


def up(port):
    """Jobs whose targets Prometheus has scraped."""
    active = asked(port, "targets")["activeTargets"]
    return {each["labels"]["job"] for each in active if each["health"] == "up"}


def models_seen(port):
    """Models that Prometheus has a metric of, as the dashboard asks for it."""
    query = quote('max by (model) (unpickled_model_ready{job="unpickled"}) == 1')
    return {each["metric"]["model"] for each in asked(port, f"query?query={query}")["result"]}
