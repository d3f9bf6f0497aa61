"""Pages in a headless Chromium: screenshots, what the console says, and what a script on the page finds."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium here; apt install chromium")

# Without GPU it draws by software, the same picture.
_OPTIONS = ["--headless=new", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
            "--hide-scrollbars", "--no-first-run", "--enable-logging=stderr"]  # fmt: skip


def screenshot(page: Path, size: tuple[int, int] = (900, 640)) -> tuple[np.ndarray, list[str]]:
    """Pixels ``[height, width, 3]`` of a page, and the lines of its console."""
    pixels, _, console = visit(page.as_uri(), page.with_suffix(".shot.png"), size)
    return pixels, console


def visit(address: str, picture: Path, size: tuple[int, int] = (900, 640)) -> tuple[np.ndarray, str, list[str]]:
    """Pixels of the page at an address, also as a picture beside the browser's profile; its elements; its console."""
    profile, (width, height) = picture.parent / "profile", size
    words = [str(BROWSER), *_OPTIONS, f"--user-data-dir={profile}", f"--window-size={width},{height}",
             "--virtual-time-budget=8000", "--dump-dom", f"--screenshot={picture}", address]  # fmt: skip
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return np.round(255 * imread(picture)[..., :3]).astype(int), done.stdout, console


def evaluate(page: Path, script: str) -> Any:
    """What an asynchronous script on a page returns, given the page's views as ``views``."""
    call = f"meshconvViews.then(async (views) => {{ {script} }})"
    send = "(found) => fetch('/', {method: 'POST', body: JSON.stringify(found)})"
    catch = "(error) => ({error: String(error.stack || error)})"
    last = f"<script>{call}.catch({catch}).then({send})</script></body>"
    text = page.read_text(encoding="utf-8").replace("</body>", last)
    with _served(text.encode()) as (address, answer, found):
        words = [str(BROWSER), *_OPTIONS, f"--user-data-dir={page.parent / 'profile'}", "--window-size=900,640",
                 "--remote-debugging-port=0", address]  # fmt: skip
        browser = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            assert answer.wait(120), "the page did not answer"
        finally:
            browser.terminate()
            browser.wait(30)
    assert not (isinstance(found[0], dict) and "error" in found[0]), found[0]
    return found[0]


@contextmanager
def _served(text: bytes) -> Iterator[tuple[str, threading.Event, list[Any]]]:
    answer, found = threading.Event(), []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            with suppress(BrokenPipeError):  # of the browser's request for an icon, when it is closed
                self.wfile.write(text)

        def do_POST(self) -> None:
            found.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()
            answer.set()

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", answer, found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
