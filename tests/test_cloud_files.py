"""The files for SageMaker, Vertex AI and Azure ML: their containers' commands run, and their own libraries read them."""

import json
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
from sites import Page, site
from test_packaging import pip

DEPLOY = ROOT / "deploy"
VIRGINICA = [6.7, 3.0, 5.2, 2.3]
TABLE = "\n".join(",".join(map(str, row)) for row in (FLOWER, VIRGINICA, FLOWER)) + "\n"
# The words of the executable `serve`, which SageMaker starts.
SERVE = "unpickled serve --port 8080 --models /opt/ml/model"
TOKEN = "/computeMetadata/v1/instance/service-accounts/default/token"


def read(*names):
    """A file of deploy/."""
    text = DEPLOY.joinpath(*names).read_text("utf-8")
    return json.loads(text) if names[-1].endswith(".json") else yaml.safe_load(text)


@contextmanager
def container(folder, command, port, **variables):
    """A server that a platform's command starts, with the image's variables and those of the platform."""
    inherited = {name: value for name, value in environment().items() if not name.startswith("UNPICKLED_")}
    image = {"UNPICKLED_HOST": "0.0.0.0", "UNPICKLED_ADMIN_PORT": str(free_port()), "UNPICKLED_WORKERS": "1"}
    log = folder / "container.log"
    with (
        log.open("wb") as output,
        started(command, cwd=folder, env=inherited | image | variables, stdout=output, stderr=output) as process,
    ):
        server = Serving(port, None, process, log)
        eventually(lambda: server.ended() or "Unpickled serves" in server.printed())
        assert not server.ended(), server.printed()
        yield server


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
        lines, kind = post(server, "/invocations", TABLE, **kinds)
    assert kind.startswith("text/csv")
    # Batches are written one behind the other.
    assert lines.endswith("\n")
    assert [line.split(",")[1] for line in lines.splitlines()] == ["setosa", "virginica", "setosa"]


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
shapes = client.meta.service_model.shape_for
(variant,) = files["endpoint-config.json"]["ProductionVariants"]
assert variant["InstanceType"] in shapes("ProductionVariantInstanceType").enum
assert files["transform.json"]["TransformResources"]["InstanceType"] in shapes("TransformInstanceType").enum
print(client.describe_endpoint(EndpointName=files["endpoint.json"]["EndpointName"])["EndpointStatus"])
"""


@pytest.mark.long
def test_sagemaker_takes_the_files():
    """AWS's library finds nothing wrong with the files, and a stand-in for SageMaker makes the endpoint."""
    with buckets.bucket() as store:
        variables = environment(**store, AWS_DEFAULT_REGION=store["AWS_REGION"])
        completed = run([beside_moto(), "-c", CREATE, str(DEPLOY / "sagemaker")], env=variables)
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
    "ports": sorted({route.port for route in (routes.scoring_route, routes.liveness_route, routes.readiness_route)}),
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
    assert (loaded["ports"], loaded["requests"]) == ([8000], 64)
    assert loaded["models"] == str(tmp_path / "models")
