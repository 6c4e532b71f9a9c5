"""A notebook's tagged cells, and how they are served: to this machine only."""

import jupytext
import pytest

from aaelib.apps import server

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
def script(tmp_path):
    path = tmp_path / "notebook.py"
    path.write_text(SCRIPT)
    return path


def test_a_page_has_the_tagged_cells_in_their_order(script, tmp_path):
    page = tmp_path / "new" / "page.ipynb"
    server.write_tagged(script, "page", page)
    cells = jupytext.read(page).cells
    assert [cell.source for cell in cells] == ["print(1)", "print(3)"]


def test_a_page_without_cells_is_an_error(script, tmp_path):
    with pytest.raises(ValueError, match="no cell has the tag 'none'"):
        server.write_tagged(script, "none", tmp_path / "page.ipynb")


def test_pages_are_for_this_machine_only(tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_PATH", "/elsewhere")
    arguments, environment = server.command(tmp_path / "p.ipynb", tmp_path, 8123, browser=False)
    assert {"--Voila.ip=127.0.0.1", "--port=8123", "--no-browser"} <= set(arguments)
    assert environment["JUPYTER_PATH"].split(":") == [str(tmp_path), "/elsewhere"]
    assert "--no-browser" not in server.command(tmp_path / "p.ipynb", tmp_path, 1, browser=True)[0]
