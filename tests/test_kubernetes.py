"""Kubernetes: every overlay is valid, agrees with itself, and its containers do what they are for."""

import copy
import json
import os
import re
import shutil
import signal
from dataclasses import replace

import pytest
import yaml
from conftest import BIN, FLOWER, ROOT, eventually, free_port, run, shelve
from documents import blocks
from manifests import (
    clean,
    container_runs,
    needs_kubectl,
    nested,
    of_kind,
    rendered,
    variables_of,
    words,
)
from sites import site

from unpickled.server import config
from unpickled.server.commands.pull import pull

kubernetes_validate = pytest.importorskip("kubernetes_validate")

HOME = ROOT / "deploy" / "kubernetes"
PAGE = ROOT / "docs" / "how-to" / "kubernetes.md"
OVERLAYS = sorted(folder.name for folder in (HOME / "overlays").iterdir())
COMPONENTS = sorted(folder.name for folder in (HOME / "components").iterdir())
# The oldest release that each overlay is meant for: volumes of images are known since 1.31.
OLDEST = {"image": "1.31", "store": "1.29", "volume": "1.29"}
NEWEST = kubernetes_validate.latest_version()
OPERATOR = "@kubernetes-models/prometheus-operator@6.0.0"
LABELS = {"app.kubernetes.io/name": "unpickled"}
pytestmark = needs_kubectl


def overlay(name):
    return rendered(HOME / "overlays" / name)


def pod(documents):
    """The pod of the only Deployment."""
    return of_kind(documents, "Deployment")["spec"]["template"]["spec"]


def server_of(documents):
    [container] = pod(documents)["containers"]
    return container


def check(documents, release):
    """Validate strictly, by the schemas of a release of Kubernetes, all documents of its own kinds."""
    own = [document for document in documents if "monitoring.coreos.com" not in document["apiVersion"]]
    assert own
    for document in own:
        kubernetes_validate.validate(document, release, strict=True)


@pytest.mark.parametrize(
    ("name", "release"),
    [
        pytest.param(name, release, marks=[] if (name, release) == ("store", "1.29") else pytest.mark.long)
        for name in OVERLAYS
        for release in (OLDEST[name], NEWEST)
    ],
)
def test_overlays_are_valid(name, release):
    """Each document has fields that Kubernetes knows, in the oldest and in the newest release."""
    check(overlay(name), release)


@pytest.mark.parametrize("name", COMPONENTS)
def test_components_go_alone(name, tmp_path):
    """The base takes each component without the others, and mounts have volumes."""
    folders = {"resources": [HOME / "base"], "components": [HOME / "components" / name]}
    relative = {key: [os.path.relpath(path, tmp_path) for path in paths] for key, paths in folders.items()}
    (tmp_path / "kustomization.yaml").write_text(json.dumps(relative))
    spec = pod(rendered(tmp_path))
    volumes = {volume["name"] for volume in spec["volumes"]}
    assert {mount["name"] for mounts in nested(spec, "volumeMounts") for mount in mounts} == volumes


