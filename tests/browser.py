"""A real Chromium without a window, controlled over a pipe.

The protocol is https://chromedevtools.github.io/devtools-protocol: JSON documents that end in a zero byte, to
the browser's file descriptor 3 and from its descriptor 4. It needs the browser alone, no driver.
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
    """One page. ``complaints`` holds each error of a script, of the policy and of the network."""

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
            reply = self._receive()
            if reply.get("id") == self._count:
                assert "error" not in reply, f"{method}: {reply}"
                return reply["result"]
            self._note(reply.get("method"), reply.get("params", {}))

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
        # Without another address in between, a new fragment would load nothing.
        self.call("Page.navigate", url="about:blank")
        navigation = self.call("Page.navigate", url=url)
        assert "errorText" not in navigation, navigation
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def ask(self, script: str) -> Any:
        """The value of an expression in the page."""
        evaluation = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in evaluation, evaluation["exceptionDetails"]
        return evaluation["result"].get("value")

    def wait(self, script: str) -> None:
        """Wait until an expression is true."""
        deadline = time.monotonic() + PATIENCE
        while not self.ask(f"Boolean({script})"):
            assert time.monotonic() < deadline, f"not true: {script}; the page is {self.text('body')!r}"
            time.sleep(0.02)

    def text(self, selector: str) -> str:
        """The text that the page shows in an element."""
        return str(self.ask(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    def click(self, selector: str) -> None:
        """Scroll there and click its middle."""
        element = f"document.querySelector({json.dumps(selector)})"
        self.ask(f"{element}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
        x, y = self.ask(f"(b => [b.x + b.width / 2, b.y + b.height / 2])({element}.getBoundingClientRect())")
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press(self, *keys: str) -> None:
        """Keys by name: Tab, Enter, ArrowRight."""
        for key in keys:
            event = {"key": " " if key == "Space" else key, "code": key, "windowsVirtualKeyCode": _KEYS[key]}
            text = {"text": _TEXTS[key]} if key in _TEXTS else {}
            self.call("Input.dispatchKeyEvent", type="keyDown", **event, **text)
            self.call("Input.dispatchKeyEvent", type="keyUp", **event)

    def write(self, text: str) -> None:
        """Type a text over the selection of the focused element."""
        self.call("Input.insertText", text=text)

    def fill(self, selector: str, text: str) -> None:
        """Replace the text of a field."""
        self.ask(f"(e => {{ e.focus(); e.select(); }})(document.querySelector({json.dumps(selector)}))")
        self.write(text)

    def choose(self, selector: str, value: str) -> None:
        """Select an option of a list by its value."""
        chosen = f"e => {{ e.value = {json.dumps(value)}; e.dispatchEvent(new Event('change')); }}"
        self.ask(f"({chosen})(document.querySelector({json.dumps(selector)}))")

    def size(self, width: int, height: int = 900, mobile: bool = False) -> None:
        """Set the size of the window, or of a phone's screen."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if mobile else 1,
            mobile=mobile,
        )

    def prefer(self, **features: str) -> None:
        """Set media features: prefer(prefers_color_scheme="dark")."""
        preferences = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.call("Emulation.setEmulatedMedia", features=preferences)

    def screenshot(self, path: Path, whole: bool = True) -> bytes:
        """A PNG of the window, or of all the page."""
        capture = self.call("Page.captureScreenshot", captureBeyondViewport=whole, **self._clip(whole))
        path.write_bytes(base64.b64decode(capture["data"]))
        return path.read_bytes()

    def _clip(self, whole: bool) -> dict[str, Any]:
        if not whole:
            return {}
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        return {"clip": {**size, "scale": 1}}


@contextmanager
def browsing(folder: Path) -> Iterator[Tab]:
    """A browser with a profile of its own; it ends with the block."""
    browser_in, to = os.pipe()
    back, browser_out = os.pipe()
    # The sandbox does not work for root, nor in every container.
    flags = (*_FLAGS, "--no-sandbox", f"--user-data-dir={folder / 'profile'}")
    script = f'exec "$0" "$@" 3<&{browser_in} 4>&{browser_out}'
    with (
        (folder / "browser.log").open("wb") as log,
        started(
            ["bash", "-c", script, str(CHROMIUM), *flags],
            pass_fds=(browser_in, browser_out),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "HOME": str(folder), "TZ": "UTC"},
        ),
    ):
        os.close(browser_in)
        os.close(browser_out)
        try:
            yield Tab(to, back)
        finally:
            os.close(to)
            os.close(back)
