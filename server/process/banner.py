"""The text that a server prints once its models are loaded: each model, the address, and a request to try."""

import shlex
from ipaddress import ip_address

from unpickled.server import machine
from unpickled.server.config import Config, Listening, Log
from unpickled.server.lifecycle import disk
from unpickled.server.lifecycle.deployment import Deployment, percent
from unpickled.server.lifecycle.repository import Repository
from unpickled.server.lifecycle.versions import Served
from unpickled.server.message.answer import dumps
from unpickled.server.quote import counted, listed

# Names of features, or of classes, that a line lists.
_MOST_NAMES = 8


def text(repository: Repository) -> str:
    """Several lines for the person who starts the server."""
    listening = repository.config.listening
    lines = [f"Unpickled serves {_address(listening)}  ({_capacity(listening)})"]
    lines += [*admin(listening), *logged(repository.config.log), *unrecorded(repository.config.models)]
    lines += _warnings(repository.config)
    deployments = repository.deployments.values()
    served = {deployment.name: deployment.main for deployment in deployments if deployment.versions}
    for deployment in deployments:
        if deployment.versions:
            lines += _model(deployment, repository.default)
    for deployment in deployments:
        if not deployment.versions:
            lines.append(f"  NOT SERVED  {deployment.name}: {deployment.reason}")
    lines += _waiting(len(repository.demand.unloaded))
    if len(served) > 1 and repository.default is None:
        lines.append("  /predict answers an error: choose a model for it with --default-model")
    if served:
        version = served.get(repository.default or "") or next(iter(served.values()))
        lines += ["", "Try it:", f"  {_curl(repository.config, version, repository.default)}"]
    elif not repository.names:
        lines.append(f"  {repository.config.models}/ has no models yet: unpickled train iris")
    return "\n".join(lines)


def _waiting(count: int) -> list[str]:
    """A line about the models that requests load, where there are some."""
    remedy = "the first request for it loads it" if count == 1 else "the first request for each loads it"
    return [f"  {counted(count, 'model')} not in memory: {remedy}"] if count else []


def _model(deployment: Deployment, default: str | None) -> list[str]:
    served = deployment.main
    manifest = served.model.manifest
    outputs, placement = served.model.outputs, served.model.placement
    nodes = ", ".join(f"{name} ({counted(count, 'node')})" for name, count in placement.nodes.items())
    features = [feature.name for feature in manifest.features]
    lines = [
        f"  {served.name} version {served.version}{'  (default)' if served.name == default else ''}",
        f"    {'features' if len(features) > 1 else 'feature':<10} {listed(features, _MOST_NAMES)}",
        f"    {outputs.title:<10} {listed(outputs.names, _MOST_NAMES)}",
        f"    providers  requested {', '.join(placement.requested)}; obtained {nodes}",
    ]
    lines += _service(deployment)
    return lines + [f"    note       {note}" for note in placement.notes]


def _service(deployment: Deployment) -> list[str]:
    """Lines about the other versions: their labels, traffic and shadow, and which of them are refused."""
    lines = []
    if len(deployment.versions) > 1 or deployment.labels:
        labels = {number: label for label, number in deployment.labels.items()}
        numbers = [f"{n} ({labels[n]})" if n in labels else str(n) for n in deployment.versions]
        lines.append(f"    {'versions' if len(numbers) > 1 else 'version':<10} {', '.join(numbers)}")
    if len(deployment.traffic) > 1:
        shares = [f"{share:.4g} to version {number}" for number, share in deployment.traffic.items()]
        lines.append(f"    traffic    {', '.join(shares)}")
    if deployment.shadow is not None:
        number, share = deployment.shadow
        lines.append(f"    shadow     version {number} runs {share:.4g} of it too")
    lines += [f"    not served version {number}: {reason}" for number, reason in deployment.refused.items()]
    return lines + ([f"    MISTAKE    {deployment.mistake}"] if deployment.mistake else [])


def _capacity(listening: Listening) -> str:
    available = machine.processors()
    workers, threads = counted(listening.workers, "worker"), counted(listening.threads, "thread")
    shape = f"{workers} x {threads} on {counted(available, 'CPU')}"
    return shape if listening.workers >= available else f"{shape}; --workers {available} uses them all"


def _warnings(config: Config) -> list[str]:
    """A line for each way in which others may send requests than those who start the server may think of."""
    listening, access = config.listening, config.access
    lines = []
    if access.jwks is not None and access.jwt_audience is None:
        lines.append("  OPEN        tokens for other services are taken too: set --jwt-audience")
    private = listening.uds or _is_loopback(listening.host)
    if not private and (access.api_keys, access.jwks, listening.tls_client_ca) == (None, None, None):
        lines.append(
            f"  OPEN        everybody who reaches {listening.host} may send requests: "
            "ask for keys by --api-keys (see unpickled keys --help), or listen on --host 127.0.0.1"
        )
    return lines


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _address(listening: Listening) -> str:
    scheme = "https" if listening.tls_cert is not None else "http"
    return (
        f"unix:{listening.uds}" if listening.uds else f"{scheme}://{_host(listening.host)}:{listening.port}"
    )


def admin(listening: Listening) -> list[str]:
    """A line about the admin port, where there is one."""
    if listening.admin_port is None:
        return []
    host = _host(listening.admin_host or listening.host)
    return [f"  probes and metrics at http://{host}:{listening.admin_port}"]


def logged(log: Log) -> list[str]:
    """A line about the payload log, where there is one."""
    folder = log.log_folder.rstrip("/")
    return [f"  logs {percent(log.log_share)} of the rows into {folder}/"] if log.log_share else []


def unrecorded(models: str) -> list[str]:
    """A line where no history of the models can be written."""
    words = f"  {models.rstrip('/')}/ is mounted read-only: the server keeps no history of what it serves"
    return [words] if disk.is_read_only(models) else []


def _host(host: str) -> str:
    """The host at which a client on this machine reaches a server that listens on ``host``."""
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)


def _curl(config: Config, served: Served, default: str | None) -> str:
    listening = config.listening
    path = "/predict" if served.name == default else f"/models/{served.name}/predict"
    data = shlex.quote(dumps({"features": served.model.manifest.examples(1)[0]}).decode())
    scheme = "https" if listening.tls_cert is not None else "http"
    if listening.uds:
        place = f"--unix-socket {shlex.quote(listening.uds)} {scheme}://localhost{path}"
    else:
        place = f"{scheme}://{_host(listening.host)}:{listening.port}{path}"
    return f"curl {_credentials(config)}{place} -d {data}"


def _credentials(config: Config) -> str:
    """Options of curl for what the server asks of its callers; the files are those of the caller."""
    options = ""
    if config.listening.tls_client_ca is not None:
        options += "--cert client.pem --key client.key "
    if config.access.api_keys is not None or config.access.jwks is not None:
        options += '-H "Authorization: Bearer $KEY" '
    return options