def test_a_mistake_is_found():
    """The validation knows the fields at any depth."""
    deployment = copy.deepcopy(of_kind(overlay("image"), "Deployment"))
    pod([deployment])["containers"][0]["readinesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="readinesProbe"):
        check([deployment], NEWEST)


@pytest.mark.parametrize("name", OVERLAYS)
def test_everything_selects_the_pods(name):
    """Each selector has the labels of the pods, and each name is that of a document which is there."""
    documents = overlay(name)
    deployment = of_kind(documents, "Deployment")
    assert deployment["spec"]["template"]["metadata"]["labels"] == LABELS
    for document in documents:
        assert document["metadata"]["labels"].items() >= LABELS.items()
        spec = document.get("spec", {})
        selector = spec.get("podSelector") or spec.get("selector", {})
        chosen = selector.get("matchLabels", selector)
        assert document["kind"] == "ServiceMonitor" or chosen in ({}, LABELS), document["kind"]
    names = {(document["kind"], document["metadata"]["name"]) for document in documents}
    spec = pod(documents)
    assert {("ConfigMap", each["name"]) for each in nested(spec, "configMapRef")} <= names
    assert {("PersistentVolumeClaim", each) for each in nested(spec, "claimName")} <= names
    assert {(target["kind"], target["name"]) for target in nested(documents, "scaleTargetRef")} <= names
    assert ("ServiceAccount", spec["serviceAccountName"]) in names


@pytest.mark.parametrize("name", OVERLAYS)
def test_ports_agree(name):
    """Every port has a name, and the number under which the server listens."""
    documents = overlay(name)
    container = server_of(documents)
    settings = variables_of(container, documents)
    ports = {port["name"]: str(port["containerPort"]) for port in container["ports"]}
    assert ports == {"http": settings["UNPICKLED_PORT"], "admin": settings["UNPICKLED_ADMIN_PORT"]}
    assert [probe["port"] for probe in nested(container, "httpGet")] == ["admin"] * 3
    services = [document for document in documents if document["kind"] == "Service"]
    targets = {service["metadata"]["name"]: nested(service, "targetPort") for service in services}
    assert targets == {"unpickled": ["http"]} | (
        {"unpickled-admin": ["admin"]} if "ServiceMonitor" in {each["kind"] for each in documents} else {}
    )
    [policy] = [each for each in documents if each["kind"] == "NetworkPolicy" and "ingress" in each["spec"]]
    opened = [(rule["ports"], "from" in rule) for rule in policy["spec"]["ingress"]]
    assert opened == [([{"port": "http"}], False), ([{"port": "admin"}], True)]


def test_prometheus_finds_the_admin_port():
    """The ServiceMonitor selects one Service, whose port of that name is the pods' admin port."""
    documents = overlay("store")
    monitor = of_kind(documents, "ServiceMonitor")["spec"]
    wanted = monitor["selector"]["matchLabels"].items()
    [service] = [
        each
        for each in documents
        if each["kind"] == "Service" and each["metadata"]["labels"].items() >= wanted
    ]
    [port] = service["spec"]["ports"]
    assert [endpoint["port"] for endpoint in monitor["endpoints"]] == [port["name"]] == ["admin"]
    assert service["metadata"]["labels"][monitor["jobLabel"]] == "unpickled"


@pytest.mark.parametrize("name", OVERLAYS)
def test_pods_have_time_to_end(name):
    """The grace period is longer than draining and finishing together."""
    documents = overlay(name)
    settings = variables_of(server_of(documents), documents)
    ending = sum(float(settings[f"UNPICKLED_{key}"]) for key in ("DRAIN_DELAY", "SHUTDOWN_TIMEOUT"))
    assert pod(documents)["terminationGracePeriodSeconds"] > ending


@pytest.mark.parametrize("name", OVERLAYS)
def test_pods_are_confined(name):
    """No container is root, gains rights, writes to its root or to the models unless it fetches them."""
    spec = pod(overlay(name))
    assert (
        spec["securityContext"].items()
        >= {"runAsNonRoot": True, "runAsUser": 10001, "runAsGroup": 10001}.items()
    )
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    for container in [*spec["containers"], *spec.get("initContainers", [])]:
        context = {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["securityContext"] == context
        writable = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
        assert writable == {"/tmp"} | ({"/models"} if "pull" in container["command"] else set())


@pytest.mark.parametrize("name", OVERLAYS)
def test_settings_are_settings(name):
    """Each variable of the server is known, and each command takes the words that it is given."""
    documents = overlay(name)
    settings = variables_of(server_of(documents), documents)
    loaded = config.load({}, settings)
    assert (loaded.models, loaded.listening.host) == ("/models", "0.0.0.0")
    for container in pod(documents).get("initContainers", []):
        words_of_pull = words(container, variables_of(container, documents))[2:]
        context = pull.make_context("unpickled pull", words_of_pull)
        assert context.params["address"] == settings["MODEL_ADDRESS"]


def section(name):
    """The part of the page about one way, up to the next heading."""
    [part] = re.findall(rf"^### From an? {name}\n.*?(?=^##)", PAGE.read_text("utf-8"), re.M | re.S)
    return part


@pytest.fixture(params=OVERLAYS)
def copied_overlay(request, tmp_path):
    """The name of an overlay, its copy by the commands of the page, and the files that they list."""
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    [copying] = [block.text for block in blocks(PAGE) if f"overlays/{request.param} " in block.text]
    assert copying in section(request.param)
    listed = run(["bash", "-ec", copying], cwd=tmp_path).stdout.splitlines()
    files = {tmp_path / line.partition(":")[0] for line in listed}
    return request.param, tmp_path / "deploy" / "kubernetes" / "overlays" / "shop", files


def test_the_page_names_files_of_the_copy(copied_overlay, tmp_path):
    """Each path on the page, and each file in the section of the way, is there once the overlay is copied."""
    way, folder, _ = copied_overlay
    text = PAGE.read_text("utf-8")
    for other in {*OVERLAYS} - {way}:
        text = text.replace(section(other), "")
    paths = {*re.findall(r"\bdeploy/[\w./-]*\w", text)}
    assert f"deploy/kubernetes/overlays/{way}" in paths
    paths |= {f"deploy/kubernetes/{path}" for path in re.findall(r"`((?:base|components)/[\w./-]+)`", text)}
    assert [path for path in sorted(paths) if not (tmp_path / path).exists()] == []
    files = {*re.findall(r"`([\w.-]+\.yaml)`", section(way))}
    assert {"kustomization.yaml"} <= files <= {file.name for file in folder.iterdir()}


def test_the_page_lists_every_image(copied_overlay):
    """Where the files that the page lists name another registry, all images come from it."""
    _, folder, files = copied_overlay
    for file in files:
        file.write_text(file.read_text("utf-8").replace("registry.example.com", "registry.shop"), "utf-8")
    sent = [*rendered(folder), *(yaml.safe_load(file.read_text("utf-8")) for file in files)]
    images = [each for key in ("image", "reference") for each in nested(sent, key) if isinstance(each, str)]
    assert {image.partition("/")[0] for image in images} == {"registry.shop"}


def test_the_loader_is_valid():
    """The pod that fills the volume has known fields, the server's user, and the claim of the overlay."""
    loader = yaml.safe_load((HOME / "overlays" / "volume" / "loader.yaml").read_text("utf-8"))
    check([loader], NEWEST)
    documents = overlay("volume")
    assert nested(loader, "claimName") == nested(documents, "claimName")
    assert loader["spec"]["securityContext"] == pod(documents)["securityContext"]
    assert nested(loader, "image") == [server_of(documents)["image"]]
    # Neither the Service nor the NetworkPolicy takes it for a server.
    assert not LABELS.items() <= loader["metadata"].get("labels", {}).items()


def test_images_are_the_overlays():
    """An overlay names the image once, for every container."""
    for name in OVERLAYS:
        assert {*nested(pod(overlay(name)).get("initContainers", []), "image")} <= {
            "registry.example.com/unpickled:0.1.0"
        }
        assert server_of(overlay(name))["image"] == "registry.example.com/unpickled:0.1.0"


def test_rules_are_those_of_prometheus():
    """The PrometheusRule is deploy/prometheus/alerts.yml, indented, as its own first lines make it."""
    rule = HOME / "components" / "monitoring" / "prometheusrule.yaml"
    alerts = (ROOT / "deploy" / "prometheus" / "alerts.yml").read_text("utf-8")
    lines = alerts[alerts.index("groups:") :].splitlines()
    expected = "\n".join(f"  {line}" if line else "" for line in lines)
    assert rule.read_text("utf-8").partition("\nspec:\n")[2].rstrip("\n") == expected
    assert of_kind(overlay("store"), "PrometheusRule")["spec"] == yaml.safe_load(alerts)


def test_the_autoscaler_reads_a_metric_that_exists(client):
    """Autoscaler, adapter and server mean the same gauge; the Deployment leaves the number of pods open."""
    documents = overlay("store")
    [metric] = of_kind(documents, "HorizontalPodAutoscaler")["spec"]["metrics"]
    name = metric["pods"]["metric"]["name"]
    assert f"# TYPE {name} gauge" in client.get("/metrics").text
    assert adapter()["seriesQuery"] == f'{name}{{namespace!="",pod!=""}}'
    assert metric["pods"]["target"]["averageValue"] == server_of(documents)["resources"]["limits"]["cpu"]
    assert "replicas" not in of_kind(documents, "Deployment")["spec"]
    assert of_kind(overlay("volume"), "Deployment")["spec"]["replicas"] == 2


def adapter():
    """The only rule of prometheus-adapter."""
    file = HOME / "components" / "autoscaling" / "prometheus-adapter.yaml"
    [rule] = yaml.safe_load(file.read_text("utf-8"))["rules"]["custom"]
    return rule


@pytest.mark.skipif(not shutil.which("promtool"), reason="needs promtool")
def test_the_adapters_query(tmp_path):
    """The query that the adapter makes of its rule answers with the mean of two minutes for each pod."""
    query = adapter()["metricsQuery"].replace("<<.Series>>", "unpickled_requests_in_flight")
    query = query.replace("<<.LabelMatchers>>", 'namespace="shop",pod=~"a|b"').replace("<<.GroupBy>>", "pod")
    series = {"a": "0 4 0 4 0 4 0 4 0", "b": "3x8", "c": "9x8"}
    inputs = [
        {"series": f'unpickled_requests_in_flight{{namespace="shop",pod="{name}"}}', "values": values}
        for name, values in series.items()
    ]
    samples = [{"labels": '{pod="a"}', "value": 2}, {"labels": '{pod="b"}', "value": 3}]
    expected = {"expr": query, "eval_time": "105s", "exp_samples": samples}
    scene = {"interval": "15s", "input_series": inputs, "promql_expr_test": [expected]}
    (tmp_path / "scene.yml").write_text(json.dumps({"evaluation_interval": "15s", "tests": [scene]}))
    completed = run(["promtool", "test", "rules", tmp_path / "scene.yml"])
    assert completed.returncode == 0, completed.stdout + completed.stderr


def here(documents, container, models):
    """The variables of a container with models and free ports of this machine."""
    ports = {"UNPICKLED_PORT": str(free_port()), "UNPICKLED_ADMIN_PORT": str(free_port())}
    return variables_of(container, documents) | ports | {"UNPICKLED_MODELS": str(models)}


def predicted(server):
    """The class of a flower."""
    status, answer = server.ask("/predict", json.dumps({"features": FLOWER}).encode())
    assert status == 200
    return answer["prediction"][0]


def probe(server, variables, container, name):
    """The status that a probe of the kubelet would see; 0 while nothing listens."""
    admin = replace(server, port=int(variables["UNPICKLED_ADMIN_PORT"]))
    try:
        return admin.ask(container[name]["httpGet"]["path"])[0]
    except OSError:
        return 0


def test_the_pod_lives_and_ends(models, tmp_path):
    """A server started by the Deployment answers probes and rows; after SIGTERM it is just not ready."""
    shelve(models, tmp_path / "models" / "iris", "iris")
    documents = overlay("volume")
    container = server_of(documents)
    # The second SIGTERM, at the end of the block, ends the delay.
    variables = here(documents, container, tmp_path / "models") | {"UNPICKLED_DRAIN_DELAY": "3600"}
    with container_runs(container, variables, tmp_path) as server:
        for name in ("startupProbe", "livenessProbe", "readinessProbe"):
            eventually(lambda name=name: probe(server, variables, container, name) == 200)
        assert predicted(server) == 0
        server.process.send_signal(signal.SIGTERM)
        eventually(lambda: probe(server, variables, container, "readinessProbe") == 503)
        assert probe(server, variables, container, "livenessProbe") == 200
        assert predicted(server) == 0


@pytest.mark.long
def test_the_loader_fills_the_volume(models, tmp_path):
    """A server with an empty volume waits; it is ready once the loader has run the page's command."""
    documents, folder = overlay("volume"), tmp_path / "models"
    container = server_of(documents)
    folder.mkdir()
    shelve(models, tmp_path / "iris", "iris")
    variables = here(documents, container, folder)
    [words_of_pull] = re.findall(r"loader -- unpickled (pull file://)/tmp/iris\n", section("volume"))
    command = [BIN / "unpickled", *f"{words_of_pull}{tmp_path}/iris".split()]
    with container_runs(container, variables, tmp_path) as server:
        eventually(lambda: probe(server, variables, container, "livenessProbe") == 200)
        assert probe(server, variables, container, "readinessProbe") == 503
        completed = run(command, cwd=tmp_path, env=clean({"UNPICKLED_MODELS": str(folder)}))
        assert completed.returncode == 0, completed.stderr
        eventually(lambda: probe(server, variables, container, "readinessProbe") == 200)
        assert predicted(server) == 0


@pytest.fixture
def store(models, tmp_path):
    """The address, the region and the Secret of the overlay, for a store that speaks S3; and its folder."""
    shelve(models, tmp_path / "store" / "iris", "iris")
    with site(bucket=tmp_path / "store") as served:
        secret = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret"}
        yield secret | {"AWS_ENDPOINT_URL": served.address, "AWS_ALLOW_HTTP": "true"}, tmp_path / "store"


@pytest.mark.long
def test_models_are_fetched_and_followed(models, store, tmp_path):
    """One container fetches the model of the store, the server answers, the sidecar brings the next."""
    secret, folder = store
    documents = overlay("store")
    server_container = server_of(documents)
    fetch, follow = pod(documents)["initContainers"]
    variables = here(documents, server_container, tmp_path / "models")
    assert variables["MODEL_ADDRESS"] == "s3://models/iris"
    fetched = run(words(fetch, variables), cwd=tmp_path, env=clean(variables | secret))
    assert fetched.returncode == 0, fetched.stderr
    assert fetched.stdout.startswith("iris: version 1 has come from s3://models/iris/1/model.onnx")
    with container_runs(server_container, variables, tmp_path) as server:
        eventually(lambda: probe(server, variables, server_container, "readinessProbe") == 200)
        assert server.ask("/models/iris")[1]["version"] == 1
        shelve(models, folder / "iris", "forest", first=2)
        with container_runs(follow, variables | secret, tmp_path) as sidecar:
            eventually(lambda: server.ask("/models/iris")[1]["version"] == 2)
            # The line comes after the version, which the server may see at once.
            line = "iris: version 2 has come from s3://models/iris/2/model.onnx"
            eventually(lambda: line in sidecar.printed())
    assert follow["restartPolicy"] == "Always"


@pytest.mark.long
@pytest.mark.skipif(not shutil.which("npm"), reason="needs npm")
def test_the_operators_documents_are_valid(tmp_path):
    """ServiceMonitor and PrometheusRule are valid by the operator's own schemas; a wrong duration is not."""
    installed = run(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", OPERATOR], cwd=tmp_path)
    assert installed.returncode == 0, installed.stderr
    shutil.copy(ROOT / "tests" / "operator.mjs", tmp_path)
    documents = [
        copy.deepcopy(of_kind(overlay("store"), kind)) for kind in ("ServiceMonitor", "PrometheusRule")
    ]
    assert judged(documents, tmp_path) == (0, "")
    documents[0]["spec"]["endpoints"][0]["interval"] = "soon"
    status, reason = judged(documents, tmp_path)
    assert status == 1
    assert "data/spec/endpoints/0/interval" in reason


def judged(documents, folder):
    """The status and the complaint of the validation in Node.js."""
    (folder / "documents.json").write_text(json.dumps(documents))
    completed = run(["node", "operator.mjs", "documents.json"], cwd=folder)
    return completed.returncode, completed.stderr
