"""The blind assessment's widget in a real browser: part of `make test-browser`."""

import sqlite3
from contextlib import closing

import pytest
from nbformat.v4 import new_code_cell
from test_report import write

from benchmarks.page import WatchedPage, chromium, serving

pytestmark = pytest.mark.browser

CELL = """
from ipywidgets import Output
from aaelib.apps import assessment
from aaelib.models import files
from aaelib.shapes import sources
with Output():  # a progress bar that is gone when the page is drawn is an error
    sockets = sources.load_sockets("TT", source="bundled", limit=2)
blind = assessment.draw_set(sockets.points, files.load("sockets"), n=2)
assessment.widget(blind, {answers!r})
"""


@pytest.fixture
def answers(tmp_path):
    return tmp_path / "answers.sqlite"


@pytest.fixture
def page(tmp_path, answers):
    cell = new_code_cell(CELL.format(answers=str(answers)))
    notebook = write(tmp_path / "assessment.ipynb", cell)
    with serving(notebook) as address, chromium() as browser:
        opened = WatchedPage(browser, address)
        yield opened.page
        assert opened.close() == ([], [])


def click(page, name):
    page.get_by_role("button", name=name, exact=True).click()


def answer(page, what, score):
    click(page, what)
    click(page, str(score))
    click(page, "next")


def test_an_assessor_answers_every_socket_and_each_answer_is_kept(page, answers):
    page.get_by_placeholder("letters").fill("ana")
    click(page, "start")
    page.get_by_text("Socket 1 of 4").wait_for()
    page.wait_for_selector(".js-plotly-plot")
    assert page.get_by_role("button", name="next").is_disabled()
    given = [("real", 5), ("generated", 2), ("real", 4), ("generated", 1)]
    for number, (what, score) in enumerate(given, start=1):
        page.get_by_text(f"Socket {number} of 4").wait_for()
        answer(page, what, score)
    page.get_by_text("All 4 sockets are answered").wait_for()

    with closing(sqlite3.connect(answers)) as connection:
        kept = connection.execute("SELECT assessor, item, answer, plausibility FROM answers")
        assert kept.fetchall() == [("ana", i, *each) for i, each in enumerate(given, start=1)]
