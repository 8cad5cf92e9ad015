"""ONNX Runtime in WebAssembly, the npm package onnxruntime-web: a browser's runtime, run by Node.js here."""

import re
import shutil
import subprocess
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from unpickled.server.errors import ServingError
from unpickled.server.message import strict
from unpickled.server.message.answer import dumps
from unpickled.server.model.feeds import Feeds
from unpickled.server.model.session import Model
from unpickled.server.runtimes.answers import Answers

PACKAGE = "onnxruntime-web"
# The release of the package that the tests run, and the oldest Node.js.
RELEASE, NODE = "1.30.0", 20
_SCRIPT = Path(__file__).parent / "web.mjs"
_ENTRY = "dist/ort.node.min.mjs"
_DTYPES = {"float32": np.float32, "float64": np.float64, "int64": np.int64}


class Web(NamedTuple):
    """Node.js and the package that it runs: the paths of both, and their versions."""

    node: str
    node_version: str
    package: Path
    version: str

    @property
    def title(self) -> str:
        """The runtime in words, with its versions."""
        return f"{PACKAGE} {self.version} (Node.js {self.node_version})"

    def answers(self, model: Model, data: bytes, batches: Iterable[Feeds]) -> list[Answers]:
        """Labels (rows,) and scores (rows, width) of each batch, by the file with these bytes.

        Raises ServingError where the runtime fails, and InferenceFailed where its answers have another shape.
        """
        feeds = list(batches)
        tensors = [tensor.name for tensor in model.outputs.tensors]
        head = {"fetches": tensors, "batches": [_written(batch) for batch in feeds]}
        runs = strict.parse(self._run(dumps(head) + b"\n" + data))
        first = model.manifest.inputs[0].name
        return [
            model.outputs.read([_read(run[name]) for name in tensors], len(batch[first]))
            for run, batch in zip(runs, feeds, strict=True)
        ]

    def _run(self, content: bytes) -> bytes:
        command = [self.node, str(_SCRIPT), str(self.package / _ENTRY)]
        completed = subprocess.run(command, input=content, capture_output=True, check=False)
        lines = completed.stdout.splitlines()
        if completed.returncode or not lines:
            errors = completed.stderr.decode(errors="replace").strip().splitlines()
            raise ServingError(f"{self.title} cannot run it: {errors[-1] if errors else 'no answer came'}")
        return lines[-1]


def find(environ: Mapping[str, str], folder: Path | None = None) -> Web:
    """Node.js on the PATH, and the package in a folder node_modules.

    Without ``folder`` the package is looked for in the node_modules of the current folder, then in the
    folders of NODE_PATH. Raises ServingError, which says how to install what is missing.
    """
    node = shutil.which("node", path=environ.get("PATH", ""))
    if node is None:
        raise ServingError(
            f"there is no node on the PATH: --runtime web runs {PACKAGE} in Node.js, install release "
            f"{NODE} or a newer one"
        )
    version = _version(node)
    if int(version.partition(".")[0]) < NODE:
        raise ServingError(f"{node} is Node.js {version}: {PACKAGE} needs release {NODE} or a newer one")
    package = _package(environ, folder)
    return Web(node, version, package, strict.parse((package / "package.json").read_bytes())["version"])


def _version(node: str) -> str:
    completed = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    match = re.fullmatch(r"v(\d+\.\d+\.\d+\S*)", completed.stdout.strip())
    if match is None:
        raise ServingError(
            f"{node} does not say its version: {(completed.stderr or completed.stdout).strip()}"
        )
    return match[1]


def _package(environ: Mapping[str, str], folder: Path | None) -> Path:
    named = [Path(name) for name in environ.get("NODE_PATH", "").split(":") if name]
    folders = [Path("node_modules"), *named] if folder is None else [folder]
    for place in folders:
        if (place / PACKAGE / _ENTRY).is_file():
            return (place / PACKAGE).resolve()
    searched = ", ".join(str(place / PACKAGE) for place in folders)
    raise ServingError(
        f"{PACKAGE} is not found ({searched}): run npm install {PACKAGE}@{RELEASE} here, or name another "
        "folder node_modules with --node-modules"
    )


def _written(feeds: Feeds) -> dict[str, Any]:
    """The tensors as the script reads them: numbers as the base64 text of their bytes."""
    return {
        name: {
            "type": "string" if array.dtype == np.object_ else array.dtype.name,
            "dims": array.shape,
            "data": array.ravel().tolist() if array.dtype == np.object_ else _text(array),
        }
        for name, array in feeds.items()
    }


def _text(array: npt.NDArray[Any]) -> str:
    return b64encode(array.astype(array.dtype.newbyteorder("<"), order="C").tobytes()).decode()


def _read(tensor: Mapping[str, Any]) -> npt.NDArray[Any]:
    """The array of one output."""
    shape: Sequence[int] = [int(length) for length in tensor["dims"]]
    if tensor["type"] == "string":
        return np.array(tensor["data"], np.object_).reshape(shape)
    dtype = np.dtype(_DTYPES[tensor["type"]]).newbyteorder("<")
    return np.frombuffer(b64decode(tensor["data"]), dtype).reshape(shape)
