"""Manifests of Kubernetes: rendered by kubectl, and their containers run as processes of this machine."""

import functools
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import BIN, Serving, environment, run, started

Document = dict[str, Any]
# Ten times as fast where PyYAML has it.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@functools.cache
def kustomizes() -> bool:
    """Whether kubectl is here, with a kustomize that knows components and labels (5; kubectl 1.27)."""
    if not shutil.which("kubectl"):
        return False
    told = run(["kubectl", "version", "--client", "--output=json"])
    release = json.loads(told.stdout or "{}").get("kustomizeVersion", "v0")
    return int(re.sub(r"\D.*", "", release.removeprefix("v")) or 0) >= 5


needs_kubectl = pytest.mark.skipif(not kustomizes(), reason="needs kubectl 1.27 or newer")


@functools.cache
def rendered(folder: Path) -> list[Document]:
    """The documents that `kubectl apply -k` sends for a folder; the same ones at each call."""
    completed = run(["kubectl", "kustomize", folder])
    assert completed.returncode == 0, completed.stderr
    return [*yaml.load_all(completed.stdout, LOADER)]


def of_kind(documents: list[Document], kind: str) -> Document:
    """The only document of a kind."""
    [document] = [document for document in documents if document["kind"] == kind]
    return document


def nested(document: Any, key: str) -> list[Any]:
    """Every value of a key at any depth."""
    inner = list(document.values()) if isinstance(document, dict) else document
    if not isinstance(inner, list):
        return []
    direct = [document[key]] if isinstance(document, dict) and key in document else []
    return direct + [value for part in inner for value in nested(part, key)]


def words(container: Document, variables: Mapping[str, str]) -> list[str]:
    """The command line of a container, with the program that is installed here."""
    program, *rest = [*container["command"], *container.get("args", [])]
    expanded = [re.sub(r"\$\((\w+)\)", lambda match: variables[match[1]], word) for word in rest]
    return [str(BIN / program), *expanded]


def variables_of(container: Document, documents: list[Document]) -> dict[str, str]:
    """The environment of a container, but for secrets."""
    maps = {
        document["metadata"]["name"]: document for document in documents if document["kind"] == "ConfigMap"
    }
    names = [
        source["configMapRef"]["name"] for source in container.get("envFrom", []) if "configMapRef" in source
    ]
    variables = {key: value for name in names for key, value in maps[name]["data"].items()}
    return variables | {each["name"]: each["value"] for each in container.get("env", [])}


def clean(variables: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process here, with these settings and no others."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("UNPICKLED_")}
    return {
        name: value for name, value in environment(**variables).items() if name in {*inherited, *variables}
    }


@contextmanager
def container_runs(container: Document, variables: Mapping[str, str], folder: Path) -> Iterator[Serving]:
    """A container's command as a process, until the end of the block; ``port`` is that of UNPICKLED_PORT."""
    log = folder / f"{container['name']}.log"
    options = {"cwd": folder, "env": clean(variables)}
    with (
        log.open("wb") as output,
        started(words(container, variables), stdout=output, stderr=subprocess.STDOUT, **options) as process,
    ):
        yield Serving(int(variables["UNPICKLED_PORT"]), None, process, log)
