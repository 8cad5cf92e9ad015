"""Containers of platforms: their commands run with their variables, their own libraries read the files."""

import json
import re
import shlex
import shutil
import sys
import urllib.request
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import buckets
import pytest
import yaml
from conftest import FLOWER, PATIENCE, ROOT, Serving, environment, eventually, free_port, run, shelve, started
from documents import blocks
from sites import Page, site
from test_packaging import pip

from unpickled.server import config

DEPLOY = ROOT / "deploy"
CLOUDS = ROOT / "docs" / "how-to" / "clouds.md"
VIRGINICA = [6.7, 3.0, 5.2, 2.3]
TABLE = "\n".join(",".join(map(str, row)) for row in (FLOWER, VIRGINICA, FLOWER)) + "\n"
# The words of the executable that SageMaker starts.
SERVE = (ROOT / "deploy" / "sagemaker" / "serve").read_text("utf-8").splitlines()[-1].removeprefix("exec ")
TOKEN = "/computeMetadata/v1/instance/service-accounts/default/token"


def read(*names):
    """A file of deploy/."""
    text = DEPLOY.joinpath(*names).read_text("utf-8")
    return json.loads(text) if names[-1].endswith(".json") else yaml.safe_load(text)


def block(words):
    """The block with these words on the page about clouds."""
    (text,) = [block.text for block in blocks(CLOUDS) if words in block.text]
    return text


@contextmanager
def container(folder, command, port, **variables):
    """A server that a platform's command starts, with the image's variables and those of the platform."""
    inherited = {name: value for name, value in environment().items() if not name.startswith("UNPICKLED_")}
    image = {"UNPICKLED_HOST": "0.0.0.0", "UNPICKLED_ADMIN_PORT": str(free_port()), "UNPICKLED_WORKERS": "1"}
    log = folder / "container.log"
    with (
        log.open("wb") as output,
        started(
            command, cwd=folder, env=inherited | image | variables, stdout=output, stderr=output
        ) as process,
    ):
        server = Serving(port, None, process, log)
        eventually(lambda: server.ended() or "Unpickled serves" in server.printed())
        assert not server.ended(), server.printed()
        yield server
    # SIGTERM has reached the server, and no shell in front of it.
    assert process.returncode == 0


