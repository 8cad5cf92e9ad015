"""Pages of Markdown as programs: their blocks run in order, and print what the page shows.

A block of ``text`` or ``json`` right after a block that runs shows its output. In that output, ``...`` stands
for any text, and alone on a line for any lines; numbers are compared as far as they are shown. A command that
serves runs in the background until the end of the page, or until the next such command. A block that cannot
run here has a comment before it: ``<!-- not run: the reason -->``.
"""

import contextlib
import os
import re
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from conftest import BIN, PATIENCE, ROOT, alike, environment, eventually, free_port, run, started

from unpickled.server import config
from unpickled.server.lifecycle import serving

PAGES = sorted(
    [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("README.md")],
)
# The beginning of a sentence that leaves its subject open, also in a list or in the cell of a table.
SUBJECTLESS = re.compile(r"(?:^|[.:!?]\s+|\|\s*|^- )((?:Who|What|Else|Of)\b.{,40})", re.M)
_BLOCK = re.compile(r"(?:^<!-- not run: ([^\n]*) -->\n)?^```([a-z]+)\n(.*?)^```$", re.M | re.S)
_SERVES = re.compile(r"^(?:\w+=\S+ )*(?:unpickled serve|unpickled consume|make serve|gunicorn )", re.M)
# A server follows its folder and notes what it has predicted with a delay; a busy machine misses deadlines.
# These blocks run until they print what the page shows.
_FOLLOWS = re.compile(
    r"/metrics|/models/\w+ |/truth\b|Request-Timeout: |unpickled log list|unpickled judge|XRANGE"
)
# Dates, and sizes of files, which depend on the libraries that wrote them.
_FLEETING = re.compile(r"\d{4}-\d\d-\d\d|\S+ [kMG]?B\b")
# Locust's long runs, shortened.
_SHORTER = {"--run-time 10s": "--run-time 1s", "--rung-time 5": "--rung-time 1"}
# A shell leaves a server in the background; here it would end with its block.
_LASTING = {"nats-server -js": "setsid nats-server -js"}
_LATE = {"not sent before the end", "no answer before the end"}
_FAILURE = re.compile(r"^\d+ +POST .*?: ([a-z ]+)", re.M)
_ADDRESS = ":8000"


@dataclass(frozen=True)
class Block:
    """One block of code. ``reason`` says why it is not run; None where it is."""

    language: str
    text: str
    reason: str | None


def blocks(page: Path) -> list[Block]:
    """The blocks of a page, directives left out."""
    matches = _BLOCK.findall(page.read_text("utf-8"))
    return [Block(language, text, reason or None) for reason, language, text in matches]


def _serves(block: Block) -> bool:
    return block.language == "sh" and _SERVES.search(block.text) is not None


def runs(block: Block) -> bool:
    """Whether a block is a program or a file of settings, not the output of one."""
    return block.reason is None and block.language in ("sh", "python", "toml")


