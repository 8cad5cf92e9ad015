"""Pages of Markdown as programs: their blocks run in order, and print what the page shows.

A block of ``text`` or ``json`` right after a block that runs shows its output. In it, ``...`` stands for any
text, and alone on a line for any lines; numbers are compared as far as they are shown. A command that
serves runs in the background until the page ends. A block that cannot run here has a comment before it:
``<!-- not run: the reason -->``.
"""

import contextlib
import os
import re
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from conftest import BIN, PATIENCE, ROOT, environment, eventually, free_port, run, started

from unpickled.server import config
from unpickled.server.lifecycle import serving

PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), ROOT / "examples" / "README.md"])
_BLOCK = re.compile(r"(?:^<!-- not run: ([^\n]*) -->\n)?^```([a-z]+)\n(.*?)^```$", re.M | re.S)
_SERVES = re.compile(r"^(?:\w+=\S+ )*(?:unpickled serve|make serve|gunicorn )", re.M)
# A server follows its folder in its own time: these are run until they print what is shown.
_FOLLOWS = re.compile(r"/metrics|/models/\w+ ")
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?(?![\w])")
# What depends on the day and on the libraries that wrote a file.
_FLEETING = re.compile(r"\d{4}-\d\d-\d\d|\S+ [kMG]?B\b")
# Locust's long runs, shortened.
_SHORTER = {"--run-time 10s": "--run-time 1s", "--rung-time 5": "--rung-time 1"}
_LATE = {"not sent before the end", "no answer before the end"}
_FAILURE = re.compile(r"^\d+ +POST .*?: ([a-z ]+)", re.M)
# Where the processor's choice of instructions shows.
_SMALL = Decimal("1e-6")
_ADDRESS = ":8000"


@dataclass(frozen=True)
class Block:
    """One block of code. ``reason`` says why it is not run; None where it is."""

    language: str
    text: str
    reason: str | None


def blocks(page: Path) -> list[Block]:
    """The blocks of a page, directives left out."""
    found = _BLOCK.findall(page.read_text("utf-8"))
    return [Block(language, text, reason or None) for reason, language, text in found]


def _serves(block: Block) -> bool:
    return block.language == "sh" and _SERVES.search(block.text) is not None


def runs(block: Block) -> bool:
    """Whether a block is a program, or a file of settings, and not what one prints."""
    return block.reason is None and block.language in ("sh", "python", "toml")