def post(server, path, body, **headers):
    """The text of an answer, and its type."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(f"{server.url}{path}", body.encode(), named)
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return answer.read().decode(), answer.headers["Content-Type"]


@contextmanager
def sagemaker(models, folder):
    """A server on the archive of a models folder, started as SageMaker does."""
    shelve(models, folder / "models" / "iris", "iris")
    (folder / "opt").mkdir()
    run(["tar", "-C", folder / "models", "-czf", folder / "model.tar.gz", "."])
    run(["tar", "-C", folder / "opt", "-xzf", folder / "model.tar.gz"])
    port = free_port()
    words = SERVE.replace("8080", str(port)).replace("/opt/ml/model", str(folder / "opt"))
    variables = read("sagemaker", "model.json")["PrimaryContainer"]["Environment"]
    with container(folder, shlex.split(words), port, **variables) as server:
        yield server


def test_sagemaker(models, tmp_path):
    """The archive is served on the health check, on /invocations, and to a transform job's batches."""
    job = read("sagemaker", "transform.json")
    kinds = {"Content_Type": job["TransformInput"]["ContentType"], "Accept": job["TransformOutput"]["Accept"]}
    with sagemaker(models, tmp_path) as server:
        assert server.ask("/ping") == (200, {"ready": True})
        assert server.ask("/execution-parameters")[0] == 404
        assert json.loads(post(server, "/invocations", json.dumps({"instances": [FLOWER]}))[0])
        batch = TABLE * (job["MaxPayloadInMB"] * 2**20 // len(TABLE))
        lines, kind = post(server, "/invocations", batch, **kinds)
    assert kind.startswith("text/csv")
    # SageMaker writes the answers one behind the other.
    assert lines.endswith("\n")
    species = [line.split(",")[1] for line in lines.splitlines()]
    assert species == ["setosa", "virginica", "setosa"] * (len(batch) // len(TABLE))


CREATE = """
import json, pathlib, sys
import boto3
files = {path.name: json.loads(path.read_text()) for path in pathlib.Path(sys.argv[1]).glob("*.json")}
client = boto3.client("sagemaker")
client.create_model(**files["model.json"])
client.create_endpoint_config(**files["endpoint-config.json"])
client.create_endpoint(**files["endpoint.json"])
client.create_endpoint_config(**files["serverless-config.json"])
client.create_transform_job(**files["transform.json"])
fargate = {"requiresCompatibilities": ["FARGATE"], "networkMode": "awsvpc", "cpu": "512", "memory": "1024"}
containers = [json.loads(sys.argv[2])]
boto3.client("ecs").register_task_definition(family="iris", containerDefinitions=containers, **fargate)
shapes = client.meta.service_model.shape_for
(variant,) = files["endpoint-config.json"]["ProductionVariants"]
assert variant["InstanceType"] in shapes("ProductionVariantInstanceType").enum
assert files["transform.json"]["TransformResources"]["InstanceType"] in shapes("TransformInstanceType").enum
print(client.describe_endpoint(EndpointName=files["endpoint.json"]["EndpointName"])["EndpointStatus"])
"""


@pytest.mark.long
def test_sagemaker_takes_the_files():
    """AWS's library takes the files and the container of ECS, and a stand-in for AWS makes the endpoint."""
    with buckets.bucket() as store:
        variables = environment(**store, AWS_DEFAULT_REGION=store["AWS_REGION"])
        words = [str(DEPLOY / "sagemaker"), block("healthCheck")]
        completed = run([beside_moto(), "-c", CREATE, *words], env=variables)
    assert (completed.returncode, completed.stdout) == (0, "InService\n"), completed.stderr


# SageMaker passes a request on to the path /invocations of the container.
INVOKE = """
import sys
import boto3
client = boto3.client("sagemaker-runtime", region_name="eu-central-1")
to_container = lambda params, **_: params.update(url=f"{sys.argv[1]}/invocations")
client.meta.events.register("before-call.sagemaker-runtime.InvokeEndpoint", to_container)
answer = client.invoke_endpoint(
    EndpointName="iris", ContentType="text/csv", Accept="application/jsonlines", Body=sys.argv[2]
)
print(answer["ContentType"], answer["Body"].read().decode())
"""


@pytest.mark.long
def test_sagemaker_client(models, tmp_path):
    """A request of AWS's own client is answered in the type that it accepts."""
    interpreter = beside_moto()
    keys = environment(AWS_ACCESS_KEY_ID="key", AWS_SECRET_ACCESS_KEY="secret")
    with sagemaker(models, tmp_path) as server:
        completed = run([interpreter, "-c", INVOKE, server.url, TABLE], env=keys)
    kind, _, lines = completed.stdout.partition(" ")
    assert kind == "application/jsonlines", completed.stderr
    records = map(json.loads, lines.split("\n")[:3])
    assert [record["predicted_class"] for record in records] == ["setosa", "virginica", "setosa"]


def beside_moto():
    """The Python of moto's environment, which has AWS's library; skips without it."""
    if buckets.command() is None:
        pytest.skip("moto_server is not installed: pip install 'moto[s3,server]'")
    return Path(buckets.command()).resolve().parent / "python"


@pytest.mark.long
def test_vertex(models, tmp_path):
    """The container fetches the model with the token of its machine, and serves it on Vertex AI's routes."""
    shelve(models, tmp_path / "artifacts" / "iris", "iris", "iris")
    spec = read("vertex", "upload.json")["model"]["containerSpec"]
    command = [*spec["command"], *spec["args"]]
    variables = {entry["name"]: entry["value"] for entry in spec["env"]}
    assert variables == {"UNPICKLED_MODELS": "/tmp/models"}
    port = free_port()
    with site() as machine, site(bucket=tmp_path) as store:
        machine.pages[TOKEN] = Page(b'{"access_token": "token", "expires_in": 3600, "token_type": "Bearer"}')
        platform = {
            "AIP_HTTP_PORT": str(port),
            "AIP_PREDICT_ROUTE": spec["predictRoute"],
            "AIP_HEALTH_ROUTE": spec["healthRoute"],
            "AIP_STORAGE_URI": "gs://bucket/artifacts/iris/",
            "GCE_METADATA_HOST": machine.address.removeprefix("http://"),
            "GOOGLE_BASE_URL": store.address,
            "UNPICKLED_MODELS": str(tmp_path / "models"),
        }
        with container(tmp_path, command, port, **platform) as server:
            assert server.ask(spec["healthRoute"])[0] == 200
            answer = json.loads(post(server, spec["predictRoute"], json.dumps({"instances": [FLOWER]}))[0])
        assert {headers["Authorization"] for _, headers in store.asked} == {"Bearer token"}
    assert answer["predictions"][0]["predicted_class"] == "setosa"
    assert [folder.name for folder in (tmp_path / "models" / "iris").glob("[0-9]*")] == ["2"]


def test_azure(models, tmp_path):
    """A server with the deployment's variables finds the mounted model, and answers on the routes."""
    deployment = read("azure", "deployment.yml")
    model, variables = deployment["model"], deployment["environment_variables"]
    mount = PurePosixPath("/var/azureml-app/azureml-models", model["name"], str(model["version"]))
    assert variables["UNPICKLED_MODELS"] == str(mount / PurePosixPath(model["path"]).name)
    shelve(models, tmp_path / "models" / "iris", "iris")
    routes = deployment["environment"]["inference_config"]
    assert {route["port"] for route in routes.values()} == {8000}
    port = free_port()
    moved = {"UNPICKLED_MODELS": str(tmp_path / "models"), "UNPICKLED_PORT": str(port)}
    with container(tmp_path, ["unpickled", "serve"], port, **variables | moved) as server:
        assert server.ask(routes["liveness_route"]["path"])[0] == 200
        assert server.ask(routes["readiness_route"]["path"])[0] == 200
        labels, _ = post(server, routes["scoring_route"]["path"], json.dumps({"data": [FLOWER, VIRGINICA]}))
    assert json.loads(labels) == [0, 2]


LOAD = """
import json, pathlib, sys
from azure.ai.ml import load_online_deployment, load_online_endpoint
folder = pathlib.Path(sys.argv[1])
endpoint = load_online_endpoint(folder / "endpoint.yml")
deployment = load_online_deployment(folder / "deployment.yml")
routes = deployment.environment.inference_config
print(json.dumps({
    "endpoints": [endpoint.name, deployment.endpoint_name],
    "ports": [routes.scoring_route.port, routes.liveness_route.port, routes.readiness_route.port],
    "models": str(deployment.model.path),
    "requests": deployment.request_settings.max_concurrent_requests_per_instance,
}))
"""


@pytest.mark.long
def test_azure_takes_the_files(tmp_path):
    """Azure's own library reads the endpoint and the deployment, which belong together."""
    run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"])
    interpreter = tmp_path / "venv" / "bin" / "python"
    pip(interpreter, "install", "azure-ai-ml")
    folder = shutil.copytree(DEPLOY / "azure", tmp_path / "deploy" / "azure")
    (tmp_path / "models").mkdir()
    completed = run([interpreter, "-c", LOAD, str(folder)], cwd=tmp_path)
    assert completed.returncode == 0, completed.stderr
    loaded = json.loads(completed.stdout)
    assert loaded["endpoints"] == ["unpickled-iris"] * 2
    assert (loaded["ports"], loaded["requests"]) == ([8000] * 3, 64)
    assert loaded["models"] == str(tmp_path / "models")


@pytest.mark.long
def test_cloud_run_and_ecs(models, tmp_path):
    """The image's own command has the settings of Cloud Run, and answers the health check of ECS."""
    shelve(models, tmp_path / "models" / "iris", "iris")
    port, admin = free_port(), free_port()
    variables = dict(re.findall(r"(UNPICKLED_\w+)=(\w+)", block("gcloud run deploy")))
    variables |= {"UNPICKLED_MODELS": str(tmp_path / "models"), "UNPICKLED_PORT": str(port)}
    *words, check = json.loads(block("healthCheck"))["healthCheck"]["command"]
    assert words == ["CMD", "python", "-c"]
    with container(
        tmp_path, ["unpickled", "serve"], port, UNPICKLED_ADMIN_PORT=str(admin), **variables
    ) as server:
        assert server.ask("/readyz")[0] == 200
        checks = [run([sys.executable, "-c", check.replace("9000", str(at))]) for at in (admin, 1)]
    assert [completed.returncode for completed in checks] == [0, 1]


def test_platforms_wait_long_enough():
    """With the settings on the page a server ends before its platform kills it."""
    table = re.findall(r"^\| ([^|]+) \| (\d+) \| (.+) \|$", CLOUDS.read_text("utf-8"), re.M)
    assert len(table) == 7
    for platform, seconds, remedy in table:
        settings = dict(re.findall(r"(UNPICKLED_\w+)=(\d+)", remedy))
        listening = config.load({}, settings).listening
        assert listening.drain_delay + listening.shutdown_timeout < int(seconds), platform


def test_cloud_run_asks_the_port_of_the_image():
    """The port in the command is the one on which the image listens."""
    (port,) = re.findall(r"--port=(\d+)", block("gcloud run deploy"))
    assert config.load({}, {}).listening.port == int(port)
