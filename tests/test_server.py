"""A notebook's tagged cells, and how they are served: to this machine, and who has the token."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from urllib.parse import urlsplit

import jupytext
import psutil
import pytest
import requests
from websocket import create_connection

from aaelib.apps import server
from benchmarks.page import serving

SCRIPT = """# %% [markdown]
# # Words

# %% tags=["page"]
print(1)

# %%
print(2)

# %% tags=["page", "other"]
print(3)
"""


@pytest.fixture
def page(tmp_path):
    (tmp_path / "notebook.py").write_text(SCRIPT)
    server.write_tagged(tmp_path / "notebook.py", "page", tmp_path / "page.ipynb")
    return tmp_path / "page.ipynb"


def test_a_page_has_the_tagged_cells_in_their_order(page):
    assert [cell.source for cell in jupytext.read(page).cells] == ["print(1)", "print(3)"]


def test_a_page_is_for_this_machine_and_who_has_the_token(page):
    with serving(page) as address:
        url, _ = address.split("?")
        assert urlsplit(requests.get(url).url).path == "/login"
        # A site that the browser visits, whose name leads here (DNS rebinding).
        assert requests.get(address, headers={"Host": "a.example"}).status_code == 403
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.2", urlsplit(url).port))


def asked(address, path, method="GET", **headers):
    """The answer to a request."""
    url = f"http://{urlsplit(address).netloc}{path}"
    return requests.request(method, url, headers=headers, timeout=120, allow_redirects=False)


def loaded(address):
    """Status, kernel's number or text, and headers of a load of the page."""
    answer = asked(address, "/" + address.rpartition("/")[2])
    found = re.search(r'"kernelId": *"([^"]+)"', answer.text)
    return answer.status_code, found[1] if found else answer.text, answer.headers


def kernels():
    """Kernels of the servers that this process has started."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if "ipykernel_launcher" in process.cmdline():
                found.append(process)
        except psutil.Error:
            continue
    return found


UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


@pytest.mark.slow
def test_a_kernel_is_out_of_reach_without_the_token_and_from_other_sites(page):
    with serving(page) as address:
        _, kernel, headers = loaded(address)
        cookie = {"Cookie": headers["Set-Cookie"].split(";")[0]}
        channels, shutdown = f"/api/kernels/{kernel}/channels", f"/voila/api/shutdown/{kernel}"
        elsewhere = {"Origin": "http://a.example"}
        # Without the token, and with the cookie that a browser adds also for another site.
        assert asked(address, channels, **UPGRADE).status_code == 403
        assert asked(address, channels, **UPGRADE, **cookie, **elsewhere).status_code == 403
        assert asked(address, shutdown, "POST").status_code == 403
        assert asked(address, shutdown, "POST", **cookie, **elsewhere).status_code in (403, 404)
        assert len(kernels()) == 1
        token = {"Authorization": f"token {address.rpartition('=')[2]}"}
        assert asked(address, shutdown, "POST", **token).status_code == 204


@pytest.mark.slow
def test_of_fifty_loads_a_few_get_a_page_the_others_read_why_and_kernels_end(page):
    with serving(page) as address:
        answers = [loaded(address)[:2] for _ in range(50)]
        statuses = [status for status, _ in answers]
        assert statuses == [200] * server.MOST_PAGES + [503] * (50 - server.MOST_PAGES)
        assert "pages are open" in answers[-1][1]
        assert len(kernels()) == server.MOST_PAGES
        for _ in range(180):
            time.sleep(1)
            if not kernels():
                break
        assert loaded(address)[0] == 200


@pytest.mark.slow
def test_pages_that_are_left_make_room_for_others_at_once(page):
    with serving(page) as address:
        token = {"Authorization": f"token {address.rpartition('=')[2]}"}
        for _ in range(server.MOST_PAGES + 2):
            status, kernel, _ = loaded(address)
            assert status == 200
            channels = f"ws://{urlsplit(address).netloc}/api/kernels/{kernel}/channels"
            create_connection(channels, header=token).close()
        assert len(kernels()) <= server.MOST_PAGES


@pytest.mark.slow
@pytest.mark.parametrize("pause", [0.02, 2])  # s; after 2 the first has begun to end kernels
def test_the_port_that_serves_is_told_and_a_second_interrupt_waits_for_the_first(page, pause):
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        arguments, environment = server.command(page, port, False)
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        process = subprocess.Popen(arguments, env=environment, **pipes)
        address = next(line.strip() for line in process.stderr if "token=" in line)
        assert urlsplit(address).port != port
        assert loaded(address)[0] == 200
        for _ in range(3):
            process.send_signal(signal.SIGINT)
            time.sleep(pause)
        said = process.communicate(timeout=240)[1]
    assert (process.returncode, "Traceback" in said, kernels()) == (0, False, [])


def test_our_template_and_kernel_come_before_what_the_user_has(page, monkeypatch):
    monkeypatch.setenv("JUPYTER_PATH", "/elsewhere")
    _, environment = server.command(page, 8123, browser=False)
    ours = [str(server.NOTEBOOKS / "share"), f"{sys.prefix}/share/jupyter"]
    assert environment["JUPYTER_PATH"].split(os.pathsep) == [*ours, "/elsewhere"]
