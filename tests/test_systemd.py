"""The units of deploy/systemd, judged by systemd and run by it, and the line of deploy/Procfile."""

import configparser
import json
import re
import shlex
import shutil
from urllib.request import urlopen

import pytest
from conftest import BIN, PATIENCE, ROOT, environment, eventually, free_port, run, shelve, started
from documents import blocks
from machines import can_boot, machine

from unpickled.server.config import FIELDS, Listening

UNITS = ROOT / "deploy" / "systemd"
PAGE = ROOT / "docs" / "how-to" / "systemd.md"
PROGRAM = "/opt/unpickled/bin/unpickled"
FLOWER = "-d '{\"features\": [5.1, 3.5, 1.4, 0.2]}'"
ASK = f"curl -sS --fail --max-time {PATIENCE:.0f} http://127.0.0.1:8000/predict {FLOWER}"
READY = "curl -sS --fail http://127.0.0.1:9000/readyz"
JOURNAL = "journalctl --unit=unpickled --no-pager"


class Several(dict):
    """Keeps every value of a key that stands several times in a section."""

    def __setitem__(self, key, value):
        kept = self.get(key) if isinstance(value, list) else None
        super().__setitem__(key, kept + value if kept else value)


def unit(name):
    parser = configparser.RawConfigParser(strict=False, dict_type=Several)
    parser.optionxform = str
    parser.read(UNITS / name, "utf-8")
    return parser


SERVICE, SOCKET = unit("unpickled.service")["Service"], unit("unpickled.socket")["Socket"]
SETTINGS = dict(line.split("=") for line in SERVICE["Environment"].splitlines())


def needs(program):
    return pytest.mark.skipif(not shutil.which(program), reason=f"{program} is not installed")


def moved(folder):
    """The units, with the program where it is installed here."""
    for file in UNITS.iterdir():
        (folder / file.name).write_text(file.read_text("utf-8").replace(PROGRAM, str(BIN / "unpickled")))
    return [folder / "unpickled.service", folder / "unpickled.socket"]


@needs("systemd-analyze")
def test_systemd_takes_the_units(tmp_path):
    """systemd finds no mistake in the units, and nothing that it would ignore."""
    completed = run(["systemd-analyze", "verify", "--man=no", *moved(tmp_path)])
    assert (completed.returncode, completed.stdout + completed.stderr) == (0, "")


@needs("systemd-analyze")
def test_the_service_may_do_little():
    """systemd counts the service among those that are exposed least: 2 of 10 at most."""
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20"]
    completed = run([*command, UNITS / "unpickled.service"])
    assert completed.returncode == 0, completed.stdout + completed.stderr


def test_requests_end_before_the_service():
    """systemd ends the main process alone, and waits longer than a server takes to end."""
    assert int(SERVICE["TimeoutStopSec"]) > Listening().drain_delay + Listening().shutdown_timeout
    assert SERVICE["KillMode"] == "mixed"


def test_the_unit_claims_no_notice():
    """The service is started once its program runs, as long as no code tells systemd more."""
    sources = [file.read_text("utf-8") for file in (ROOT / "server").rglob("*.py")]
    assert not any("NOTIFY_SOCKET" in source for source in sources)
    assert SERVICE["Type"] == "exec"


def test_paths_and_ports_agree():
    """Settings exist; the unit, the page and the defaults name the same paths and ports."""
    names = {name.removeprefix("UNPICKLED_").lower() for name in SETTINGS}
    assert names <= set(FIELDS)
    page = PAGE.read_text("utf-8")
    address = f"{SETTINGS['UNPICKLED_ADMIN_HOST']}:{SETTINGS['UNPICKLED_ADMIN_PORT']}"
    log = f"/var/lib/{SERVICE['StateDirectory']}"
    places = [SOCKET["ListenStream"], address, SETTINGS["UNPICKLED_MODELS"], SERVICE["WorkingDirectory"], log]
    assert all(f"`{place}" in page for place in places)
    assert SETTINGS["UNPICKLED_LOG_FOLDER"] == log
    assert f"/etc/{SERVICE['ConfigurationDirectory']}" == SERVICE["WorkingDirectory"]
    assert all(f"`{name}`" in page for name in names)
    assert SOCKET["ListenStream"] == f"{Listening().host}:{Listening().port}"


@pytest.mark.long
@needs("systemd-socket-activate")
def test_the_command_takes_the_socket(models, tmp_path):
    """systemd-socket-activate starts the unit's command at the first connection, which is answered."""
    shelve(models, tmp_path / "iris", "iris")
    settings = {"PYTHONPATH": ROOT, "UNPICKLED_MODELS": tmp_path}
    command = shlex.split(SERVICE["ExecStart"].replace(PROGRAM, str(BIN / "unpickled")))
    port = free_port()
    options = [word for name, value in settings.items() for word in ("-E", f"{name}={value}")]
    activate = ["systemd-socket-activate", "-l", f"127.0.0.1:{port}", *options, *command]
    with (tmp_path / "log").open("wb") as log, started(activate, stdout=log, stderr=log, cwd=tmp_path):
        eventually(lambda: b"Listening" in (tmp_path / "log").read_bytes())
        body = b'{"features": [5.1, 3.5, 1.4, 0.2]}'
        with urlopen(f"http://127.0.0.1:{port}/predict", body, timeout=PATIENCE) as answer:
            assert json.load(answer)["predicted_class"] == ["setosa"]


