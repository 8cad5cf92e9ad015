"""The steps of a Containerfile in a chroot, for machines where no engine runs containers.

Each stage is a folder that begins as a copy of the one it is made from. The instructions that
deploy/Containerfile has are known, and no others.
"""

import json
import os
import re
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from conftest import run

# Instructions that change no file of an image.
SAYING = {"LABEL", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK"}
PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin"
# Puts folders and files of the machine into the root, for as long as the command runs.
MOUNTING = """
root=$1; shift
while [ "$1" != -- ]; do
    place=$root${1#*=} source=${1%%=*}; shift
    if [ -d "$source" ]; then mkdir -p "$place"; else mkdir -p "${place%/*}"; touch "$place"; fi
    mount --bind "$source" "$place"
done
shift; exec "$@"
"""


@dataclass(frozen=True)
class Stage:
    """A folder with the files of a stage, and how its commands run.

    ``script`` puts ``mounts``, folders and files of the machine -> their places, into it for each of them.
    """

    root: Path
    script: Path
    mounts: Mapping[str, str]
    environ: dict[str, str] = field(default_factory=lambda: {"PATH": PATH})
    folder: str = "/"
    user: str = "0:0"
    command: tuple[str, ...] = ()

    def words(self, *command: str, **more: str) -> list[str]:
        """The command line that runs a command there, with more variables."""
        mounts = [f"{source}={place}" for source, place in {"/proc": "/proc", **self.mounts}.items()]
        within = ["chroot", f"--userspec={self.user}", str(self.root), "env", "-i", f"--chdir={self.folder}"]
        within += [f"{name}={value}" for name, value in {**self.environ, **more}.items()]
        mounting = ["unshare", "--mount", "sh", "-e", str(self.script), str(self.root), *mounts, "--"]
        return [*mounting, *within, *command]


def joined(text: str) -> list[str]:
    """The lines of a Containerfile, each with those that continue it."""
    return re.sub(r"\\\n", " ", text).splitlines()


class Build:
    """Makes stages of a Containerfile.

    Args:
        file: The Containerfile.
        base: An archive with the files of the base.
        folder: Where the roots of stages are made.
        mounts: Folders and files of the machine that steps need -> their places.
    """

    def __init__(self, file: Path, base: Path, folder: Path, mounts: Mapping[str, str]) -> None:
        self._tree = file.parent.parent
        self._folder = folder
        self._base = base
        self._mounts = mounts
        self._script = folder / "mounting.sh"
        self._script.write_text(MOUNTING)
        self._variables: dict[str, str] = {}
        self._steps: dict[str, tuple[str, list[tuple[str, str]]]] = {}
        self._made: dict[str, Stage] = {}
        self._read(file.read_text("utf-8"))

    def stage(self, name: str) -> Stage:
        """A stage, made at the first call."""
        if name not in self._made:
            parent, steps = self._steps[name]
            stage = self._begun(name, parent)
            for instruction, words in steps:
                stage = self._after(stage, instruction, words)
            self._made[name] = stage
        return self._made[name]

    def _read(self, text: str) -> None:
        lines = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
        steps: list[tuple[str, str]] = []
        for line in joined(lines):
            instruction, _, words = line.strip().partition(" ")
            if instruction == "FROM":
                parent, name = words.split(" AS ")
                steps = []
                self._steps[name] = parent, steps
            elif instruction == "ARG" and "=" in words:
                self._variables.update([words.split("=", 1)])
            elif instruction not in {"", "ARG"}:
                steps.append((instruction, words))

    def _begun(self, name: str, parent: str) -> Stage:
        root = self._folder / name
        if parent in self._steps:
            before = self.stage(parent)
            assert run(["cp", "-a", before.root, root]).returncode == 0
            return replace(before, root=root)
        assert parent == "${BASE}", parent
        root.mkdir()
        assert run(["tar", "-C", root, "-xf", self._base]).returncode == 0
        os.mknod(root / "dev" / "null", 0o20666, os.makedev(1, 3))
        (root / "dev" / "null").chmod(0o666)
        return Stage(root, self._script, self._mounts)

    def _after(self, stage: Stage, instruction: str, words: str) -> Stage:
        """The stage after an instruction."""
        match instruction:
            case "RUN":
                completed = run(stage.words("sh", "-c", words, **self._variables))
                assert completed.returncode == 0, f"{words}\n{completed.stdout}{completed.stderr}"
            case "COPY":
                self._copy(stage, shlex.split(words))
            case "WORKDIR":
                (stage.root / words[1:]).mkdir(parents=True, exist_ok=True)
                return replace(stage, folder=words)
            case "ENV":
                pairs = [word.replace("${PATH}", stage.environ["PATH"]) for word in shlex.split(words)]
                return replace(stage, environ={**stage.environ, **dict(pair.split("=", 1) for pair in pairs)})
            case "USER":
                return replace(stage, user=words)
            case "CMD":
                return replace(stage, command=tuple(json.loads(words)))
            case _:
                assert instruction in SAYING, instruction
        return stage

    def _copy(self, stage: Stage, words: list[str]) -> None:
        options = dict(word[2:].split("=") for word in words if word.startswith("--"))
        *sources, place = [word for word in words if not word.startswith("--")]
        origin = self.stage(options["from"]).root if "from" in options else self._tree
        target = (
            stage.root / stage.folder[1:] / place if not place.startswith("/") else stage.root / place[1:]
        )
        for source in (origin / word.removeprefix("/") for word in sources):
            if source.is_dir():
                shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
            else:
                copied = shutil.copy(source, target)
                Path(copied).chmod(int(options.get("chmod", "0644"), 8))
