"""Headless Chromium, told what to do by its DevTools protocol through a pipe: no package is needed for it."""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import subprocess
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
# It is to end a test whose browser has died or hangs, not to time anything.
_MOST_SECONDS = 300
_OPTIONS = (
    "--headless=new",
    "--remote-debugging-pipe",
    # Needed as root, and in containers; it opens nothing but pages of the tests.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
)


def find() -> str | None:
    """Chromium's place on this machine, if it has one."""
    return next(filter(None, map(shutil.which, _NAMES)), None)


class Chromium:
    """One page of a browser.

    Attributes
    ----------
    complaints : list of str
        What it has said on its console since the page was opened, breaches of the page's policy included.
    requests : list of str
        Addresses that the page has asked for.
    """

    def __init__(self, command: str, profile: Path) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self._events: deque[str] = deque()
        self._left = b""
        self._n_calls = 0
        self._session: str | None = None
        self._process = self._start(command, profile)
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")

    def _start(self, command: str, profile: Path) -> subprocess.Popen[bytes]:
        (theirs_in, ours_out), (ours_in, theirs_out) = os.pipe(), os.pipe()
        self._out, self._in = ours_out, ours_in
        # It reads from descriptor 3 and writes to 4; neither may be one of those that are moved there.
        moved = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (theirs_in, theirs_out)]
        redirected = f'exec "$0" "$@" 3<&{moved[0]} 4>&{moved[1]}'
        shell = ["bash", "-c", redirected, command, *_OPTIONS, f"--user-data-dir={profile}", "about:blank"]
        process = subprocess.Popen(
            shell,
            pass_fds=moved,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in (theirs_in, theirs_out, *moved):
            os.close(end)
        return process

    def close(self) -> None:
        """End the browser and wait until it has ended."""
        self._session = None
        try:
            self._call("Browser.close")
        except (OSError, EOFError):
            self._process.kill()
        self._process.wait()
        os.close(self._out)
        os.close(self._in)

    def open(self, path: Path, fragment: str = "") -> None:
        """Load a file's page and wait until it is loaded."""
        self.visit(path.as_uri() + fragment)

    def visit(self, address: str) -> None:
        """Load a page and wait until it is loaded."""
        self._call("Page.navigate", url="about:blank")
        self._wait("Page.loadEventFired")
        self.complaints.clear()
        self.requests.clear()
        self._events.clear()
        self._call("Page.navigate", url=address)
        self._wait("Page.loadEventFired")

    def look(self, width: int, dark: bool, height: int = 900) -> None:
        """Set the window's width and height in pixels, and the system's theme."""
        phone = width < 600
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=phone,
        )
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        self._call("Emulation.setEmulatedMedia", features=features)

    def run(self, script: str) -> Any:
        """The value of an expression in the page; a promise is waited for."""
        answer = self._call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(json.dumps(answer["exceptionDetails"])[:2000])
        return answer["result"].get("value")

    def follow(self, script: str) -> None:
        """Run what changes the address's fragment, and wait until the page has heard of it."""
        # The page listens since earlier, so it has dealt with the event when this hears of it.
        heard = "new Promise(heard => addEventListener('hashchange', heard, {once: true}))"
        self.run(f"{{ const changed = {heard}; {script}; changed.then(() => null); }}")

    def press(self, key: str, code: int, text: str = "", shift: bool = False) -> None:
        """Press a key and let it go."""
        facts = {"key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
        self._call("Input.dispatchKeyEvent", type="keyDown", text=text, **facts)
        self._call("Input.dispatchKeyEvent", type="keyUp", **facts)

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._n_calls += 1
        number = self._n_calls
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        sent = json.dumps(message).encode() + b"\0"
        while sent:
            sent = sent[os.write(self._out, sent) :]
        while (answer := self._receive()).get("id") != number:
            self._note(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def _wait(self, event: str) -> None:
        while event not in self._events:
            self._note(self._receive())
        self._events.remove(event)

    def _note(self, message: dict[str, Any]) -> None:
        method, params = message.get("method", ""), message.get("params", {})
        self._events.append(method)
        if method == "Log.entryAdded":
            self.complaints.append(params["entry"]["text"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(params["exceptionDetails"])[:2000])
        elif method == "Runtime.consoleAPICalled":
            self.complaints.append(json.dumps(params["args"])[:2000])
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Page.javascriptDialogOpening":
            self.complaints.append(f"a dialog: {params['message']}")
            self._call("Page.handleJavaScriptDialog", accept=False)

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._left:
            if not select.select([self._in], [], [], _MOST_SECONDS)[0]:
                raise EOFError("the browser says nothing")
            block = os.read(self._in, 1 << 20)
            if not block:
                raise EOFError("the browser has ended")
            self._left += block
        message, _, self._left = self._left.partition(b"\0")
        return json.loads(message)


@contextmanager
def browsing(profile: Path) -> Iterator[Chromium]:
    """A browser with a folder of its own, for tests that are skipped where there is none."""
    if (command := find()) is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    browser = Chromium(command, profile)
    yield browser
    browser.close()
