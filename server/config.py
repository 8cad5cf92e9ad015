"""Every setting, defined once: flags, environment variables, TOML keys and help are derived from Config.

Flags win over ``UNPICKLED_...`` variables, these over the TOML file, the file over the variables by which
Vertex AI tells a container its port and routes, and those over the defaults.
"""

import re
import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from unpickled.server.errors import ConfigError
from unpickled.server.quote import hint

PREFIX = "UNPICKLED_"
DEFAULT_FILE = "unpickled.toml"


class Provider(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An ONNX Runtime execution provider and its options."""

    name: str
    options: dict[str, str] = {}


# Marks a setting that keeps others out, or values secret: a variable of it that is empty by mistake must not
# open the server.
_GUARD = {"guard": True}

# A route is a plain path: no pattern, no query.
_Route = Annotated[str, Meta(pattern="^/[^<>?#]*$")]
# The Origin header of a browser: a scheme and a host, perhaps a port, and no path.
_Origin = Annotated[str, Meta(pattern=r"^(\*|null|[a-z][a-z0-9+.-]*://[^/\s,;]+)$")]
# A name in the Host header, without a port.
_Host = Annotated[str, Meta(pattern=r"^(\*|\.?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*|\[[0-9A-Fa-f:.]+\])$")]
_Prefix = Annotated[str, Meta(pattern=r"^(/[^<>?#/]+)*$")]
# Permissions of a file.
_Mode = Annotated[str, Meta(pattern="^0?[0-7]{3}$")]


class Listening(msgspec.Struct, frozen=True, kw_only=True):
    """The address, and the processes and threads that answer there."""

    host: Annotated[str, Meta(description="address to listen on")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65535, description="TCP port to listen on")] = 8000
    uds: Annotated[str | None, Meta(description="Unix socket to listen on, instead of host and port")] = None
    uds_mode: Annotated[
        _Mode | None, Meta(description="permissions of that socket, in octal, such as 666")
    ] = None
    workers: Annotated[int, Meta(ge=1, le=1024, description="processes, each with every model loaded")] = 1
    threads: Annotated[
        int, Meta(ge=1, le=4096, description="requests that one worker can hold open at once")
    ] = 64
    keep_alive: Annotated[
        int,
        Meta(
            ge=1,
            le=86400,
            description="seconds that a connection may be silent between two requests",
        ),
    ] = 125
    header_timeout: Annotated[
        int,
        Meta(
            ge=1,
            le=3600,
            description="seconds that a new connection has to send the head of its first request",
        ),
    ] = 10
    send_timeout: Annotated[
        int,
        Meta(
            ge=1,
            le=86400,
            description="seconds for which a client may read nothing of its answer, or of a stream, before "
            "its connection is closed",
        ),
    ] = 30
    max_connections: Annotated[
        int,
        Meta(
            ge=1,
            le=1_000_000,
            description="connections that one worker holds open, silent ones included; further ones wait",
        ),
    ] = 65_536
    http2_streams: Annotated[
        int, Meta(ge=1, le=10_000, description="requests at once on one HTTP/2 connection")
    ] = 100
    admin_port: Annotated[
        Annotated[int, Meta(ge=1, le=65535)] | None,
        Meta(
            description="TCP port of the main process for probes and metrics, which answers whatever the "
            "workers do"
        ),
    ] = None
    admin_host: Annotated[
        str | None, Meta(description="address to listen on for admin_port; by default that of the server")
    ] = None
    tls_cert: Annotated[
        str | None,
        Meta(extra=_GUARD, description="file with the certificate of the server and its chain, as PEM"),
    ] = None
    tls_key: Annotated[
        str | None, Meta(extra=_GUARD, description="file with the private key of that certificate, as PEM")
    ] = None
    tls_client_ca: Annotated[
        str | None,
        Meta(
            extra=_GUARD,
            description="file with the authorities, as PEM, that sign the certificates of clients",
        ),
    ] = None
    trusted_hosts: Annotated[
        tuple[_Host, ...],
        Meta(
            extra=_GUARD,
            description="names by which clients may call the server, .example.com for all below it",
        ),
    ] = ()
    forwarded_allow_ips: Annotated[
        tuple[str, ...],
        Meta(
            description="addresses or networks of proxies whose X-Forwarded headers are believed, * for all, "
            "unix for the Unix socket"
        ),
    ] = ()
    root_path: Annotated[
        _Prefix, Meta(description="path that a proxy puts in front of every route, and does not remove")
    ] = ""
    hang_timeout: Annotated[
        int,
        Meta(
            ge=2,
            le=86400,
            description="seconds without a sign of life after which a worker is replaced, and a run of a "
            "model ended",
        ),
    ] = 30
    drain_delay: Annotated[
        float,
        Meta(
            ge=0,
            le=3600,
            description="seconds after SIGTERM in which the server says that it is not ready, still answers, "
            "and closes each connection with its answer",
        ),
    ] = 0.5
    shutdown_timeout: Annotated[
        int,
        Meta(ge=1, le=86400, description="seconds that requests in flight have to finish, after drain_delay"),
    ] = 10


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much requests may hold, and how long they may wait or stall."""

    max_body_bytes: Annotated[int, Meta(ge=1, description="longest request body, in bytes")] = (
        16 * 1024 * 1024
    )
    max_rows: Annotated[int, Meta(ge=1, description="most rows in one request")] = 100_000
    body_timeout: Annotated[
        int,
        Meta(
            ge=6,
            description="seconds without progress before a stalled upload is closed (when threads run out)",
        ),
    ] = 30

    memory_budget: Annotated[
        Annotated[int, Meta(ge=1024 * 1024)] | None,
        Meta(
            description="bytes that the large requests and answers of one worker may hold at once; by "
            "default the worker's share of half the memory of the container or machine"
        ),
    ] = None
    max_queue_ms: Annotated[
        int,
        Meta(
            ge=1,
            le=3_600_000,
            description="milliseconds of work that may wait in one worker; a request above it is refused",
        ),
    ] = 1000
    request_timeout: Annotated[
        Annotated[float, Meta(gt=0, le=86400)] | None,
        Meta(
            description="seconds after which a request that has no answer yet is refused; a client may ask "
            "for less by the header Request-Timeout, in milliseconds"
        ),
    ] = None


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """The callers that may send requests, and how many requests."""

    api_keys: Annotated[
        str | None,
        Meta(
            extra=_GUARD,
            description="file with the API keys, hashed; without api_keys and jwks, everybody may send "
            "requests",
        ),
    ] = None
    jwks: Annotated[
        str | None,
        Meta(
            extra=_GUARD,
            description="file or https address with the public keys by which bearer tokens (JWT) are checked",
        ),
    ] = None
    jwt_audience: Annotated[
        str | None, Meta(extra=_GUARD, description="audience that a bearer token must be for")
    ] = None
    jwt_issuer: Annotated[
        str | None, Meta(extra=_GUARD, description="issuer that a bearer token must come from")
    ] = None
    rate_limit: Annotated[
        Annotated[float, Meta(gt=0, le=1e9)] | None,
        Meta(
            extra=_GUARD,
            description="requests per second, on average, of one key or, without keys, of one address; a "
            "key's own limit goes first",
        ),
    ] = None
    rate_burst: Annotated[
        Annotated[int, Meta(ge=1, le=10**9)] | None,
        Meta(extra=_GUARD, description="requests of one key at once; by default those of one second"),
    ] = None


class Inputs(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows are taken."""

    extra_columns: Annotated[
        Literal["ignore", "refuse"],
        Meta(
            description="ignore or refuse columns that the training table did not have; those that it had "
            "and the model does not use are always ignored"
        ),
    ] = "refuse"


class Runtime(msgspec.Struct, frozen=True, kw_only=True):
    """How ONNX Runtime runs a model."""

    provider: Annotated[
        tuple[Provider, ...],
        Meta(
            min_length=1,
            description="execution providers in order of preference, each NAME or "
            "NAME:option=value,option=value",
        ),
    ] = (Provider(name="CPUExecutionProvider"),)
    strict: Annotated[
        bool, Meta(description="refuse to start if the first execution provider runs no node of a model")
    ] = False
    intra_op_threads: Annotated[
        int,
        Meta(
            ge=1,
            le=1024,
            description="threads inside one inference; more than one pays off for large batches only",
        ),
    ] = 1
    arena: Annotated[bool, Meta(description="let ONNX Runtime keep the memory of its largest batch")] = False


class Traffic(msgspec.Struct, frozen=True, kw_only=True):
    """How traffic is split, mirrored and routed."""

    key_header: Annotated[
        str,
        Meta(
            # WSGI passes Content-Type and Content-Length outside of the HTTP_ variables.
            pattern="^(?!(?i:content-(type|length))$)[A-Za-z0-9-]+$",
            description="request header that keeps a caller on one version while traffic is split",
        ),
    ] = "X-Request-Key"
    shadow_rows: Annotated[
        int,
        Meta(
            ge=1,
            description="most rows that wait for a shadow in one worker, unless a single request has more",
        ),
    ] = 10_000
    predict_route: Annotated[
        _Route | None,
        Meta(
            description="one more path that the default model answers, as Vertex AI asks for; "
            "AIP_PREDICT_ROUTE sets it too"
        ),
    ] = None
    health_route: Annotated[
        _Route | None, Meta(description="one more path for /readyz; AIP_HEALTH_ROUTE sets it too")
    ] = None
    cors_origins: Annotated[
        tuple[_Origin, ...],
        Meta(description="origins whose pages may read the answers in a browser, or * for all"),
    ] = ()
    fast_path: Annotated[
        bool,
        Meta(description="answer predictions before Flask builds a request; off only to look for a fault"),
    ] = True


class Observing(msgspec.Struct, frozen=True, kw_only=True):
    """The logs and traces of the server itself, and what it sees of its models."""

    access_log: Annotated[
        bool, Meta(description="write one JSON line per request to stdout, without payloads")
    ] = False
    otlp_endpoint: Annotated[
        Annotated[str, Meta(pattern="^https?://")] | None,
        Meta(
            description="address of an OpenTelemetry collector, such as http://localhost:4318, that gets "
            "the spans of recorded requests"
        ),
    ] = None
    trace_ratio: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="share of the requests without a traceparent header that are recorded, from 0 to 1",
        ),
    ] = 0.0
    drift: Annotated[bool, Meta(description="compare predicted rows with those of training")] = True
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description="least severity that is logged: debug, info, warning or error"),
    ] = "info"


class Log(msgspec.Struct, frozen=True, kw_only=True):
    """The payload log: the rows that are predicted and the answers to them, as files of typed columns."""

    log_share: Annotated[
        float, Meta(ge=0, le=1, description="share of the predicted rows that are logged, from 0 to 1")
    ] = 0.0
    log_folder: Annotated[
        str,
        Meta(min_length=1, description="folder with the payload log, and with the truth that is reported"),
    ] = "log"
    log_columns: Annotated[
        tuple[str, ...],
        Meta(extra=_GUARD, description="features that are logged: all, none, or their names"),
    ] = ("all",)
    log_hash: Annotated[
        tuple[str, ...],
        Meta(extra=_GUARD, description="features of which only a keyed hash is logged, by their names"),
    ] = ()
    log_key: Annotated[
        str | None, Meta(extra=_GUARD, description="file with the secret key of that hash, at least 16 bytes")
    ] = None
    log_rotate_rows: Annotated[
        int, Meta(ge=1, le=10**9, description="rows after which a file of the payload log is finished")
    ] = 100_000
    log_rotate_bytes: Annotated[
        int, Meta(ge=1024, description="bytes, uncompressed, after which it is finished")
    ] = 64 * 1024 * 1024
    log_rotate_minutes: Annotated[
        float, Meta(gt=0, le=10_080, description="minutes after which it is finished")
    ] = 10.0
    log_keep_days: Annotated[
        float, Meta(gt=0, le=36_500, description="days for which finished files and truth are kept")
    ] = 30.0
    log_keep_bytes: Annotated[
        int,
        Meta(
            ge=1024 * 1024,
            description="bytes of files that are kept, the newest first, open ones too; truth may have a "
            "quarter as many",
        ),
    ] = 10 * 1024**3
    log_when_full: Annotated[
        Literal["drop", "wait"],
        Meta(
            description="drop and count rows that the payload log cannot take in time, or let requests wait, "
            "10 seconds at most; then rows are dropped and counted until it takes some again"
        ),
    ] = "drop"
    log_to: Annotated[
        Annotated[str, Meta(pattern="^(s3|gs|az|file)://.+")] | None,
        Meta(description="address in an object store, such as s3://bucket/log, that gets finished files"),
    ] = None


class Truth(msgspec.Struct, frozen=True, kw_only=True):
    """The predictions that wait for their truth."""

    truth_rows: Annotated[
        int,
        Meta(
            ge=0,
            le=10**8,
            description="predicted rows that one worker remembers by their ids, so that truth can be "
            "reported for them; with 0 and without a payload log, answers have no Prediction-Id",
        ),
    ] = 10_000


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of one server, frozen; ``create_app`` checks their values.

    A part goes to the code that needs it: the loader of a model takes ``runtime`` and knows no port. Flags,
    environment variables, keys of the TOML file and ``Config.of`` name a setting without its part.

    Args:
        models: Folder with ``<name>/<version>/model.onnx``.
        default_model: Model that answers ``/predict``; without it, the only one there is.
        reload_seconds: Seconds between scans of the folder; 0 scans at SIGHUP only.
        load: Whether models are loaded at the start, or each by the first request for it.
        load_bytes: Bytes that models loaded on demand may take in one worker.
        ready: Models that must be served for the server to be ready.
        require_signature: Public keys, one of which has to have signed each version.
        listening: The address, and the processes and threads that answer there.
        limits: How much requests may hold, and how long they may wait or stall.
        access: The callers that may send requests, and how many requests.
        inputs: Which rows are taken.
        runtime: How ONNX Runtime runs a model.
        traffic: How traffic is split, mirrored and routed.
        observing: The logs and traces of the server itself, and what it sees of its models.
        log: The payload log.
        truth: The predictions that wait for their truth.

    Example:
        >>> from unpickled import Config
        >>> Config.of(models="models", max_rows=500).limits.max_rows
        500
    """

    models: Annotated[str, Meta(description="folder with <name>/<version>/model.onnx")] = "models"
    default_model: Annotated[
        str | None,
        Meta(description="model that answers /predict; by default the only one, if there is no other"),
    ] = None
    reload_seconds: Annotated[
        float,
        Meta(
            ge=0, le=86400, description="seconds between scans of the models folder; 0 scans at SIGHUP only"
        ),
    ] = 1.0
    load: Annotated[
        Literal["at start", "on demand"],
        Meta(description="load the models at the start, or each by the first request for it"),
    ] = "at start"
    load_bytes: Annotated[
        Annotated[int, Meta(ge=1024 * 1024)] | None,
        Meta(
            description="estimated bytes that models loaded on demand may take in one worker: the least "
            "recently used go first; by default the worker's share of a quarter of the memory"
        ),
    ] = None
    ready: Annotated[
        Literal["all", "default", "any"],
        Meta(
            description="models that must be served for /readyz to be 200: all that were there at the start, "
            "the default model, or any"
        ),
    ] = "all"
    require_signature: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(
            extra=_GUARD,
            description="file or folder of public keys, one of which has to have signed each version that is "
            "loaded (`unpickled sign`); by default none has to be signed",
        ),
    ] = None
    listening: Listening = Listening()
    limits: Limits = Limits()
    access: Access = Access()
    inputs: Inputs = Inputs()
    runtime: Runtime = Runtime()
    traffic: Traffic = Traffic()
    observing: Observing = Observing()
    log: Log = Log()
    truth: Truth = Truth()

    @classmethod
    def of(cls, **values: Any) -> "Config":
        """The Config with these settings, each named without its part; the others have their defaults.

        Raises:
            ConfigError: A name is no setting, or a value is wrong; the sentence names it.
        """
        keys = [_field(key, "Config.of", FIELDS) for key in values]
        return _nested({key: _convert(key, key, values[key], strict=True) for key in keys})


_VERTEX = {"AIP_HTTP_PORT": "port", "AIP_PREDICT_ROUTE": "predict_route", "AIP_HEALTH_ROUTE": "health_route"}

# https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables.
_SERVICE = re.compile(
    r"_SERVICE_HOST$|_SERVICE_PORT(_[A-Z0-9_]+)?$|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$"
)
_SERVICE_PORT = re.compile("(tcp|udp|sctp)://")

_HINTS: dict[str, Any] = get_type_hints(Config, include_extras=True)
# Name of a part -> its class.
PARTS: dict[str, type[msgspec.Struct]] = {
    name: kind for name, kind in _HINTS.items() if isinstance(kind, type) and issubclass(kind, msgspec.Struct)
}
# Name of a setting -> its annotated type, those of Config itself first.
FIELDS: dict[str, Any] = {name: kind for name, kind in _HINTS.items() if name not in PARTS}
for _part in PARTS.values():
    FIELDS |= get_type_hints(_part, include_extras=True)


def load(flags: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None) -> Config:
    """The configuration of flags, environment and file.

    Args:
        flags: Values by setting, and the path of a TOML file under ``config``; None and an empty tuple
            stand for a flag that was not given.
        environ: The environment variables to read; an empty one counts as not set.

    Returns:
        The settings, each converted to its type and checked.

    Raises:
        ConfigError: A key is unknown or a value wrong; the sentence names both.
    """
    flags, environ = dict(flags or {}), environ or {}
    file = _file(flags.pop("config", None), environ)
    values: dict[str, Any] = {}
    for layer in (_platform(environ), file, _environment(environ), _flags(flags)):
        for origin, key, value in layer:
            # Flags and variables hold text, which is converted; a TOML value has a type already.
            values[key] = _convert(origin, key, value, strict=layer is file)
    return _nested(values)


def check(config: Config) -> Config:
    """The same settings; ConfigError where Python code has given one a value that it may not have."""
    if not isinstance(config, Config):
        raise ConfigError(f"the settings are {config!r}, but a Config belongs there: Config(models='models')")
    try:
        checked = msgspec.convert(msgspec.to_builtins(config), Config)
    except (msgspec.ValidationError, TypeError) as error:
        raise ConfigError(f"Config is wrong: {str(error).replace('`', '')}") from None
    _convert("Config", "forwarded_allow_ips", checked.listening.forwarded_allow_ips, strict=True)
    return checked


def settings(config: Config) -> dict[str, Any]:
    """The value of every setting by its name, without the parts, in the order of ``FIELDS``."""
    values = {key: getattr(config, key) for key in _HINTS if key not in PARTS}
    for part in PARTS:
        values |= msgspec.structs.asdict(getattr(config, part))
    return values


def _nested(values: Mapping[str, Any]) -> Config:
    """The Config with these values by setting; every other setting has its default."""
    parts: dict[str, Any] = {
        name: part(**_only(values, part.__struct_fields__)) for name, part in PARTS.items()
    }
    return Config(**parts, **_only(values, Config.__struct_fields__))


def _only(values: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    return {key: values[key] for key in keys if key in values}


# The settings from one source: (where the value stands, setting, value) each.
_Layer = list[tuple[str, str, Any]]


def _platform(environ: Mapping[str, str]) -> _Layer:
    """Variables that Vertex AI sets in a container: https://cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements."""
    layer = [(name, key, environ[name]) for name, key in _VERTEX.items() if environ.get(name)]
    if environ.get("AIP_HTTP_PORT"):
        layer.append(("AIP_HTTP_PORT", "host", "0.0.0.0"))
    return layer


def _file(path: str | None, environ: Mapping[str, str]) -> _Layer:
    path = path or environ.get(f"{PREFIX}CONFIG")
    if not path and not Path(DEFAULT_FILE).is_file():
        return []
    path = path or DEFAULT_FILE
    try:
        entries = tomllib.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None
    layer: _Layer = []
    for key, value in entries.items():
        if key not in PARTS:
            layer.append((f"{_field(key, path, [*FIELDS, *PARTS])} in {path}", key, value))
        elif isinstance(value, dict):
            layer += _table(key, value, path)
        else:
            raise ConfigError(f"{key!r} in {path} is a table of settings: write [{key}] above them")
    _check_unique(layer)
    return layer


def _table(part: str, entries: Mapping[str, Any], path: str) -> _Layer:
    """The settings in the TOML table of a part."""
    place, keys = f"[{part}] of {path}", PARTS[part].__struct_fields__
    layer: _Layer = []
    for key, value in entries.items():
        # share in [log] is the setting log_share.
        setting = f"{part}_{key}" if f"{part}_{key}" in keys else key
        if setting in FIELDS and setting not in keys:
            raise ConfigError(f"{key!r} in {place} belongs {_home(key)}")
        if setting not in keys:
            # The error suggests names as they are in the table.
            _field(key, place, [name.removeprefix(f"{part}_") for name in keys])
        layer.append((f"{key} in {place}", setting, value))
    return layer


def _home(key: str) -> str:
    """Where a setting belongs in a TOML file."""
    parts = [name for name, part in PARTS.items() if key in part.__struct_fields__]
    return f"to [{parts[0]}], or above all tables" if parts else "above all tables"


def _check_unique(layer: _Layer) -> None:
    origins: dict[str, str] = {}
    for origin, key, _ in layer:
        if key in origins:
            raise ConfigError(f"{origins[key]} and {origin} are the same setting: keep one of them")
        origins[key] = origin


def _environment(environ: Mapping[str, str]) -> _Layer:
    layer = []
    for variable, value in environ.items():
        if variable.startswith(PREFIX) and variable != f"{PREFIX}CONFIG" and not _of_service(variable, value):
            key = _field(variable.removeprefix(PREFIX).lower(), "the environment", FIELDS, _variable)
            if _is_set(variable, key, value):
                layer.append((variable, key, value.split(";") if is_list(key) else value))
    return layer


def _is_set(variable: str, key: str, value: str) -> bool:
    """Whether a variable has a value: compose and manifests cannot leave one out, and make it empty instead.

    ConfigError where the setting is a guard.
    """
    if not value and any(part.extra == _GUARD for part in _metas(key)):
        raise ConfigError(f"{variable} is empty: give it a value, or remove it ({description(key)})")
    return bool(value)


def _of_service(variable: str, value: str) -> bool:
    """Whether Kubernetes has set a variable: it describes each Service, and one may be called "unpickled"."""
    return bool(_SERVICE.search(variable) or (variable.endswith("_PORT") and _SERVICE_PORT.match(value)))


def _variable(key: str) -> str:
    """The environment variable of a setting."""
    return f"{PREFIX}{key.upper()}"


def _flags(flags: Mapping[str, Any]) -> _Layer:
    return [(flag(key), key, value) for key, value in flags.items() if value not in (None, ())]


def _field(key: str, place: str, choices: Collection[str], spell: Callable[[str], str] = str) -> str:
    """The same key; ConfigError where it is not one of the choices."""
    if key in choices:
        return key
    settings = ", ".join(spell(choice) for choice in choices if choice not in PARTS)
    raise ConfigError(
        f"{spell(key)!r} in {place} is no setting: {hint(key, choices, spell)}The settings are {settings}"
    )


def _convert(origin: str, key: str, value: Any, strict: bool) -> Any:
    try:
        if is_list(key):
            value = value if isinstance(value, list | tuple) else [value]
            value = [_ITEMS.get(key, _same)(item) for item in value]
        return msgspec.convert(value, FIELDS[key], strict=strict)
    except (msgspec.ValidationError, ValueError) as error:
        raise ConfigError(f"{origin} is {value!r}: {_reason(key, error)} ({description(key)})") from None


def _reason(key: str, error: Exception) -> str:
    """The mistake in a value, in words for people who do not know the patterns of the code."""
    text = str(error).replace("`", "").replace(" | null", "")
    if words := choices(key):
        return f"choose {', '.join(words[:-1])} or {words[-1]}"
    return f"write {_FORMS[key]}" if "regex" in text else text


# Setting with a pattern -> the form of its value.
_FORMS = {
    "uds_mode": "three octal digits, such as 660",
    "trusted_hosts": "names without a port, such as api.example.com or .example.com",
    "root_path": "a path without a slash at its end, such as /risk",
    "key_header": "the name of a header, such as X-Customer-Id",
    "predict_route": "a path, such as /score",
    "health_route": "a path, such as /healthz",
    "cors_origins": "origins, such as https://app.example.com, without a path",
    "otlp_endpoint": "an address, such as http://localhost:4318",
    "log_to": "an address of s3, gs or az, such as s3://bucket/log",
}


def _provider(item: Any) -> Any:
    """``NAME:key=value,key=value`` or, in TOML, ``{name = ..., options = {...}}``."""
    if isinstance(item, dict) and isinstance(item.get("options"), dict):
        return {**item, "options": {key: str(value) for key, value in item["options"].items()}}
    if not isinstance(item, str):
        return item
    name, _, text = item.strip().partition(":")
    pairs = [pair.partition("=") for pair in text.split(",")] if text else []
    if not name or any(not key or not sign for key, sign, _ in pairs):
        raise ValueError("Expected NAME or NAME:option=value,option=value")
    return {"name": name, "options": {key.strip(): value.strip() for key, _, value in pairs}}


def _proxy(item: Any) -> Any:
    """The same text; ValueError where it is neither an address nor a network, "*" or "unix"."""
    if isinstance(item, str) and item not in {"*", "unix"}:
        ip_network(item)
    return item


def _same(item: Any) -> Any:
    return item


# Setting -> the function that reads one of its values.
_ITEMS: dict[str, Callable[[Any], Any]] = {"provider": _provider, "forwarded_allow_ips": _proxy}


def flag(key: str) -> str:
    """The flag of a setting."""
    return f"--{key.replace('_', '-')}"


def is_list(key: str) -> bool:
    """Whether a setting takes several values."""
    return get_origin(get_args(FIELDS[key])[0]) is tuple


def choices(key: str) -> tuple[str, ...]:
    """The words among which a setting chooses; none where it takes other values."""
    kind = get_args(FIELDS[key])[0]
    return get_args(kind) if get_origin(kind) is Literal else ()


def description(key: str) -> str:
    """The clause that says what a setting does."""
    return next(str(part.description) for part in _metas(key) if part.description)


def _metas(key: str) -> list[Meta]:
    return [part for part in get_args(FIELDS[key]) if isinstance(part, Meta)]
