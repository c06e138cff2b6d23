"""The documentation site: Sphinx reads these pages, MyST-NB runs their code, and ``_ext/reference.py`` writes the API.

``python -m sphinx -W docs site`` builds it. A warning, an error in a page's code or a broken link between pages fails.
"""

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))
os.environ["PYTHONPATH"] = str(HERE.parent)  # kernels import this checkout too
os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")

import funcnn  # noqa: E402

project, author, copyright = "funcnn", "the funcnn authors", "the funcnn authors"
version = release = funcnn.__version__

extensions = [
    "myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx-mathjax-offline", "sphinx_copybutton", "reference",
]  # fmt: skip
exclude_patterns = ["_build", "_ext", "**.ipynb_checkpoints"]

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "cache"
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_merge_streams = True
nb_code_prompt_show = "Show the solution"  # of an exercise: nothing else is hidden
nb_code_prompt_hide = "Hide the solution"

autodoc_typehints = "none"  # the arguments are described in words
autodoc_member_order = "bysource"
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Reference", "References")]
copybutton_prompt_text = ">>> "

html_theme = "furo"
html_title = "funcnn"
html_static_path = ["_static"]
html_css_files = ["site.css"]