@dataclass
class Reading:
    """A page under way: the folder where its blocks run, and the server that they have started.

    ``places`` has the ends of addresses in the page, such as ":8000", and what stands in their place here.
    """

    folder: Path
    port: int = field(default_factory=free_port)
    places: dict[str, str] = field(default_factory=dict)
    _running: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def run(self, page: list[Block]) -> None:
        """Run every block in turn; AssertionError where one prints something other than the page shows."""
        program = [block for block in page if runs(block)]
        if any(_ADDRESS in block.text for block in program) and not any(map(_serves, program)):
            self._serve("unpickled serve")
        for block, following in zip(page, [*page[1:], None], strict=True):
            if runs(block):
                shows = following is not None and following.language in ("text", "json")
                self._check(block, following.text if following and shows else None)

    def close(self) -> None:
        """End the server that the page has started."""
        self._running.close()

    def _check(self, block: Block, expected: str | None) -> None:
        deadline = time.monotonic() + (PATIENCE if _FOLLOWS.search(block.text) else 0)
        printed = self._printed(block)
        while expected and not fits(expected, printed) and time.monotonic() < deadline:
            time.sleep(0.1)
            printed = self._printed(block)
        difference = f"{block.text}\nprinted:\n{printed}\nshown:\n{expected}"
        assert expected is None or fits(expected, printed), difference

    def _printed(self, block: Block) -> str:
        text = block.text
        for shown, place in self._places():
            text = text.replace(shown, place)
        if block.language == "toml":
            return self._settings(text)
        if block.language == "python":
            return self._finished([sys.executable, "-c", text])
        if _serves(block):
            return self._serve(text)
        for shown, replacement in (_SHORTER | _LASTING).items():
            text = text.replace(shown, replacement)
        return self._finished(["bash", "-ec", text])

    def _finished(self, command: list[str]) -> str:
        completed = run(command, cwd=self.folder, env=environment())
        printed = completed.stdout + completed.stderr
        # Locust fails where a busy machine has not sent or answered every request in time.
        late = {failure.strip() in _LATE for failure in _FAILURE.findall(printed)} == {True}
        assert completed.returncode == 0 or late, f"{command[-1]}\n{printed}"
        return self._shown(completed.stdout)

    def _serve(self, text: str) -> str:
        """Start a server in the background; its output once it answers."""
        self.close()
        log = self.folder / "server.log"
        command = ["bash", "-c", text.replace("make serve", f"make serve BIN={BIN}")]
        environ = environment(UNPICKLED_PORT=str(self.port))
        with log.open("wb") as output:
            process = started(command, cwd=self.folder, env=environ, stdout=output, stderr=output)
            server = self._running.enter_context(process)
        # gunicorn prints no banner; a consumer has no address but the admin port, which is its last line.
        consumes = "unpickled consume" in text
        signs = {"gunicorn": "Booting worker", "unpickled consume": "probes and metrics"}
        sign = next((sign for program, sign in signs.items() if program in text), "Try it")
        eventually(
            lambda: server.poll() is not None or (sign in log.read_text() and (consumes or self._listens()))
        )
        assert server.poll() is None, log.read_text()
        return self._shown(log.read_text())

    def _places(self) -> list[tuple[str, str]]:
        return [(_ADDRESS, f":{self.port}"), *self.places.items()]

    def _shown(self, printed: str) -> str:
        """An output with the addresses of the page."""
        for shown, place in self._places():
            printed = printed.replace(place, shown)
        return printed

    def _listens(self) -> bool:
        with socket.socket() as connection:
            return connection.connect_ex(("127.0.0.1", self.port)) == 0

    def _settings(self, text: str) -> str:
        """Read a file of settings, whose first line is its name."""
        path = self.folder / Path(text.split()[1]).name
        path.write_text(text)
        assert serving.parse(text) if path.name == serving.FILE else config.load({"config": str(path)})
        return ""


def fits(expected: str, printed: str) -> bool:
    """Whether an output is the one that a page shows."""
    return _fits(_lines(expected), _lines(printed))


def _lines(text: str) -> list[str]:
    return [line.strip() for line in _FLEETING.sub("#", text).strip().splitlines()]


def _fits(expected: list[str], printed: list[str]) -> bool:
    if not expected:
        return not printed
    if expected[0] == "...":
        return any(_fits(expected[1:], printed[skipped:]) for skipped in range(len(printed) + 1))
    return bool(printed) and alike(printed[0], expected[0]) and _fits(expected[1:], printed[1:])


def checkout(folder: Path) -> Path:
    """A folder with the tree's examples, benchmarks and deployment files under the names in the pages."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("benchmarks", "deploy", "examples"):
        os.symlink(ROOT / name, folder / name)
    return folder


@contextlib.contextmanager
def reading(folder: Path, places: dict[str, str] | None = None) -> Iterator[Reading]:
    """A reader of a page in a folder, with these places; the servers of the page end with the block."""
    page = Reading(folder, places=places or {})
    try:
        yield page
    finally:
        page.close()
