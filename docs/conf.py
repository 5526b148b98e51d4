"""How the site is built:  sphinx-build -W -b html docs docs/_build/html

The pages are Markdown, those of the API are made from the docstrings (`api_pages.py`) and those of the
gallery are notebooks in text form. They are shown without pictures, unless FAMUS_GALLERY=run asks for
running them (some minutes; what has run is kept in `docs/_build/.jupyter_cache`).
"""

import os
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import api_pages  # noqa: E402

from famus_jax.version import __version__  # noqa: E402

project, author = "famus_jax", "the famus_jax authors"
copyright, release = "2026, the famus_jax authors", __version__

extensions = ["myst_nb"]
exclude_patterns = ["_build", "**.ipynb_checkpoints"]
html_theme = "furo"
html_title = "famus_jax"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": True}

myst_heading_anchors = 4  # as GitHub names them, so that a link works there and here
myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
nb_execution_mode = "cache" if os.environ.get("FAMUS_GALLERY") == "run" else "off"
nb_execution_cache_path = str(HERE / "_build" / ".jupyter_cache")
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_merge_streams = True
nb_number_source_lines = False
# Records, configs and code are links to files beside the pages; they are copied along.
suppress_warnings = ["myst.header", "misc.highlighting_failure"]


def setup(app):
    """Writes the pages of the API before Sphinx looks for pages."""
    app.connect("config-inited", lambda app, config: api_pages.write_pages(HERE / "api"))
