"""A path -> a model in memory."""

import os
from pathlib import Path
from typing import Literal

from unpickled.server.artifact.manifest import FILE
from unpickled.server.config import Config, Runtime
from unpickled.server.embedded import origins
from unpickled.server.embedded.model import LoadedModel
from unpickled.server.embedded.origins import Fixed, Followed
from unpickled.server.embedded.version import Options, Version
from unpickled.server.errors import ArtifactError, ConfigError
from unpickled.server.lifecycle.serving import FILE as SERVING
from unpickled.server.lifecycle.serving import VERSION
from unpickled.server.lifecycle.signed import check_keys


def load(
    path: "str | os.PathLike[str]",
    version: int | None,
    label: str | None,
    follow: bool,
    runtime: Runtime | None,
    extra_columns: Literal["ignore", "refuse"],
    require_signature: "str | os.PathLike[str] | None",
) -> LoadedModel:
    """The model at a path; see unpickled.load."""
    # A process may change its folder, or send the model to one that has another.
    place = Path(os.path.abspath(path))
    options = Options(runtime or Runtime(), extra_columns, _keys(require_signature))
    chosen = {"version": version is not None, "label": label is not None, "follow": follow}
    asked = [name for name, given in chosen.items() if given]
    if "version" in asked and len(asked) > 1:
        raise ConfigError(f"version={version} is given with {asked[1]}: a version does not change")
    if not _is_model(place):
        if asked:
            raise ConfigError(f"{asked[0]} is for the folder of a model, such as models/iris, not for {path}")
        return LoadedModel(Fixed(_of_file(place, options)))
    if follow:
        return LoadedModel(Followed(place, label, options))
    if version is not None:
        return LoadedModel(Fixed(origins.of_version(place, version, options)))
    return LoadedModel(Fixed(origins.of_folder(place, label, options)))


def _keys(path: "str | os.PathLike[str] | None") -> str | None:
    """The absolute path of the public keys; ConfigError where they cannot be read."""
    if path is None:
        return None
    keys = os.path.abspath(path)
    check_keys(Config(require_signature=keys))
    return keys


def _is_model(place: Path) -> bool:
    """Whether it is the folder of a model; ArtifactError where it is a folder of something else."""
    if not place.is_dir() or (place / FILE).exists():
        return False
    names = os.listdir(place)
    if SERVING in names or any(VERSION.fullmatch(name) for name in names):
        return True
    models = [name for name in sorted(names) if any((place / name).glob(f"*/{FILE}"))]
    remedy = f": load {place / models[0]}" if models else ""
    raise ArtifactError(f"{place} is no model: it holds no <number>/{FILE}{remedy}")


def _of_file(place: Path, options: Options) -> Version:
    file = place / FILE if place.is_dir() else place
    folder = file.parent
    if file.name == FILE and VERSION.fullmatch(folder.name) and file.exists():
        return origins.of_version(folder.parent, int(folder.name), options)
    return origins.of_file(file, options)
