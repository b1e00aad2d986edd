"""How Sphinx builds the site from the pages beside this file and the docstrings of the package."""

import importlib.util
import os
import sys
from pathlib import Path

import trimtab

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "extensions"))

project = "trimtab"
author = "trimtab developers"
project_copyright = author
version = release = trimtab.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "sphinx_copybutton",
    "formulas",
    "module_tables",
    "short_names",
]
# The notes on experiments are parts of the page of the lab.
notes = [f"lab/{page.name}" for page in (HERE / "lab").glob("[a-z]*.md") if page.stem != "settings"]
exclude_patterns = ["_build", "extensions", "lab/runs", *notes]

# ---- pages ----

myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
# Every cell runs when the site is built, and an error in one ends the build.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 600  # of a cell, on a busy machine
nb_merge_streams = True
os.environ["MATPLOTLIBRC"] = str(HERE / "_static" / "matplotlibrc")

# ---- reference ----

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings have the types
autosummary_generate = False
default_role = "py:obj"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
copybutton_exclude = ".linenos, .gp, .go"

# ---- look ----

html_theme = "furo"
html_title = f"trimtab {version}"
html_static_path = ["_static"]
html_css_files = ["trimtab.css"]
html_show_sphinx = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0060a0", "color-brand-content": "#0060a0"},
    "dark_css_variables": {"color-brand-primary": "#6cb8f0", "color-brand-content": "#6cb8f0"},
}

# Formulas need no network: the one file of MathJax that contains its glyphs comes from a package.
MATHJAX = Path(importlib.util.find_spec("mathjax").origin).parent / "static/mathjax/es5/tex-svg.js"
html_static_path.append(str(MATHJAX))
mathjax_path = MATHJAX.name
# The menu loads files that are not here.
mathjax3_config = {"options": {"enableMenu": False}}
