"""Texts and pages from the Jinja templates of `templates`."""

import functools
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, select_autoescape

TEMPLATES = Path(__file__).parent / "templates"


def render(template, **values):
    """Fill in one of the templates; HTML in values is escaped on pages."""
    return _templates().get_template(template).render(**values)


def texts(template):
    """Texts and macros that one of the templates sets, by their names."""
    return _templates().get_template(template).module


@functools.cache
def _templates():
    escape = select_autoescape(["html.j2"])
    return Environment(loader=FileSystemLoader(TEMPLATES), autoescape=escape)
