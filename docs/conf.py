"""How Sphinx writes the site. `aaelib site` adds the notebooks, the front page and plotly.js."""

import importlib
import inspect
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

project = "aaelib"
author = "The aaelib authors"
html_title = "Sockets from a latent space"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc"]
exclude_patterns = ["benchmarks"]

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
nb_execution_mode = "off"
nb_code_prompt_show = "Code"
nb_code_prompt_hide = "Hide code"
nb_render_markdown_format = "myst"
# Pages open from a disk and without a network: nothing may come from other hosts. There are no
# formulas; who writes one puts MathJax into _static.
nb_ipywidgets_js = {}
mathjax_path = "mathjax.js"

numpydoc_show_class_members = False
autodoc_typehints = "none"  # the docstrings tell them

toc_object_entries_show_parents = "hide"

html_theme = "sphinx_book_theme"
html_theme_options = {
    "navbar_persistent": [],
    "show_toc_level": 2,
    "use_download_button": False,
}
html_context = {"default_mode": "light"}
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = [("plotly.min.js", {"defer": "defer"}), ("page.js", {"defer": "defer"})]
html_copy_source = False
html_use_index = html_domain_indices = False
html_show_sourcelink = False

# A page for each layer of the package: what is public, and what it does.
LAYERS = ("shapes", "metrics", "models", "study", "apps")
for layer in LAYERS:
    module = importlib.import_module(f"aaelib.{layer}")
    title = f"aaelib.{layer}"
    lines = [title, "=" * len(title), "", f".. automodule:: {title}", "", ".. autosummary::", ""]
    lines += [f"   {name}" for name in module.__all__]
    for name in module.__all__:
        kind = "class" if inspect.isclass(getattr(module, name)) else "function"
        lines += ["", f".. auto{kind}:: {name}", "   :members:" * (kind == "class")]
    page = Path(__file__).parent / "api" / f"{layer}.rst"
    page.parent.mkdir(exist_ok=True)
    page.write_text("\n".join(lines) + "\n")
