"""A real Chromium without a window, spoken to over a pipe in its own words.

https://chromedevtools.github.io/devtools-protocol: JSON documents that end in a zero byte, to the browser's
file descriptor 3 and from its 4. What Debian ships is enough for that: there is no driver to be installed.
"""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from conftest import PATIENCE, started

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_FLAGS = (
    "--headless",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-sync",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--lang=en-US",
)
_KEYS = {"Tab": 9, "Enter": 13, "Space": 32, "End": 35, "Home": 36, "ArrowRight": 39, "ArrowDown": 40}
_TEXTS = {"Enter": "\r", "Space": " "}


class Tab:
    """One page. ``complaints`` is all that the browser found wrong with it: scripts, policy, network."""

    def __init__(self, to: int, back: int) -> None:
        self.complaints: list[str] = []
        self._to, self._back = to, back
        self._buffer = b""
        self._count = 0
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol, and its result."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            found = self._receive()
            if found.get("id") == self._count:
                assert "error" not in found, f"{method}: {found}"
                return found["result"]
            self._note(found.get("method"), found.get("params", {}))

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._back], [], [], PATIENCE)
            assert ready, "the browser does not answer"
            more = os.read(self._back, 1 << 20)
            assert more, "the browser has ended"
            self._buffer += more
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def _note(self, method: str | None, event: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(event["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and event["type"] in ("error", "warning", "assert"):
            self.complaints.append(json.dumps(event["args"]))
        elif method == "Log.entryAdded" and event["entry"]["level"] in ("error", "warning"):
            self.complaints.append(f"{event['entry']['text']} {event['entry'].get('url', '')}")
        elif method == "Page.javascriptDialogOpening":
            self.complaints.append(f"dialog: {event['message']}")

    def open(self, url: str) -> None:
        """Load a page."""
        # Else another fragment of the same address would be no load.
        self.call("Page.navigate", url="about:blank")
        found = self.call("Page.navigate", url=url)
        assert "errorText" not in found, found
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def ask(self, script: str) -> Any:
        """The value of an expression in the page."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, script: str) -> None:
        """Until an expression holds."""
        deadline = time.monotonic() + PATIENCE
        while not self.ask(f"Boolean({script})"):
            assert time.monotonic() < deadline, f"never: {script}; the page says {self.text('body')!r}"
            time.sleep(0.02)

    def text(self, selector: str) -> str:
        """What is to be read there."""
        return str(self.ask(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    def click(self, selector: str) -> None:
        """Scroll there and click its middle."""
        found = f"document.querySelector({json.dumps(selector)})"
        self.ask(f"{found}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
        x, y = self.ask(f"(b => [b.x + b.width / 2, b.y + b.height / 2])({found}.getBoundingClientRect())")
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press(self, *keys: str) -> None:
        """Keys by name: Tab, Enter, ArrowRight."""
        for key in keys:
            said = {"key": " " if key == "Space" else key, "code": key, "windowsVirtualKeyCode": _KEYS[key]}
            text = {"text": _TEXTS[key]} if key in _TEXTS else {}
            self.call("Input.dispatchKeyEvent", type="keyDown", **said, **text)
            self.call("Input.dispatchKeyEvent", type="keyUp", **said)

    def write(self, text: str) -> None:
        """Into what has the focus, in place of what is selected there."""
        self.call("Input.insertText", text=text)

    def fill(self, selector: str, text: str) -> None:
        """A field with another text."""
        self.ask(f"(e => {{ e.focus(); e.select(); }})(document.querySelector({json.dumps(selector)}))")
        self.write(text)

    def choose(self, selector: str, value: str) -> None:
        """One of a list's options, by its value."""
        chosen = f"e => {{ e.value = {json.dumps(value)}; e.dispatchEvent(new Event('change')); }}"
        self.ask(f"({chosen})(document.querySelector({json.dumps(selector)}))")

    def size(self, width: int, height: int = 900, mobile: bool = False) -> None:
        """The window, or a phone's screen."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if mobile else 1,
            mobile=mobile,
        )

    def prefer(self, **features: str) -> None:
        """Media features: prefer(prefers_color_scheme="dark")."""
        named = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.call("Emulation.setEmulatedMedia", features=named)

    def screenshot(self, path: Path, whole: bool = True) -> bytes:
        """A PNG of the window, or of all the page."""
        found = self.call("Page.captureScreenshot", captureBeyondViewport=whole, **self._clip(whole))
        path.write_bytes(base64.b64decode(found["data"]))
        return path.read_bytes()

    def _clip(self, whole: bool) -> dict[str, Any]:
        if not whole:
            return {}
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        return {"clip": {**size, "scale": 1}}


@contextmanager
def browsing(folder: Path) -> Iterator[Tab]:
    """A browser that has nothing of any other in it; ended on the way out."""
    theirs, to = os.pipe()
    back, theirs_back = os.pipe()
    # root has no sandbox, and in a container there may be none at all.
    flags = (*_FLAGS, "--no-sandbox", f"--user-data-dir={folder / 'profile'}")
    line = f'exec "$0" "$@" 3<&{theirs} 4>&{theirs_back}'
    with (
        (folder / "browser.log").open("wb") as log,
        started(
            ["bash", "-c", line, str(CHROMIUM), *flags],
            pass_fds=(theirs, theirs_back),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "HOME": str(folder), "TZ": "UTC"},
        ),
    ):
        os.close(theirs)
        os.close(theirs_back)
        try:
            yield Tab(to, back)
        finally:
            os.close(to)
            os.close(back)
