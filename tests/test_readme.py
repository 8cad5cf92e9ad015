"""The README is true: its commands run, and what it says they print is what they print."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from conftest import BIN, FLOWERS, ROOT, copied, end, environment, eventually, free_port, serving

from unpickled.server import Config, config
from unpickled.server.commands.serve import serve
from unpickled.server.lifecycle import serving as serving_file

README = (ROOT / "README.md").read_text()


@pytest.fixture
def checkout(tmp_path):
    return copied(tmp_path / "copy")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)


@pytest.mark.skipif(not shutil.which("make") or not shutil.which("curl"), reason="needs make and curl")
def test_two_commands(checkout):
    """make serve and curl print what the README shows, from a tree without a model."""
    port, log = str(free_port()), checkout / "log"
    with log.open("w") as output:
        serving = subprocess.Popen(
            ["make", "serve", f"BIN={BIN}"],
            cwd=checkout,
            env=environment(UNPICKLED_PORT=port),
            stdout=output,
            start_new_session=True,
        )
    try:
        eventually(lambda: "Try it" in log.read_text())
        curl = blocks("sh")[1].replace("8000", port)
        answer = subprocess.run(curl, shell=True, capture_output=True, text=True, check=True).stdout
    finally:
        end(serving)
    assert json.loads(answer) == json.loads(blocks("json")[0])
    shown = [line for line in blocks("text")[0].splitlines() if "CPU" not in line or "providers" in line]
    assert [line for line in shown if line not in log.read_text()] == []


def test_models_commands(checkout):
    """They print what the README shows, each line of its table is a command, and its file is no mistake."""
    subprocess.run(
        [BIN / "python", "-m", "export", "train", "iris"], cwd=checkout, check=True, capture_output=True
    )
    lines = next(block for block in blocks("sh") if "promote" in block)
    done = subprocess.run(lines, shell=True, cwd=checkout, env=environment(), capture_output=True, text=True)
    shown = next(block for block in blocks("text") if "parity" in block)
    assert undated(done.stdout) == undated(shown)
    helped = subprocess.run(
        [BIN / "python", "-m", "server", "models", "--help"], cwd=checkout, capture_output=True
    )
    assert all(word in helped.stdout.decode() for word in ("list", *COMMANDS))
    assert serving_file.parse(blocks("toml")[0]).shares() == {3: 0.9, 4: 0.1}


COMMANDS = re.findall(r"^\| (?:`list`, )?`(\w+) iris", README, re.M)


def undated(text: str) -> str:
    """Without what depends on the day and on the processor."""
    return re.sub(r"\d{4}-\d\d-\d\d|\S+e-\d+|\S+ kB", "", text)


def test_metrics_table(client):
    """The table names every metric that is served, and no other."""
    told = re.findall(r"# TYPE (\w+) (\w+)", client.get("/metrics").text)
    served = {f"{name}_total" if kind == "counter" else name for name, kind in told}
    table = README[README.index("## Metrics") :].split("\n\n")[2]
    assert set(re.findall(r"`(unpickled_\w+)`", table)) == {
        name.replace("_total_total", "_total") for name in served
    }


def test_from_a_table_to_a_model(checkout):
    """The line for one's own CSV works as it stands, and so does converting a joblib file."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"age": rng.normal(40, 9, 300), "plan": rng.choice(["free", "pro"], 300)})
    table["churned"] = np.where(table["age"] + rng.normal(0, 5, 300) > 40, "yes", "no")
    table.to_csv(checkout / "customers.csv", index=False)
    train = next(block for block in blocks("sh") if "customers.csv" in block)
    done = subprocess.run(train, shell=True, cwd=checkout, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (checkout / "models" / "customers" / "1" / "model.onnx").is_file()


def test_joblib_line(checkout):
    """The line that converts a pipeline out of a joblib file works as it stands."""
    script = (
        "import joblib, pandas as pd; from sklearn.datasets import load_iris;"
        "from sklearn.linear_model import LogisticRegression;"
        "X, y = load_iris(return_X_y=True, as_frame=True); X.to_csv('rows.csv', index=False);"
        "joblib.dump(LogisticRegression(max_iter=1000).fit(X, y), 'fitted.joblib')"
    )
    subprocess.run([sys.executable, "-c", script], cwd=checkout, check=True)
    convert = next(block for block in blocks("sh") if "fitted.joblib" in block)
    done = subprocess.run(
        convert, shell=True, cwd=checkout, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (checkout / "models" / "churn" / "1" / "model.onnx").is_file()


@pytest.fixture(scope="module")
def iris(models, tmp_path_factory):
    """A server with the model that the README asks, and files beside it as it names them."""
    folder = tmp_path_factory.mktemp("clients")
    (folder / "flowers.csv").write_text(f"{','.join(FLOWERS)}\n5.1,3.5,1.4,0.2\n")
    (folder / "flowers.ndjson").write_text('{"features": [5.1, 3.5, 1.4, 0.2]}\n' * 3)
    with serving(folder, "--default-model", "iris", models=models.path) as server:
        yield server, folder


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
@pytest.mark.parametrize("line", re.findall(r"^curl .*$", README, re.M))
def test_curl_lines(iris, line):
    """Each is answered with what the pipeline says of that flower: the first class."""
    server, folder = iris
    line = line.replace("curl ", "curl --silent --fail-with-body ").replace(":8000", f":{server.port}")
    done = subprocess.run(line, shell=True, cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
    assert re.search(r"setosa|0\.982|\[0\]", done.stdout)


@pytest.mark.parametrize("block", [block for block in blocks("python") if "8000" in block])
def test_python_clients(iris, block):
    """requests and tritonclient run as shown."""
    code = block.replace(":8000", f":{iris[0].port}")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert re.search(r"setosa|\[0\] \[\[9\.8", done.stdout), done.stderr


@pytest.mark.skipif(not importlib.util.find_spec("locust"), reason="needs Locust")
@pytest.mark.parametrize("line", re.findall(r"^locust -f .*$", README, re.M))
def test_locust_lines(line, models, tmp_path):
    """Each line drives the server as it stands, for as short a time as it takes."""
    with serving(tmp_path, "--default-model", "iris", models=models.path) as server:
        here = line.replace(":8000", f":{server.port}").replace("10s", "1s").replace("time 5", "time 1")
        here = here.replace("locust -f", f"{sys.executable} -m locust -f") + " --model iris"
        done = subprocess.run(here, shell=True, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert " p99.9" in done.stderr + done.stdout


def test_locust_options():
    """The options that Locust's own --help does not list are in README's table, and no others."""
    shown = re.findall(r"^\| `(--[a-z]+) ", README, re.M)
    source = (ROOT / "benchmarks" / "locustfile.py").read_text()
    declared = re.findall(r'add_argument\(\s*"(--[a-z-]+)"', source)
    assert sorted(shown) == sorted(set(declared) - {"--arrival", "--rate"})


def test_settings_table():
    """Every setting is in the table, with its default and its description."""
    for key in config.FIELDS:
        default = getattr(Config(), key)
        shown = default[0].name if isinstance(default, tuple) else str(default)
        shown = {"None": "", "True": "`true`", "False": "`false`"}.get(shown, f"`{shown}`")
        assert f"| `{key}` | {shown} | {config.description(key)} |" in README


def test_provider_lines(tmp_path):
    """The TOML and the flags shown for the GPU mean the same."""
    (tmp_path / "unpickled.toml").write_text(next(block for block in blocks("toml") if "provider" in block))
    from_file = config.load({"config": str(tmp_path / "unpickled.toml")})
    flags = re.search(r"`(--provider .*?)`", README)[1].split()
    assert from_file == config.load(serve.make_context("unpickled serve", flags).params)
    assert from_file.provider[0].options == {"device_id": "0"}
