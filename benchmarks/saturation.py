"""Requests per second of Unpickled, of the tutorial and of a server that does nothing, with wrk.

    python benchmarks/saturation.py [--seconds 5] [--repeats 5]

Every server is a process pinned to one core and wrk to another. The servers take turns, and the
figures are medians. Loopback only; it stops by itself.
"""

import argparse
import contextlib
import json
import os
import pickle
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
SERVER_CORE, CLIENT_CORE = 0, 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=int, default=5, help="length of one measurement (default: 5)")
    parser.add_argument("--repeats", type=int, default=5, help="measurements of each server (default: 5)")
    options = parser.parse_args()
    if not shutil.which("wrk") or len(os.sched_getaffinity(0)) < 2:
        sys.exit("error: this needs wrk (Debian: apt-get install wrk) and two CPU cores")
    with tempfile.TemporaryDirectory() as folder:
        for name, data, classifier in (("iris", "iris", "logistic"), ("forest", "breast_cancer", "forest")):
            compare(Path(folder), name, data, classifier, options)


def compare(folder, name, data, classifier, options):
    train = [sys.executable, "-m", "export", "train", data, "--classifier", classifier]
    train += ["--models", str(folder / name), "--name", name]
    subprocess.run(train, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    row = fit(data, classifier, folder / f"{name}.pickle")
    script = folder / f"{name}.lua"
    body = json.dumps({"features": row})
    script.write_text(
        f"wrk.method = 'POST'\nwrk.body = '{body}'\nwrk.headers['Content-Type'] = 'application/json'\n"
    )
    servers = commands(folder, name)
    check_same_answers(servers, body)
    measured = {server: [] for server in servers}
    for repeat in range(options.repeats):
        for server, command in servers.items():
            measured[server].append(measure(command, script, options.seconds))
            print(f"{name} {repeat + 1}/{options.repeats} {server}: {measured[server][-1]}", file=sys.stderr)
    report(name, measured)


def fit(data, classifier, path):
    """Fit what the export fits, pickle it, and return one row."""
    from sklearn import datasets
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features, labels = getattr(datasets, f"load_{data}")(return_X_y=True)
    train, _, labels, _ = train_test_split(features, labels, test_size=0.2, random_state=0, stratify=labels)
    models = {
        "logistic": LogisticRegression(max_iter=10_000),
        "forest": RandomForestClassifier(random_state=0),
    }
    path.write_bytes(pickle.dumps(make_pipeline(StandardScaler(), models[classifier]).fit(train, labels)))
    return train[0].tolist()


def commands(folder, name):
    """Server -> (command line, environment); each listens on PORT."""
    environment = {**os.environ, "PIPELINE": str(folder / f"{name}.pickle")}
    gunicorn = (
        f"{BIN}/gunicorn --threads 4 --chdir {HERE} --bind 127.0.0.1:PORT --log-level error tutorial:app"
    )
    floor = f"{BIN}/granian --interface wsgi --blocking-threads 64 --no-ws --log-level error"
    return {
        "floor": (f"{floor} --working-dir {HERE} --port PORT floor:app", environment),
        "unpickled": (f"{sys.executable} -m server --models {folder / name} --port PORT", environment),
        "tutorial": (gunicorn, environment),
    }


def check_same_answers(servers, body):
    answers = {}
    for server in ("unpickled", "tutorial"):
        with running(servers[server]) as (_, url, _):
            answers[server] = json.load(urllib.request.urlopen(request(url, body)))
    ours, theirs = (answers[server]["probabilities"][0] for server in ("unpickled", "tutorial"))
    if max(abs(a - b) for a, b in zip(ours, theirs, strict=True)) > 1e-5:
        sys.exit(f"error: the servers disagree: {answers}")


def request(url, body):
    return urllib.request.Request(url, data=body.encode(), headers={"Content-Type": "application/json"})


@contextlib.contextmanager
def running(server):
    """The server as a process pinned to its core: (process, URL, seconds to the first answer)."""
    command, environment = server
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["taskset", "-c", str(SERVER_CORE), *command.replace("PORT", str(port)).split()]
    started = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        yield process, f"http://127.0.0.1:{port}/predict", wait(port, started)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def wait(port, started):
    while time.perf_counter() - started < 60:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            with contextlib.suppress(urllib.error.HTTPError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).close()
            return time.perf_counter() - started
        time.sleep(0.005)
    sys.exit("error: a server did not start")


def measure(server, script, seconds):
    with running(server) as (process, url, ready):
        wrk(url, script, 1, 32)
        worker = children(process.pid)[-1]
        before = cpu_seconds(worker)
        busy = wrk(url, script, seconds, 32)
        used = cpu_seconds(worker) - before
        alone = wrk(url, script, min(seconds, 3), 1)
        return {
            "requests_per_s": busy["rate"],
            "cpu_us": round(1e6 * used / busy["count"], 1),
            "p50_us": busy["p50_us"],
            "p99_us": busy["p99_us"],
            "alone_p50_us": alone["p50_us"],
            "rss_mb": resident_mb(worker),
            "ready_s": round(ready, 3),
        }


def wrk(url, script, seconds, connections):
    command = [
        "taskset",
        "-c",
        str(CLIENT_CORE),
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds}s",
        "--latency",
    ]
    text = subprocess.run(
        [*command, "-s", str(script), url], check=True, capture_output=True, text=True
    ).stdout
    if "Non-2xx" in text:
        sys.exit(f"error: {url} refused requests:\n{text}")
    return {
        "rate": float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1]),
        "count": int(re.search(r"(\d+) requests in", text)[1]),
        "p50_us": microseconds(re.search(r"^ +50% +(\S+)", text, re.M)[1]),
        "p99_us": microseconds(re.search(r"^ +99% +(\S+)", text, re.M)[1]),
    }


def microseconds(text):
    number, unit = re.fullmatch(r"([\d.]+)([a-z]+)", text).groups()
    return round(float(number) * {"us": 1, "ms": 1e3, "s": 1e6}[unit])


def children(pid):
    """The workers of a server, or the server where it has none."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()] or [pid]


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid):
    return round(int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024)


def report(name, measured):
    medians = {
        server: {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        for server, runs in measured.items()
    }
    ours = medians["unpickled"]
    print(f"\n{name}: medians of {len(measured['unpickled'])}")
    print("| server | requests/s | CPU us | p50 us | p99 us | one connection p50 us | MB | ready s |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for server, figures in medians.items():
        print(f"| {server} | {' | '.join(f'{value:g}' for value in figures.values())} |")
    for server in ("floor", "tutorial"):
        ratio = ours["requests_per_s"] / medians[server]["requests_per_s"]
        print(f"unpickled / {server}: {ratio:.2f} in requests/s")


if __name__ == "__main__":
    main()
