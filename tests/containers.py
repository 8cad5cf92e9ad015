"""A container engine for tests: podman, in namespaces of its own, with a base that debootstrap makes.

The engine takes the commands of the documentation under the name ``docker``. Its containers have a network
without a way out, where each port is free; builds use the network of the machine, and pip's settings there.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from conftest import environment, run, started

PROGRAMS = ("podman", "unshare", "nsenter", "tar", "curl")
# Control groups of version 2, which podman wants, and the loopback device.
PREPARED = """
umount -l /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup && "$0" -c '
import fcntl, socket, struct
with socket.socket() as any: fcntl.ioctl(any, 0x8914, struct.pack("16sh14x", b"lo", 1))
' && echo prepared && exec sleep infinity
"""
SETTINGS = """
[containers]
cgroups = "disabled"
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
netns = "host"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
DOCKER = """#!/bin/sh
[ "$1" = build ] || exec podman "$@"
shift
exec nsenter --net=/proc/{pid}/ns/net podman build --quiet --isolation chroot --format docker \\
    --network host {volumes} --build-arg BASE=localhost/base "$@" >&2
"""


@dataclass(frozen=True)
class Engine:
    """Runs commands where the containers are."""

    folder: Path
    pid: int

    def command(self, *words: object, cwd: Path | str = "/") -> list[str]:
        """The command line that runs a command there."""
        namespaces = [
            f"--{kind}=/proc/{self.pid}/ns/{name}" for kind, name in (("mount", "mnt"), ("net", "net"))
        ]
        return ["nsenter", *namespaces, f"--wd={cwd}", *map(str, words)]

    @property
    def environ(self) -> dict[str, str]:
        files = {"CONTAINERS_CONF": "containers.conf", "CONTAINERS_STORAGE_CONF": "storage.conf"}
        path = f"{self.folder}:{environment()['PATH']}"
        return {**os.environ, "PATH": path, **{key: str(self.folder / name) for key, name in files.items()}}

    def run(self, *words: object, cwd: Path | str = "/") -> subprocess.CompletedProcess[str]:
        """A command that has ended."""
        return run(self.command(*words, cwd=cwd), env=self.environ)

    def output(self, *words: object, cwd: Path | str = "/") -> str:
        """The output of a command; AssertionError where it fails."""
        completed = self.run(*words, cwd=cwd)
        assert completed.returncode == 0, completed.stdout + completed.stderr
        return completed.stdout

    @contextmanager
    def container(self, *words: object) -> Iterator[str]:
        """The id of a container that ``docker run`` starts; it is removed with the block."""
        name = self.output("docker", "run", "--detach", *words).strip()
        try:
            yield name
        finally:
            self.output("docker", "rm", "--force", "--time", 0, name)

    def ask(self, address: str, *options: str) -> str:
        """The answer to a request, once the server listens."""
        waiting = ("--retry", "60", "--retry-all-errors", "--retry-delay", "1")
        return self.output("curl", "--silent", "--fail", *waiting, *options, f"http://127.0.0.1:{address}")


@contextmanager
def engine(folder: Path, base: Path) -> Iterator[Engine]:
    """An engine with the image localhost/base of an archive; the test is skipped where there can be none."""
    if lacking := [program for program in PROGRAMS if not shutil.which(program)]:
        pytest.skip(f"needs {' and '.join(lacking)}")
    (folder / "containers.conf").write_text(SETTINGS)
    (folder / "storage.conf").write_text(_storage(folder))
    volumes = " ".join(f"--volume {source}:{place}:ro" for source, place in mounts(folder).items())
    (folder / "docker").write_text(DOCKER.format(pid=os.getpid(), volumes=volumes))
    (folder / "docker").chmod(0o755)
    command = ["unshare", "--mount", "--net", "sh", "-c", PREPARED, sys.executable]
    with started(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        printed = process.stdout.readline()
        if printed != "prepared\n":
            pytest.skip(f"needs namespaces with control groups, a chroot has to do: {printed.strip()}")
        made = Engine(folder, process.pid)
        try:
            yield _filled(made, base)
        finally:
            made.run("podman", "rm", "--all", "--force", "--time", 0)
    shutil.rmtree(folder, ignore_errors=True)


def _filled(engine: Engine, base: Path) -> Engine:
    """The engine, once it has the base and has run it."""
    engine.output("podman", "import", "--quiet", base, "localhost/base:latest")
    completed = engine.run("podman", "run", "--rm", "localhost/base", "python3", "-c", "")
    if completed.returncode:
        pytest.skip(
            f"podman runs no container here, a chroot has to do: {completed.stderr.strip().splitlines()[-1]}"
        )
    return engine


def archive(folder: Path) -> Path:
    """An archive with the smallest system of this machine's own release that has Python."""
    if given := os.environ.get("CONTAINER_BASE"):
        return Path(given)
    if os.geteuid() or not shutil.which("debootstrap"):
        pytest.skip("needs root and debootstrap, to make a base")
    listed = run(
        ["apt-get", "indextargets", "--format", "$(SITE) $(CODENAME)", "Created-By: Packages"]
    ).stdout
    if not listed:
        pytest.skip("needs a mirror of Debian, from apt's sources")
    site, release = listed.split()[:2]
    packages = "--include=python3,python3-venv,ca-certificates"
    completed = run(["debootstrap", "--variant=minbase", packages, release, folder / "root", site])
    assert completed.returncode == 0, completed.stdout + completed.stderr
    unneeded = ("--exclude=./var/cache/apt/*", "--exclude=./var/lib/apt/lists/*", "--exclude=./dev/*")
    completed = run(["tar", *unneeded, "-C", folder / "root", "-cf", folder / "root.tar", "."])
    assert completed.returncode == 0, completed.stderr
    return folder / "root.tar"


def _storage(folder: Path) -> str:
    """Layers are mounted over one another, or copied where the file system allows no such mounts."""
    over = run(["stat", "-f", "-c", "%T", folder]).stdout.strip() == "overlayfs"
    driver = "vfs" if over else "overlay"
    return f'[storage]\ndriver = "{driver}"\ngraphroot = "{folder}/store"\nrunroot = "{folder}/run"\n'


def mounts(folder: Path) -> dict[str, str]:
    """The files that give the pip of a build the settings of the tests' pip -> their places there."""
    settings: dict[str, str] = {}
    lines = run([sys.executable, "-m", "pip", "config", "list"]).stdout.splitlines()
    # Variables of the environment win over files.
    for line in sorted(lines, key=lambda line: line.startswith(":env:")):
        key, _, value = line.partition("=")
        settings[key.rpartition(".")[2]] = str(ast.literal_eval(value))
    if certificates := os.environ.get("SSL_CERT_FILE"):
        settings.setdefault("cert", certificates)
    words = [word for value in settings.values() for word in value.split()]
    text = "".join(f"{key} = {' '.join(value.split())}\n" for key, value in settings.items())
    (folder / "pip.conf").write_text(f"[global]\n{text}")
    named = {path: path for path in sorted({*filter(None, map(_local, words))})}
    return {f"{folder}/pip.conf": "/etc/pip.conf", **named}


def _local(word: str) -> str | None:
    """The folder or file that a setting of pip names; a local index is a folder beside its files."""
    if word.startswith("file://"):
        return str(Path(urlsplit(word).path).parent)
    return word if re.match("/[^/]", word) and Path(word).exists() else None
