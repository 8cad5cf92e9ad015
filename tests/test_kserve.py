"""KServe: its runtime starts a server that answers probes and both protocols, in a valid pod."""

import json
import re
from dataclasses import replace

import pytest
import yaml
from conftest import FLOWER, ROOT, eventually, free_port, shelve
from manifests import container_runs, needs_kubectl, of_kind, rendered, variables_of

KSERVE = ROOT / "deploy" / "kserve"
PAGE = (ROOT / "docs" / "how-to" / "kserve.md").read_text("utf-8")
RUNTIME = yaml.safe_load((KSERVE / "runtime.yaml").read_text("utf-8"))
SPEC = RUNTIME["spec"]
CONTAINER = SPEC["containers"][0]
SERVICE = yaml.safe_load((KSERVE / "inferenceservice.yaml").read_text("utf-8"))


@pytest.mark.long
def test_kserve_runtime(models, tmp_path):
    """A server started as KServe's runtime says answers its probes and both protocols."""
    name = SERVICE["metadata"]["name"]
    shelve(models, tmp_path / "models" / name, "iris")
    ports = {"UNPICKLED_PORT": str(free_port()), "UNPICKLED_ADMIN_PORT": str(free_port())}
    variables = variables_of(CONTAINER, []) | ports | {"UNPICKLED_MODELS": str(tmp_path / "models")}
    container = CONTAINER | {"args": [word.replace("{{.Name}}", name) for word in CONTAINER["args"]]}
    with container_runs(container, variables, tmp_path) as server:
        admin = replace(server, port=int(variables["UNPICKLED_ADMIN_PORT"]))
        eventually(admin.answers)
        assert admin.ask(CONTAINER["livenessProbe"]["httpGet"]["path"])[1] == {"live": True, "failing": []}
        eventually(server.answers)
        assert server.ask(CONTAINER["readinessProbe"]["httpGet"]["path"])[0] == 200
        rows = json.dumps({"instances": [FLOWER]}).encode()
        assert server.ask(f"/v1/models/{name}:predict", rows)[1]["predictions"][0]["prediction"] == 0
        [[path, body]] = re.findall(r"curl \"\$address(/v2/.*)\" \\\n    -d '(.*)'", PAGE)
        assert path == f"/v2/models/{name}/infer"
        outputs = {each["name"]: each["data"] for each in server.ask(path, body.encode())[1]["outputs"]}
        assert outputs["label"] == [0]


def test_kserve_ports_agree():
    """Every port in the runtime's manifest is one that the server listens on."""
    settings = variables_of(CONTAINER, [])
    served, admin = int(settings["UNPICKLED_PORT"]), int(settings["UNPICKLED_ADMIN_PORT"])
    assert [port["containerPort"] for port in CONTAINER["ports"]] == [served]
    assert CONTAINER["readinessProbe"]["httpGet"]["port"] == served
    assert CONTAINER["livenessProbe"]["httpGet"]["port"] == admin
    assert int(SPEC["annotations"]["prometheus.kserve.io/port"]) == admin
    # Knative's own ports.
    assert not {served, admin} & {8012, 8013, 8022, 9090, 9091}


def test_the_inference_service_asks_for_the_runtime():
    """The example names the runtime's format, and a protocol that it speaks."""
    assert (RUNTIME["kind"], SERVICE["kind"]) == ("ClusterServingRuntime", "InferenceService")
    model = SERVICE["spec"]["predictor"]["model"]
    assert model["modelFormat"]["name"] in {each["name"] for each in SPEC["supportedModelFormats"]}
    assert model["protocolVersion"] in SPEC["protocolVersions"] == ["v1", "v2"]


def test_kserve_pods_have_time_to_end():
    """Draining and finishing take less than the 30 seconds of a pod."""
    settings = variables_of(CONTAINER, [])
    assert float(settings["UNPICKLED_DRAIN_DELAY"]) + float(settings["UNPICKLED_SHUTDOWN_TIMEOUT"]) < 30


def test_the_runtimes_pod_is_valid():
    """The containers and volumes that KServe makes a pod of have fields that Kubernetes knows."""
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    spec = {"containers": SPEC["containers"], "volumes": SPEC["volumes"]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "iris"}, "spec": spec}
    for release in ("1.29", kubernetes_validate.latest_version()):
        kubernetes_validate.validate(pod, release, strict=True)
    mounts = {mount["name"] for mount in CONTAINER["volumeMounts"]}
    assert mounts == {volume["name"] for volume in SPEC["volumes"]}
    context = CONTAINER["securityContext"]
    assert (
        context.items() >= {"runAsNonRoot": True, "runAsUser": 10001, "readOnlyRootFilesystem": True}.items()
    )


@needs_kubectl
def test_kustomize_names_the_image():
    """The kustomization changes the image of the runtime, and nothing else."""
    runtime = of_kind(rendered(KSERVE), "ClusterServingRuntime")
    [container] = runtime["spec"]["containers"]
    assert container["image"] == "registry.example.com/unpickled:0.1.0"
    assert container | {"image": CONTAINER["image"]} == CONTAINER
