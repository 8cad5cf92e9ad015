"""The command ``sign``: makes keys, and signatures of model files. A machine that signs needs no server."""

import hashlib
import os
import uuid
from contextlib import suppress
from pathlib import Path

import click

from unpickled.server import console
from unpickled.server.artifact import detached
from unpickled.server.artifact.detached import SUFFIX
from unpickled.server.artifact.manifest import FILE, NAME
from unpickled.server.errors import ConfigError, ServingError
from unpickled.server.lifecycle import disk
from unpickled.server.quote import quoted


@click.command(
    epilog=console.examples(
        "unpickled sign --new-key key.pem               a private key, and key.pub beside it",
        "unpickled sign models/iris/3 --key key.pem     writes models/iris/3/model.onnx.sig",
        "unpickled sign iris.onnx --name iris --key key.pem",
        "unpickled serve --require-signature key.pub    serves signed versions only",
    )
)
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path), metavar="[VERSION]...")
@click.option("--key", type=click.Path(path_type=Path), metavar="FILE", help="private key, as PEM")
@click.option(
    "--name",
    metavar="NAME",
    help="model that the file is for  [default: that of its folder, models/NAME/VERSION]",
)
@click.option(
    "--new-key",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="write a new private key, and do no more",
)
def sign(paths: tuple[Path, ...], key: Path | None, name: str | None, new_key: Path | None) -> str:
    """Sign versions of models, so that servers can tell that they come from you.

    VERSION is a folder such as models/iris/3, or a file. The signature (ed25519) goes into a file beside it,
    model.onnx.sig. It binds the bytes of the file and the name of the model: it does not fit another file,
    and no other model. It does not bind the number: an older version that you have signed stays signed.
    """
    if new_key is not None:
        if paths or key:
            raise click.UsageError("--new-key goes alone: sign with the key afterwards")
        return _made(new_key)
    if not paths:
        raise click.UsageError("name a version to sign, such as models/iris/3")
    if key is None:
        raise click.UsageError("--key is missing: unpickled sign --new-key key.pem makes one")
    return "\n".join(_signed(_file(path), key, name) for path in paths)


def _made(path: Path) -> str:
    public = detached.make_keys(path)
    return (
        f"{path} is the private key: whoever has it can sign in your name.\n"
        f"{public} is the public key, for servers: unpickled serve --require-signature {public}"
    )


def _file(path: Path) -> Path:
    return path / FILE if path.is_dir() else path


def _signed(path: Path, key: Path, name: str | None) -> str:
    name = _name(path) if name is None else name
    if not NAME.fullmatch(name):
        raise ConfigError(f"{quoted(name)} cannot name a model: use letters, digits, '.', '_' and '-'")
    try:
        with disk.opened(path) as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ServingError(f"{path} cannot be read: {error.strerror}") from None
    line = detached.line(key, name, sha256)
    _write(path.with_name(path.name + SUFFIX), line)
    return f"{path} is signed for {name} with key {line.split()[1].decode()} (sha256 {sha256[:12]})"


def _name(path: Path) -> str:
    """The model that a file belongs to, by its folder."""
    version = path.absolute().parent
    if path.name != FILE or not version.name.isdecimal():
        raise ConfigError(f"{path} is in no folder such as models/iris/3: name its model with --name")
    return version.parent.name


def _write(path: Path, content: bytes) -> None:
    """Replace a file at once: a server reads the former one, or all of the new one."""
    staging = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        staging.write_bytes(content)
        staging.replace(path)
    except OSError as error:
        raise ServingError(f"{path} cannot be written: {error.strerror}") from None
    finally:
        with suppress(FileNotFoundError):
            os.unlink(staging)
