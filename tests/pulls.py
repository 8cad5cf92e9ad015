"""The command pull as tests call it, in a working directory of their own."""

import hashlib
from pathlib import Path

from unpickled.__main__ import main


def pulled(capsys, *words: object) -> str:
    """The line that a pull prints."""
    assert main(["pull", *map(str, words)]) == 0, capsys.readouterr().err
    return str(capsys.readouterr().out).strip()


def refused(capsys, *words: object) -> str:
    """The sentence by which a pull ends; nothing is left of the file under way."""
    assert main(["pull", *map(str, words)]) == 1
    assert not [*Path.cwd().rglob(".pull-*")]
    return str(capsys.readouterr().err).splitlines()[-1].removeprefix("error: ")


def versions(name: str = "iris") -> list[str]:
    """The folders of a model's versions here."""
    folder = Path("models") / name
    return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def digest(content: bytes) -> str:
    """The sha256 of a content, in hex."""
    return hashlib.sha256(content).hexdigest()
