"""Sphinx configuration: `make docs` writes the site to build/docs."""

import os

import meshconv

project = "meshconv"
author = copyright = "the meshconv developers"
release = version = meshconv.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.intersphinx",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
html_theme = "furo"
html_title = "meshconv"

myst_enable_extensions = ["dollarmath", "amsmath", "deflist"]
myst_heading_anchors = 3
copybutton_prompt_text = r"\$ |>>> "
copybutton_prompt_is_regexp = True

# Everything public is in `__all__`; a docstring is written once, at the class.
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_preserve_defaults = True
autoclass_content = "class"
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
# Docstrings of Lightning's and torch's methods are theirs.
autodoc_inherit_docstrings = False

# Links to other projects' pages need the internet; without it the site is built without them.
intersphinx_mapping = {
    "python": ("https://docs.python.org/3", None),
    "torch": ("https://docs.pytorch.org/docs/stable", None),
    "numpy": ("https://numpy.org/doc/stable", None),
} if os.environ.get("MESHCONV_DOCS_ONLINE") else {}

# Shapes stand where types do, `[points, dim]`, and words in them are no references to attributes of that name.
suppress_warnings = ["config.cache", "ref.python"]