@pytest.mark.long
def test_the_procfile_serves(models, tmp_path):
    """A platform that runs the line by a shell, with PORT, gets a server at that port."""
    shelve(models, tmp_path / "iris", "iris")
    kind, line = (ROOT / "deploy" / "Procfile").read_text("utf-8").strip().split(": ", 1)
    port = free_port()
    environ = environment(PORT=str(port), UNPICKLED_MODELS=str(tmp_path), PYTHONPATH=str(ROOT))
    with (
        (tmp_path / "log").open("wb") as log,
        started(["sh", "-c", line], stdout=log, stderr=log, env=environ, cwd=tmp_path) as process,
    ):
        eventually(lambda: process.poll() is not None or b"Try it" in (tmp_path / "log").read_bytes())
        with urlopen(f"http://127.0.0.1:{port}/readyz", timeout=PATIENCE) as answer:
            assert (kind, json.load(answer)["served"]) == ("web", ["iris"])
        assert "0.0.0.0" in (tmp_path / "log").read_text()


@pytest.fixture(scope="module")
def booted(models, tmp_path_factory):
    """A machine with a real systemd, set up by the page's commands, with a payload log of every row."""
    if not can_boot():
        pytest.skip("no systemd can be booted: it takes root, its packages, and namespaces")
    folder = tmp_path_factory.mktemp("machine")
    shelve(models, folder / "models" / "iris", "iris")
    setup = next(block.text for block in blocks(PAGE) if "a test runs it" in (block.reason or ""))
    with machine(folder, folder / "models") as booted:
        booted.prints("mkdir /etc/unpickled; echo 'log_share = 1' >/etc/unpickled/unpickled.toml")
        booted.prints(re.sub(r"(?m)^sudo ", "", setup))
        eventually(lambda: shown(booted, "NRestarts") != "0" or booted.run(READY).returncode == 0)
        assert shown(booted, "NRestarts") == "0", booted.prints(JOURNAL)
        yield booted


def shown(booted, name):
    """A property of the running service."""
    return booted.prints(f"systemctl show --value --property={name} unpickled.service")


@pytest.mark.long
def test_a_service_answers(booted):
    """After the page's commands, the first request waits for the models, and probes have their port."""
    assert json.loads(booted.prints(ASK))["predicted_class"] == ["setosa"]
    assert json.loads(booted.prints(READY))["ready"] is True
    assert "Unpickled serves" in booted.prints(JOURNAL)
    assert booted.prints("systemctl is-enabled unpickled.socket unpickled.service") == "enabled\nenabled"
    # It tells what the processor cannot do if /proc/cpuinfo is hidden from it.
    assert "cpuinfo" not in booted.prints(JOURNAL)


@pytest.mark.long
def test_a_service_has_no_power(booted):
    """The main process has no capabilities, gains none, is filtered, and writes to its own folders alone."""
    status = booted.prints(f"cat /proc/{shown(booted, 'MainPID')}/status")
    assert re.search(r"(?m)^CapBnd:\s0+$", status)
    assert re.search(r"(?m)^NoNewPrivs:\s1$", status)
    assert re.search(r"(?m)^Seccomp:\s2$", status)
    inside = f"nsenter --target={shown(booted, 'MainPID')} --mount"
    assert booted.run(f"{inside} touch /srv/unpickled/models/x").returncode != 0
    assert booted.run(f"{inside} touch /usr/x").returncode != 0
    booted.prints(f"{inside} touch /var/lib/unpickled/x /tmp/x")


@pytest.mark.long
def test_a_service_logs(booted):
    """The payload log is written where the unit lets the server write."""
    booted.prints(ASK)
    eventually(lambda: booted.run("find /var/lib/unpickled/iris -type f").stdout)
    assert booted.prints("stat --format=%U /var/lib/unpickled/iris") == "unpickled"


@pytest.mark.long
def test_a_crash_refuses_nobody(booted):
    """After all its processes are killed, a request waits for the next start and is answered."""
    before = shown(booted, "MainPID")
    booted.prints("systemctl kill --signal=KILL unpickled.service")
    eventually(lambda: shown(booted, "MainPID") != before)
    assert json.loads(booted.prints(ASK))["predicted_class"] == ["setosa"]
    assert shown(booted, "MainPID") not in (before, "0")


@pytest.mark.long
def test_a_service_ends_by_itself(booted):
    """systemctl stop drains: the service succeeds, and a request then starts it again by the socket."""
    booted.prints(ASK)
    booted.prints("systemctl reload unpickled.service")
    booted.prints("systemctl stop unpickled.service")
    assert (shown(booted, "Result"), shown(booted, "ActiveState")) == ("success", "inactive")
    assert json.loads(booted.prints(ASK))["predicted_class"] == ["setosa"]
    assert shown(booted, "ActiveState") == "active"
    booted.prints("systemctl stop unpickled.socket unpickled.service")
    with pytest.raises(AssertionError, match=r"(?i)connect"):
        booted.prints(ASK)
