"""Digests of code, by which one tells whether what it made is out of date."""

import ast
import functools
import hashlib
import re
from pathlib import Path

import grimp

_PACKAGE = Path(__file__).resolve().parents[1]
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_TEMPLATE = re.compile(r'"(\w+\.\w+\.j2)"')


def digest(*texts):
    """Sha256 of texts, in hexadecimal digits."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def statements(source):
    """Python source without comments, docstrings and layout."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body[:1] = [] if node.body[1:] else [ast.Pass()]
    return ast.unparse(tree)


def digest_of(*names):
    """
    Digest of modules of aaelib, of all modules of it that they import, and of their templates.

    Comments, docstrings and layout do not count.

    Parameters
    ----------
    *names : str
        Modules, or names in them, such as "aaelib.study.Study".
    """
    imports, modules = _imports(), set()
    for name in names:
        package, _, attribute = name.rpartition(".")
        module = name if name in imports.modules else _lazy(package).get(attribute, package)
        modules |= {module} | imports.find_upstream_modules(module)
    return digest(*map(_text, sorted(modules)))


def _text(module):
    """Name and statements of a module, and the texts of the templates that it names."""
    file = _file(module)
    source = file.read_text(encoding="utf-8")
    names = _TEMPLATE.findall(source)
    templates = [file for name in names for file in _PACKAGE.glob(f"*/templates/{name}")]
    return "\n".join([module, statements(source), *(t.read_text("utf-8") for t in templates)])


@functools.cache
def _imports():
    """The graph of imports in aaelib, with those that a package makes on first use."""
    graph = grimp.build_graph("aaelib", cache_dir=None)
    for package in graph.find_children("aaelib"):
        for module in {*_lazy(package).values()}:
            graph.add_import(importer=package, imported=module)
    return graph


def _lazy(package):
    """Public names of a package, each with the module that it is loaded from."""
    named = {}
    for node in ast.walk(ast.parse(_file(package).read_text())):
        if isinstance(node, ast.keyword) and node.arg == "submod_attrs":
            for module, names in ast.literal_eval(node.value).items():
                named |= dict.fromkeys(names, f"{package}.{module}")
    return named


def _file(module):
    path = _PACKAGE.parent.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
