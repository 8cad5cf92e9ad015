"""Settings: flags over environment over file over defaults; each name and value is checked."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from conftest import FLOWER, PATIENCE, serving
from msgspec import structs

from unpickled.__main__ import main
from unpickled.server import Config, config, create_app
from unpickled.server.commands.serve import serve
from unpickled.server.config import FIELDS, PARTS, Limits, Listening, Log, Provider, Runtime, Truth
from unpickled.server.errors import ConfigError, ProviderError

# Every setting with a value other than its default: as a flag, in TOML, and as read.
VALUES = {
    "models": (["elsewhere"], '"elsewhere"', "elsewhere"),
    "default_model": (["iris"], '"iris"', "iris"),
    "reload_seconds": (["0.5"], "0.5", 0.5),
    "load": (["on demand"], '"on demand"', "on demand"),
    "load_bytes": (["5000000"], "5000000", 5_000_000),
    "ready": (["any"], '"any"', "any"),
    "require_signature": (["keys.pub"], '"keys.pub"', "keys.pub"),
    "host": (["0.0.0.0"], '"0.0.0.0"', "0.0.0.0"),
    "port": (["9000"], "9000", 9000),
    "uds": (["/tmp/s.sock"], '"/tmp/s.sock"', "/tmp/s.sock"),
    "uds_mode": (["660"], '"660"', "660"),
    "workers": (["3"], "3", 3),
    "threads": (["7"], "7", 7),
    "keep_alive": (["620"], "620", 620),
    "header_timeout": (["4"], "4", 4),
    "send_timeout": (["5"], "5", 5),
    "max_connections": (["50"], "50", 50),
    "http2_streams": (["9"], "9", 9),
    "admin_port": (["9001"], "9001", 9001),
    "admin_host": (["::1"], '"::1"', "::1"),
    "tls_cert": (["cert.pem"], '"cert.pem"', "cert.pem"),
    "tls_key": (["key.pem"], '"key.pem"', "key.pem"),
    "tls_client_ca": (["ca.pem"], '"ca.pem"', "ca.pem"),
    "trusted_hosts": ([".example.com"], '[".example.com"]', (".example.com",)),
    "forwarded_allow_ips": (["10.0.0.0/8"], '["10.0.0.0/8"]', ("10.0.0.0/8",)),
    "root_path": (["/models/api"], '"/models/api"', "/models/api"),
    "hang_timeout": (["8"], "8", 8),
    "drain_delay": (["7.5"], "7.5", 7.5),
    "shutdown_timeout": (["2"], "2", 2),
    "max_body_bytes": (["1000"], "1000", 1000),
    "max_rows": (["10"], "10", 10),
    "body_timeout": (["6"], "6", 6),
    "memory_budget": (["2000000"], "2000000", 2000000),
    "max_queue_ms": (["20"], "20", 20),
    "request_timeout": (["2.5"], "2.5", 2.5),
    "api_keys": (["keys.toml"], '"keys.toml"', "keys.toml"),
    "jwks": (["jwks.json"], '"jwks.json"', "jwks.json"),
    "jwt_audience": (["unpickled"], '"unpickled"', "unpickled"),
    "jwt_issuer": (["https://a.example"], '"https://a.example"', "https://a.example"),
    "rate_limit": (["0.5"], "0.5", 0.5),
    "rate_burst": (["4"], "4", 4),
    "extra_columns": (["ignore"], '"ignore"', "ignore"),
    "provider": (
        ["CUDAExecutionProvider"],
        '["CUDAExecutionProvider"]',
        (Provider(name="CUDAExecutionProvider"),),
    ),
    "strict": ([], "true", True),
    "intra_op_threads": (["2"], "2", 2),
    "arena": ([], "true", True),
    "key_header": (["X-User"], '"X-User"', "X-User"),
    "shadow_rows": (["100"], "100", 100),
    "predict_route": (["/v1/endpoints/7:predict"], '"/v1/endpoints/7:predict"', "/v1/endpoints/7:predict"),
    "health_route": (["/health"], '"/health"', "/health"),
    "cors_origins": (["https://a.example"], '["https://a.example"]', ("https://a.example",)),
    "fast_path": ([], "false", False),
    "access_log": ([], "true", True),
    "otlp_endpoint": (["http://localhost:4318"], '"http://localhost:4318"', "http://localhost:4318"),
    "trace_ratio": (["0.25"], "0.25", 0.25),
    "drift": ([], "false", False),
    "log_level": (["debug"], '"debug"', "debug"),
    "log_share": (["0.5"], "0.5", 0.5),
    "log_folder": (["/var/log/models"], '"/var/log/models"', "/var/log/models"),
    "log_columns": (["age"], '["age"]', ("age",)),
    "log_hash": (["name"], '["name"]', ("name",)),
    "log_key": (["key"], '"key"', "key"),
    "log_rotate_rows": (["500"], "500", 500),
    "log_rotate_bytes": (["4096"], "4096", 4096),
    "log_rotate_minutes": (["0.5"], "0.5", 0.5),
    "log_keep_days": (["7"], "7", 7.0),
    "log_keep_bytes": (["2000000"], "2000000", 2_000_000),
    "log_when_full": (["wait"], '"wait"', "wait"),
    "log_to": (["s3://bucket/log"], '"s3://bucket/log"', "s3://bucket/log"),
    "truth_rows": (["100"], "100", 100),
}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """An empty working directory, so that no unpickled.toml is read by accident."""
    monkeypatch.chdir(tmp_path)


def load(words: Sequence[str] = (), environ: Mapping[str, str] | None = None) -> Config:
    """The settings that ``unpickled serve`` reads from a command line."""
    return config.load(serve.make_context("unpickled serve", list(words)).params, environ)


def refusal(*words: str, **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(words, environ)
    return str(caught.value)


def test_every_setting_is_here():
    """Each field of Config has a value above, which the tests put into all three places."""
    assert list(VALUES) == list(FIELDS) == list(config.settings(Config()))


@pytest.mark.parametrize("key", FIELDS)
def test_every_place(key, tmp_path):
    """Each setting is a flag, a variable and a key of the file, with the same meaning."""
    values, toml, expected = VALUES[key]
    assert config.settings(Config())[key] != expected
    flag = f"--{key.replace('_', '-')}" if expected is not False else f"--no-{key.replace('_', '-')}"
    variable = values[0] if values else toml
    Path("unpickled.toml").write_text(f"{key} = {toml}")
    from_file = load()
    Path("unpickled.toml").unlink()
    for loaded in (
        from_file,
        load([flag, *values]),
        load((), {f"UNPICKLED_{key.upper()}": variable}),
    ):
        assert config.settings(loaded) == {**config.settings(Config()), key: expected}


def test_tables_of_the_file():
    """A setting may stand in the table of its part, and in no other table."""
    Path("unpickled.toml").write_text("models = 'm'\n[listening]\nport = 1001\n[limits]\nmax_rows = 5")
    assert load() == Config(models="m", listening=Listening(port=1001), limits=Limits(max_rows=5))
    Path("unpickled.toml").write_text("[limits]\nport = 1001")
    assert "'port' in [limits] of unpickled.toml belongs to [listening], or above all tables" in refusal()
    Path("unpickled.toml").write_text("[log]\nshare = 0.5\nlog_columns = ['age']\n[truth]\nrows = 7")
    assert load() == Config(log=Log(log_share=0.5, log_columns=("age",)), truth=Truth(truth_rows=7))
    Path("unpickled.toml").write_text("[limits]\nmax_rows = 0")
    assert "max_rows in [limits] of unpickled.toml is 0" in refusal()


@pytest.mark.parametrize(
    ("toml", "sentence"),
    [
        ("[limit]\nmax_rows = 5", "did you mean 'limits'?"),
        ("[log]\nshares = 1", "'shares' in [log] of unpickled.toml is no setting: did you mean 'share'?"),
        ("[log]\nkeep_dayz = 1", "The settings are share, folder, columns"),
        ("limits = 5", "'limits' in unpickled.toml is a table of settings: write [limits] above them"),
        ("port = 1\n[listening]\nport = 2", "port in [listening] of unpickled.toml are the same setting"),
    ],
)
def test_wrong_table(toml, sentence):
    """An unknown table, a table that is a value and a setting that stands twice are refused by name."""
    Path("unpickled.toml").write_text(toml)
    assert sentence in refusal()


def test_settings_by_name_in_python():
    """Config.of takes every setting without its part, and refuses as a file does."""
    values = {key: expected for key, (_, _, expected) in VALUES.items()}
    assert config.settings(Config.of(**values)) == values
    with pytest.raises(ConfigError, match=r"'max_row' .* did you mean 'max_rows'"):
        Config.of(max_row=1)
    with pytest.raises(ConfigError, match="max_rows is '5': Expected int, got str"):
        Config.of(max_rows="5")


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ("models", "a Config belongs there"),
        (Config(models=5), "Expected str, got int - at $.models"),
        (Config(limits="x"), "Expected object, got str - at $.limits"),
        (Config(limits=Limits(max_rows=-1)), "Expected int >= 1 - at $.limits.max_rows"),
        (Config(models=object()), "type object"),
    ],
)
def test_config_made_by_hand(wrong, sentence):
    """create_app refuses settings that Python code has given a wrong value."""
    with pytest.raises(ConfigError) as caught:
        create_app(wrong)
    assert sentence in str(caught.value)


def test_a_part_knows_its_settings_alone():
    """Each setting is a field of Config or of one part."""
    keys = [key for part in PARTS.values() for key in part.__struct_fields__]
    assert len(keys) == len({*keys})
    assert not {*keys} & {*Config.__struct_fields__}


def test_order_of_places():
    """Flags override the environment, which overrides the file, which overrides the defaults."""
    Path("unpickled.toml").write_text("port = 1001\nthreads = 1002\nworkers = 3")
    environ = {"UNPICKLED_PORT": "2001", "UNPICKLED_THREADS": "2002", "PATH": "/bin", "PORT": "5"}
    loaded = load(["--port", "3001"], environ)
    assert loaded.listening == Listening(port=3001, threads=2002, workers=3)
    assert loaded.limits == Limits()


GUARDS = [
    key for key in FIELDS if re.match("api_keys|jw|rate_|require_|tls_|trusted_|log_(columns|hash|key)", key)
]


@pytest.mark.parametrize("key", [key for key in FIELDS if key not in GUARDS])
def test_empty_variables(key):
    """A variable without a value leaves a setting as the file or the default has it."""
    environ = {f"UNPICKLED_{key.upper()}": "", "UNPICKLED_CONFIG": ""}
    assert load((), environ) == Config()
    _, toml, expected = VALUES[key]
    Path("unpickled.toml").write_text(f"{key} = {toml}")
    assert config.settings(load((), environ))[key] == expected


@pytest.mark.parametrize("key", GUARDS)
def test_empty_guards(key):
    """A variable without a value does not open what a setting keeps shut: it is a mistake."""
    variable = f"UNPICKLED_{key.upper()}"
    assert refusal(**{variable: ""}).startswith(f"{variable} is empty: give it a value, or remove it (")


@pytest.mark.parametrize("service", ["UNPICKLED", "UNPICKLED_IRIS"])
def test_variables_of_a_service(service):
    """The variables that Kubernetes makes of a Service are no settings; others of the prefix have to be."""
    address = "tcp://10.0.0.1:8000"
    environ = {
        f"{service}_SERVICE_HOST": "10.0.0.1",
        f"{service}_SERVICE_PORT": "8000",
        f"{service}_SERVICE_PORT_HTTP": "8000",
        f"{service}_PORT": address,
        f"{service}_PORT_8000_TCP": address,
        **{f"{service}_PORT_8000_TCP_{name}": "x" for name in ("PROTO", "PORT", "ADDR")},
    }
    assert load((), environ) == Config()
    assert load(["--port", "9000"], environ).listening.port == 9000
    assert "UNPICKLED_PROT" in refusal(**environ, UNPICKLED_PROT="9000")
    assert "UNPICKLED_PORT is 'http'" in refusal(UNPICKLED_PORT="http")


@pytest.mark.parametrize("way", ["flag", "variable"])
def test_named_file(way):
    """--config or UNPICKLED_CONFIG names a file, which is read in place of unpickled.toml."""
    Path("unpickled.toml").write_text("port = 1001\nthreads = 5")
    Path("other.toml").write_text("port = 1002")
    if way == "flag":
        loaded = load(["--config", "other.toml"], {"UNPICKLED_CONFIG": "none.toml"})
    else:
        loaded = load([], {"UNPICKLED_CONFIG": "other.toml"})
    assert loaded.listening == Listening(port=1002)


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("prot = 1", ["'prot'", "unpickled.toml", "did you mean 'port'?", "max_body_bytes"]),
        ("zzz = 1", ["'zzz'", "The settings are models, default_model"]),
        ("[server]\nport = 1", ["'server'", "unpickled.toml"]),
        ("port = 0", ["port in unpickled.toml is 0", ">= 1"]),
        ("port = 70000", ["70000", "<= 65535"]),
        ('port = "8000"', ["port in unpickled.toml is '8000'"]),
        ("port = true", ["port in unpickled.toml is True", "Expected int"]),
        ("workers = 1.5", ["workers", "1.5", "Expected int"]),
        ("strict = 1", ["strict", "Expected bool"]),
        ("models = 7", ["models", "Expected str", "model.onnx"]),
        ('log_level = "loud"', ["log_level", "'loud'", "least severity"]),
        ("body_timeout = 1", ["body_timeout", ">= 6"]),
        ("provider = []", ["provider", "length >= 1"]),
        ("provider = [3]", ["provider"]),
        ('provider = [{nam = "CPUExecutionProvider"}]', ["provider", "nam"]),
        ('provider = [{name = "CPUExecutionProvider", options = 5}]', ["provider"]),
        ("port = ", ["unpickled.toml is not TOML", "Invalid value"]),
    ],
)  # fmt: skip
def test_wrong_file(toml, words):
    """The error names a wrong key or value of the file, and the values that are allowed."""
    Path("unpickled.toml").write_text(toml)
    sentence = refusal()
    assert [word for word in words if word not in sentence] == []


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"UNPICKLED_PROT": "1"}, ["UNPICKLED_PROT", "did you mean 'UNPICKLED_PORT'?"]),
        ({"UNPICKLED_PORT": "eighty"}, ["UNPICKLED_PORT is 'eighty'", "int"]),
        ({"UNPICKLED_PORT": " "}, ["UNPICKLED_PORT is ' '"]),
        ({"UNPICKLED_STRICT": "perhaps"}, ["UNPICKLED_STRICT", "'perhaps'", "bool"]),
        ({"UNPICKLED_LOG_LEVEL": "loud"}, ["UNPICKLED_LOG_LEVEL", "'loud'"]),
        ({"UNPICKLED_PROVIDER": "A:b"}, ["UNPICKLED_PROVIDER", "NAME:option=value"]),
        ({"UNPICKLED_CONFIG": "none.toml"}, ["none.toml cannot be read", "No such file"]),
    ],
)
def test_wrong_variable(environ, words):
    """The error names a wrong variable as it is spelled."""
    sentence = refusal(**environ)
    assert [word for word in words if word not in sentence] == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--prot", "1"], "No such option '--prot': did you mean '--port'?"),
        (["--work", "2"], "No such option '--work': did you mean '--workers'?"),
        (["8000"], "unexpected extra argument (8000)"),
        (["--port"], "Option '--port' requires an argument."),
        (["--provider"], "Option '--provider' requires an argument."),
    ],
)
def test_wrong_flag(capsys, words, sentence):
    """An unknown or shortened flag is wrong usage: status 2, and a last line that starts with error."""
    assert main(["serve", *words]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 or lines[0] == "Usage: unpickled serve [OPTIONS]"
    assert lines[-1].startswith("error: ")
    assert sentence in lines[-1]


def test_wrong_value():
    """The error names a wrong value with its flag."""
    assert "--port is '99999'" in refusal("--port", "99999")


def test_help_names_every_setting(capsys):
    """--help shows every setting with its default."""
    assert main(["serve", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for key in FIELDS:
        assert f"--{key.replace('_', '-')}" in text
    assert "16777216" in text
    assert "UNPICKLED_MAX_ROWS" in text


@pytest.mark.parametrize(
    ("flags", "environ", "toml"),
    [
        (["--provider", "CUDAExecutionProvider:device_id=1,arena=a", "CPUExecutionProvider"], {}, ""),
        (
            ["--provider", "CUDAExecutionProvider:device_id=1,arena=a", "--provider", "CPUExecutionProvider"],
            {},
            "",
        ),
        ([], {"UNPICKLED_PROVIDER": "CUDAExecutionProvider:device_id=1,arena=a;CPUExecutionProvider"}, ""),
        ([], {}, 'provider = ["CUDAExecutionProvider:device_id=1,arena=a", "CPUExecutionProvider"]'),
        (
            [],
            {},
            'provider = [{name = "CUDAExecutionProvider", options = {device_id = 1, arena = "a"}},'
            ' "CPUExecutionProvider"]',
        ),
    ],
)
def test_spellings_of_providers(flags, environ, toml):
    """Providers with options can be written as flags, as a variable and in the file."""
    Path("unpickled.toml").write_text(toml)
    assert load(flags, environ).runtime.provider == (
        Provider(name="CUDAExecutionProvider", options={"device_id": "1", "arena": "a"}),
        Provider(name="CPUExecutionProvider"),
    )


def without(name: str) -> None:
    """Skip the test where the installed ONNX Runtime has this provider."""
    import onnxruntime

    if name in onnxruntime.get_available_providers():
        pytest.skip(f"this onnxruntime has {name}")


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("CUDAExecutionProvider", "pip install onnxruntime-gpu"),
        ("OpenVINOExecutionProvider", "pip install onnxruntime-openvino"),
        ("QNNExecutionProvider", "install an onnxruntime build that has it"),
    ],
)
def test_strict_needs_its_first_provider(models, name, remedy):
    """In strict mode, a missing first provider is an error that says how to install it."""
    without(name)
    providers = (Provider(name=name), Provider(name="CPUExecutionProvider"))
    settings = Config(
        models=str(models.path), default_model="iris", runtime=Runtime(provider=providers, strict=True)
    )
    with pytest.raises(ProviderError, match=name) as caught:
        create_app(settings)
    assert remedy in str(caught.value)
    client = create_app(structs.replace(settings, runtime=Runtime(provider=providers))).test_client()
    (note,) = client.get("/models/iris").json["providers"]["notes"]
    assert remedy in note


def test_no_such_provider(models):
    """A misspelt provider is an error that lists those there are, strict or not."""
    providers = (Provider(name="CUDAExecutionProvidr"), Provider(name="CPUExecutionProvider"))
    with pytest.raises(ProviderError, match=r"'CUDA.*' is no execution .* mean 'CUDAExec"):
        create_app(Config(models=str(models.path), default_model="iris", runtime=Runtime(provider=providers)))


def test_strict_stops_the_start(models, tmp_path):
    """In strict mode the server ends with status 1 and one line, whatever its number of workers."""
    without("CUDAExecutionProvider")
    flags = ["--provider", "CUDAExecutionProvider", "--strict", "--workers", "2", "--shutdown-timeout", "600"]
    with serving(tmp_path, *flags, models=models.path) as server:
        assert server.process.wait(PATIENCE) == 1
    lines = server.printed().strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: CUDAExecutionProvider was not obtained")
    assert "onnxruntime-gpu" in lines[0]


def test_not_strict_serves_and_says_so(models, tmp_path):
    """Without strict, the server uses the CPU and says so at its start, in the log and in /models."""
    without("CUDAExecutionProvider")
    flags = ["--provider", "CUDAExecutionProvider", "--default-model", "iris"]
    with serving(tmp_path, *flags, models=models.path) as server:
        status, document = server.ask("/models")
        assert server.ask("/predict", b'{"features": %s}' % str(FLOWER).encode())[0] == 200
    assert status == 200
    for model in document["models"]:
        placed = model["providers"]
        assert (placed["requested"], placed["obtained"]) == (
            ["CUDAExecutionProvider"],
            ["CPUExecutionProvider"],
        )
        assert placed["nodes"]["CPUExecutionProvider"] > 0
        assert "onnxruntime-gpu" in placed["notes"][0]
    assert "requested CUDAExecutionProvider; obtained CPUExecutionProvider" in server.printed()
    assert server.printed().count("was not obtained") >= 3


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--port", "0"], ["--port is '0'", ">= 1"]),
        (["--config", "none.toml"], ["none.toml cannot be read"]),
        (["--models", "/nowhere/at/all"], ["/nowhere/at/all", "No such file", "unpickled train iris"]),
        (["--default-model", "rose"], ["'rose'", "forest, iris, people"]),
    ],
)
def test_wrong_settings_end_the_process(models, tmp_path, flags, words):
    """Wrong settings end the server with status 1 and one line that names the remedy."""
    with serving(tmp_path, *flags, models=models.path) as server:
        assert server.process.wait(PATIENCE) == 1
    (line,) = server.printed().strip().splitlines()
    assert line.startswith("error: ")
    assert [word for word in words if word not in line] == []


def test_environment_reaches_create_app(models, monkeypatch):
    """create_app() without a config reads the environment and the file."""
    monkeypatch.setenv("UNPICKLED_MODELS", str(models.path))
    Path("unpickled.toml").write_text('default_model = "forest"')
    client = create_app().test_client()
    assert client.post("/predict", json={"features": FLOWER}).headers["Model-Name"] == "forest"
    monkeypatch.setenv("UNPICKLED_MODELS", "nowhere")
    with pytest.raises(ConfigError, match="nowhere"):
        create_app()


def test_vertex_tells_a_container_its_port_and_routes():
    """Variables of Vertex AI count where no setting is given; such a server listens on every address."""
    variables = {"AIP_HTTP_PORT": "9090", "AIP_PREDICT_ROUTE": "/v1/x:predict", "AIP_HEALTH_ROUTE": "/health"}
    loaded = load([], variables)
    assert (loaded.listening.host, loaded.listening.port) == ("0.0.0.0", 9090)
    assert (loaded.traffic.predict_route, loaded.traffic.health_route) == ("/v1/x:predict", "/health")
    overridden = load(["--port", "7000"], variables | {"UNPICKLED_HOST": "127.0.0.1"})
    assert (overridden.listening.host, overridden.listening.port, overridden.traffic.health_route) == (
        "127.0.0.1",
        7000,
        "/health",
    )
    assert "AIP_HTTP_PORT is 'x'" in refusal(AIP_HTTP_PORT="x")


WORDED = ["cors_origins", "extra_columns", "health_route", "key_header", "log_level", "otlp_endpoint",
          "predict_route", "ready", "root_path", "trusted_hosts", "uds_mode"]  # fmt: skip


@pytest.mark.parametrize("key", WORDED)
def test_no_message_shows_a_pattern(key):
    """A value that fits no pattern, or is none of the words to choose from, is refused in words."""
    with pytest.raises(ConfigError, match=r"(write|choose) [a-z]") as caught:
        config.load({key: "\n?"})
    assert not re.search("regex|enum", str(caught.value))
