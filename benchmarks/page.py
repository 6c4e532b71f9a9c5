"""
The explorer's page in a real browser: served as `make explore` does, driven, timed.

``python -m benchmarks page`` tells how long after the server's start a socket is shown, and how
long after a slider's move it is drawn anew; the same of the page that needs no kernel.
"""

import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from aaelib.apps import page as without_kernel
from aaelib.apps import server

from .measure import free_ports

ROOT = Path(__file__).resolve().parents[1]
# The drawing library tells of the software renderer that stands in for a graphics card.
HARMLESS = ("GPU stall due to ReadPixels", "willReadFrequently")
SIZES = ".aaelib-sizes"
WAIT = 120_000  # ms; on a busy machine
MOVES = 50
TOKEN = "only-for-tests"  # in place of the random one of a page that a person opens


@contextmanager
def serving(notebook=None):
    """Serve the explorer as `make explore` does, or a notebook so; gives its address."""
    [port] = free_ports(1)
    arguments = [sys.executable, "-m", "aaelib", "explore", "--no-browser", f"--port={port}"]
    environment = os.environ
    if notebook:
        arguments, environment = server.command(notebook, port, False)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    environment = environment | {"JUPYTER_TOKEN": TOKEN}
    process = subprocess.Popen(arguments, cwd=ROOT, env=environment, **quiet)
    try:
        # Asking for the page itself would start a kernel.
        wait_for_answer(f"http://127.0.0.1:{port}/voila/static/nothing", process)
        yield f"http://127.0.0.1:{port}/?token={TOKEN}"
    finally:
        process.terminate()
        process.wait(30)


def wait_for_answer(url, process):
    """Wait until a server that a process starts gives any answer."""
    for _ in range(1200):
        if process.poll() is not None:
            raise RuntimeError(f"`{' '.join(process.args)}` ended with {process.returncode}")
        try:
            return urllib.request.urlopen(url, timeout=1).close()
        except urllib.error.HTTPError:
            return None
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(f"no answer from {url}")


@contextmanager
def chromium():
    """The browser that is installed."""
    from playwright.sync_api import sync_playwright

    options = ["--no-sandbox", "--enable-webgl", "--use-gl=swiftshader", "--ignore-gpu-blocklist"]
    names = ("chromium", "google-chrome")
    installed = os.environ.get("BROWSER_PATH") or next(filter(None, map(shutil.which, names)), None)
    if not installed:
        raise RuntimeError("no browser: install Chromium (Debian and Ubuntu: apt install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=installed, args=options)
        yield browser
        browser.close()


_WATCH = """() => {
    const plot = document.querySelector('.js-plotly-plot');
    const before = plot._fullData[0].z[0];
    window.redrawn = new Promise(resolve => document.addEventListener('keydown', () => {
        const begun = performance.now();
        const look = () => requestAnimationFrame(() => plot._fullData[0].z[0] === before
            ? look() : requestAnimationFrame(() => resolve(performance.now() - begun)));
        look();
    }, { once: true, capture: true }));
}"""


class WatchedPage:
    """A page, what its browser complained of, and what it asked of other hosts."""

    def __init__(self, chromium, address, script=""):
        self.page = chromium.new_page(viewport={"width": 1500, "height": 900})
        self.page.set_default_timeout(WAIT)
        self.page.add_init_script(script)
        self.complaints, self.outside = [], []
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._asked)
        self.page.goto(address)

    def close(self):
        """Close the page; gives what its browser complained of and what it asked of other hosts."""
        self.page.close()
        return self.complaints, self.outside

    def _heard(self, message):
        is_bad = message.type == "error" or "WebGL context" in message.text
        if is_bad and not any(part in message.text for part in HARMLESS):
            self.complaints.append(message.text)

    def _asked(self, request):
        here = ("http://127.0.0.1:", "ws://127.0.0.1:", "file:", "data:", "blob:")
        if not request.url.startswith(here):
            self.outside.append(request.url)