@dataclass
class Reading:
    """A page that is being read: where it runs, and the server it has started."""

    folder: Path
    port: int = field(default_factory=free_port)
    _running: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def run(self, page: list[Block]) -> None:
        """Every block in turn; AssertionError where one prints something else than the page shows."""
        program = [block for block in page if runs(block)]
        if any(_ADDRESS in block.text for block in program) and not any(map(_serves, program)):
            self._serve("unpickled serve")
        for block, following in zip(page, [*page[1:], None], strict=True):
            if runs(block):
                shows = following is not None and following.language in ("text", "json")
                self._check(block, following.text if following and shows else None)

    def close(self) -> None:
        """End what the page has started."""
        self._running.close()

    def _check(self, block: Block, shown: str | None) -> None:
        deadline = time.monotonic() + (PATIENCE if _FOLLOWS.search(block.text) else 0)
        printed = self._printed(block)
        while shown and not fits(shown, printed) and time.monotonic() < deadline:
            time.sleep(0.1)
            printed = self._printed(block)
        assert shown is None or fits(shown, printed), f"{block.text}\nprinted:\n{printed}\nshown:\n{shown}"

    def _printed(self, block: Block) -> str:
        text = block.text.replace(_ADDRESS, f":{self.port}")
        if block.language == "toml":
            return self._settings(text)
        if block.language == "python":
            return self._finished([sys.executable, "-c", text])
        if _serves(block):
            return self._serve(text)
        for long, short in _SHORTER.items():
            text = text.replace(long, short)
        return self._finished(["bash", "-ec", text])

    def _finished(self, command: list[str]) -> str:
        done = run(command, cwd=self.folder, env=environment())
        printed = done.stdout + done.stderr
        # Locust fails where a busy machine has not sent or answered all in time: no other failure passes.
        late = {failure.strip() in _LATE for failure in _FAILURE.findall(printed)} == {True}
        assert done.returncode == 0 or late, f"{command[-1]}\n{printed}"
        return done.stdout.replace(f":{self.port}", _ADDRESS)

    def _serve(self, text: str) -> str:
        """Start a server in the background; what it has printed once it answers."""
        self.close()
        log = self.folder / "server.log"
        line = ["bash", "-c", text.replace("make serve", f"make serve BIN={BIN}")]
        environ = environment(UNPICKLED_PORT=str(self.port))
        with log.open("wb") as output:
            process = started(line, cwd=self.folder, env=environ, stdout=output, stderr=output)
            server = self._running.enter_context(process)
        # gunicorn prints no banner.
        sign = "Booting worker" if "gunicorn" in text else "Try it"
        eventually(lambda: server.poll() is not None or (sign in log.read_text() and self._listens()))
        assert server.poll() is None, log.read_text()
        return log.read_text().replace(f":{self.port}", _ADDRESS)

    def _listens(self) -> bool:
        with socket.socket() as connection:
            return connection.connect_ex(("127.0.0.1", self.port)) == 0

    def _settings(self, text: str) -> str:
        """A file of settings, whose name is its first line, is read without a mistake."""
        path = self.folder / Path(text.split()[1]).name
        path.write_text(text)
        assert serving.parse(text) if path.name == serving.FILE else config.load({"config": str(path)})
        return ""


def fits(shown: str, printed: str) -> bool:
    """Whether a page shows what was printed."""
    return _fits(_lines(shown), _lines(printed))


def _lines(text: str) -> list[str]:
    return [line.strip() for line in _FLEETING.sub("#", text).strip().splitlines()]


def _fits(shown: list[str], printed: list[str]) -> bool:
    if not shown:
        return not printed
    if shown[0] == "...":
        return any(_fits(shown[1:], printed[skipped:]) for skipped in range(len(printed) + 1))
    return bool(printed) and _alike(shown[0], printed[0]) and _fits(shown[1:], printed[1:])


def _alike(shown: str, printed: str) -> bool:
    """One line: its words are equal, and its numbers are close."""
    numbers = _NUMBER.findall(shown)
    words = [_pattern(part) for part in _NUMBER.split(shown)]
    match = re.fullmatch(f"({_NUMBER.pattern})".join(words), printed)
    return match is not None and all(map(_close, numbers, match.groups()))


def _pattern(words: str) -> str:
    """What matches these words, whatever the width of the gaps between them."""
    parts = re.split(r"(\.\.\.|\s+)", words)
    return "".join({"...": ".*?"}.get(part, r"\s+" if part.isspace() else re.escape(part)) for part in parts)


def _close(shown: str, printed: str) -> bool:
    """Whether a number is the shown one, as far as that is shown; whole numbers are equal."""
    if shown.lstrip("-").isdigit():
        return Decimal(shown) == Decimal(printed)
    last = Decimal(1).scaleb(int(Decimal(shown).as_tuple().exponent))
    return abs(Decimal(shown) - Decimal(printed)) <= max(last, _SMALL)


def checkout(folder: Path) -> Path:
    """A folder with the tree's own examples, benchmarks and deployment files, as pages name them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("benchmarks", "deploy", "examples"):
        os.symlink(ROOT / name, folder / name)
    return folder


@contextlib.contextmanager
def reading(folder: Path) -> Iterator[Reading]:
    """A page's reader in a folder; what it has started ends with it."""
    page = Reading(folder)
    try:
        yield page
    finally:
        page.close()
