"""A notebook's tagged cells, and how they are served: to this machine, and who has the token."""

import os
import socket
import sys
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import jupytext
import pytest

from aaelib.apps import server
from benchmarks.page import serving_notebook

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
    server.write_tagged(tmp_path / "notebook.py", "page", tmp_path / "new" / "page.ipynb")
    return tmp_path / "new" / "page.ipynb"


def test_a_page_has_the_tagged_cells_in_their_order(page):
    assert [cell.source for cell in jupytext.read(page).cells] == ["print(1)", "print(3)"]


def test_a_page_is_for_this_machine_and_who_has_the_token(page):
    with serving_notebook(page) as address:
        url, _ = address.split("?")
        with urllib.request.urlopen(url) as answer:
            assert urlsplit(answer.url).path == "/login"
        # A site that the browser visits, whose name leads here (DNS rebinding).
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(urllib.request.Request(address, headers={"Host": "a.example"}))
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.2", urlsplit(url).port))


def test_our_template_and_kernel_come_before_what_the_user_has(page, tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_PATH", "/elsewhere")
    _, environment = server.command(page, tmp_path, 8123, browser=False)
    ours = [str(tmp_path), f"{sys.prefix}/share/jupyter"]
    assert environment["JUPYTER_PATH"].split(os.pathsep) == [*ours, "/elsewhere"]
