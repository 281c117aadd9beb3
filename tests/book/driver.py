"""A page in headless Chromium, driven as a reader would: keys, clicks, values; through the debugging pipe, no library.

Chromium speaks its DevTools protocol over file descriptors 3 and 4 (--remote-debugging-pipe): JSON ended by a NUL.
"""

from __future__ import annotations

import base64
import json
import os
import selectors
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)  # fmt: skip
# Virtual key codes: Chromium acts on these, not on the names.
_KEYS = {
    "Tab": 9,
    "Enter": 13,
    " ": 32,
    "End": 35,
    "Home": 36,
    "ArrowUp": 38,
    "ArrowDown": 40,
    "Backspace": 8,
    "ArrowRight": 39,
}


class Page:
    """One open page: evaluate, press, type, screenshot; `console` and `requests` hold what it said and asked for."""

    def __init__(self, write: int, read: int, seconds: float) -> None:
        self._write, self._read, self._seconds = write, read, seconds
        self._buffer, self._number, self._session, self._events = b"", 0, None, []
        self._selector = selectors.DefaultSelector()
        self._selector.register(read, selectors.EVENT_READ)
        self.console: list[str] = []
        self.requests: list[str] = []

    def call(self, method: str, **params: object) -> dict:
        """Send one command and wait for its answer."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def _next(self) -> dict:
        deadline = time.monotonic() + self._seconds
        while b"\0" not in self._buffer:
            if not self._selector.select(max(deadline - time.monotonic(), 0)):
                raise TimeoutError("Chromium said nothing in time")
            part = os.read(self._read, 1 << 20)
            if not part:
                raise RuntimeError("Chromium ended")
            self._buffer += part
        line, self._buffer = self._buffer.split(b"\0", 1)
        message = json.loads(line)
        self._note(message.get("method"), message.get("params", {}))
        return message

    def _note(self, method: str | None, params: dict) -> None:
        if method == "Runtime.consoleAPICalled":
            self.console.append(" ".join(str(a.get("value", a.get("description"))) for a in params["args"]))
        elif method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.console.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Log.entryAdded":
            self.console.append(params["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            url = params["request"]["url"]
            if not url.startswith(("file:", "data:", "blob:")):
                self.requests.append(url)
        elif method == "Page.loadEventFired":
            self._events.append(method)

    def attach(self, width: int, height: int) -> None:
        """Attach to a new tab of this size."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Runtime", "Log", "Network", "Page"):
            self.call(f"{domain}.enable")
        self.resize(width, height)

    def open(self, url: str) -> None:
        """Go to an address, with a clean slate of messages, and wait until it has loaded."""
        self.console, self.requests, self._events = [], [], []
        self.call("Page.navigate", url=url)
        while "Page.loadEventFired" not in self._events:
            self._next()

    def resize(self, width: int, height: int) -> None:
        """Lay the page out for a window of this size; below 600 px as a phone does."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)

    def evaluate(self, expression: str) -> object:
        """Value of a JavaScript expression; a promise is waited for."""
        options = {"returnByValue": True, "awaitPromise": True}
        answer = self.call("Runtime.evaluate", expression=expression, **options)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"].get("exception", {}).get("description", "an exception"))
        return answer["result"].get("value")

    def press(self, key: str, times: int = 1) -> None:
        """Press a key as the keyboard does, wherever the focus is."""
        text = {"Enter": "\r", " ": " "}.get(key, "")
        common = {"key": key, "windowsVirtualKeyCode": _KEYS[key], "code": {" ": "Space"}.get(key, key)}
        for _ in range(times):
            self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
            self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def type(self, text: str) -> None:
        """Enter text where the focus is, over what is selected there."""
        self.call("Input.insertText", text=text)

    def screenshot(self, file: Path) -> None:
        """The whole page as PNG: the window grows to its height first."""
        width, height, whole = self.evaluate("[innerWidth, innerHeight, document.documentElement.scrollHeight]")
        self.resize(width, whole)
        file.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))
        self.resize(width, height)


@contextmanager
def driven(chromium: str, *, width: int = 1280, height: int = 900, seconds: float = 60) -> Iterator[Page]:
    """A tab in a fresh profile; the browser ends with the block."""
    to_browser, from_browser = os.pipe(), os.pipe()
    ends = (to_browser[0], from_browser[1])
    with tempfile.TemporaryDirectory(prefix="book-browser-", ignore_cleanup_errors=True) as folder:
        # the shell puts the pipe's ends where Chromium looks for them: subprocess itself passes only fds as they are
        script = f'exec "$0" "$@" 3<&{ends[0]} 4>&{ends[1]}'
        command = ["bash", "-c", script, chromium, *_FLAGS, f"--user-data-dir={folder}/profile", "about:blank"]
        browser = subprocess.Popen(command, pass_fds=ends, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for end in ends:
            os.close(end)
        try:
            page = Page(to_browser[1], from_browser[0], seconds)
            page.attach(width, height)
            yield page
        finally:
            browser.kill()
            browser.wait()
            os.close(to_browser[1])
            os.close(from_browser[0])