class Page(WatchedPage):
    """A page of the explorer."""

    def __init__(self, chromium, address):
        super().__init__(chromium, address)
        self.wait_until_shown()

    def wait_until_shown(self):
        self.page.wait_for_selector(SIZES)
        self.page.wait_for_function("document.querySelector('.js-plotly-plot')?.data?.length == 6")

    def vertices(self):
        """(n_vertices, 3) of the mesh that is drawn."""
        mesh = "document.querySelector('.js-plotly-plot')._fullData[0]"
        return np.array(self.page.evaluate(f"[...'xyz'].map(a => Array.from({mesh}[a]))")).T

    def open(self, title):
        self.page.get_by_text(title, exact=True).click()

    def press(self, slider, key, times):
        """Move the n-th slider of the open section by keys."""
        handle = self.page.locator(".noUi-handle:visible").nth(slider)
        handle.focus()
        for _ in range(times):
            handle.press(key)

    def wait_until_moved(self, before):
        """Wait until another mesh is drawn, and give it."""
        self.page.wait_for_function(
            "z => Array.from(document.querySelector('.js-plotly-plot')._fullData[0].z)"
            ".some((value, i) => Math.abs(value - z[i]) > 0.2)",
            arg=before[:, 2].tolist(),
        )
        self.page.wait_for_timeout(1500)
        return self.vertices()

    def upload(self, path):
        """Give the limb's button a file."""
        with self.page.expect_file_chooser() as chooser:
            self.page.get_by_role("button", name="Limb scan").click()
        chooser.value.set_files(path)

    def says(self, text):
        self.page.wait_for_function(
            "text => document.querySelector('.aaelib-message').innerText.includes(text)", arg=text
        )
        return self.page.locator(".aaelib-message").inner_text()

    def redraw_ms(self, key):
        """Milliseconds from a key press on the first slider to the next drawing of the socket."""
        self.page.evaluate(_WATCH)
        self.page.locator(".noUi-handle:visible").first.press(key)
        return self.page.evaluate("window.redrawn")


def measured():
    """
    How long a user waits.

    Returns
    -------
    dict
        "shown_s": from the server's start to a socket on the page; "redraw_ms": of `MOVES` moves of
        a slider by a key. Of the page without a kernel "ready_s", from its opening to a socket, and
        "script_ms" of as many moves: from the code to the surface and its sizes, without drawing.
    """
    begun = time.perf_counter()
    with serving() as address, chromium() as browser:
        page = Page(browser, address)
        shown = time.perf_counter() - begun
        times = [page.redraw_ms("ArrowRight") for _ in range(MOVES)]
    with TemporaryDirectory() as folder, chromium() as browser:
        file = without_kernel.write(Path(folder, "explorer.html"))
        page = WatchedPage(browser, file.as_uri()).page
        page.wait_for_selector("body[data-ready]")
        ready, scripts = float(page.evaluate("document.body.dataset.ready")) / 1000, []
        for i in range(1, MOVES + 1):
            page.locator("#share").press("ArrowRight")
            page.wait_for_function(f"Math.abs(explorer.state.share - {i / 100}) < 1e-6")
            page.wait_for_timeout(100)
            scripts.append(page.evaluate("explorer.milliseconds"))
    return {"shown_s": shown, "redraw_ms": times, "ready_s": ready, "script_ms": scripts}


def table(found):
    """The table in Markdown."""

    def times(name, digits=0):
        low, middle, high = np.percentile(found[name], [25, 50, 75])
        return f"{middle:.{digits}f} ms (half of them {low:.{digits}f} to {high:.{digits}f})"

    return (
        "| what | seen | target |\n|:--|:--|:--|\n"
        f"| a socket is shown after the server's start | {found['shown_s']:.1f} s | 7 s |\n"
        f"| a slider's move is drawn, median of {MOVES} | {times('redraw_ms')} | 60 ms |\n"
        f"| without a kernel: a socket is shown after opening | {found['ready_s']:.1f} s | 2 s |\n"
        "| without a kernel: script of a redraw, without drawing | "
        f"{times('script_ms', 1)} | 10 ms |\n\n"
        "**The explorer's pages**, in Chromium with a software renderer; the first row includes "
        "the browser's own start.\n"
    )
