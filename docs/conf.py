"""Sphinx configuration: `make docs` writes the site to build/docs."""

import os
import re

import latex2mathml.converter
from docutils import nodes

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
source_suffix = {".rst": "restructuredtext", ".md": "markdown", ".py": "markdown"}
exclude_patterns = ["conf.py", "images/*"]
html_theme = "furo"
html_title = "meshconv"
html_math_renderer = "mathml"  # which browsers draw themselves: MathJax would come from the internet

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


def percent_to_markdown(text):
    """A script in the percent format as a page: cells of text as they are, cells of code between fences."""
    page = []
    for cell in re.split(r"^# %%", text, flags=re.MULTILINE)[1:]:
        kind, _, body = cell.partition("\n")
        if "[markdown]" in kind:
            page.append(re.sub(r"^# ?", "", body, flags=re.MULTILINE).strip())
        else:
            page.append(f"```python\n{body.strip()}\n```")
    return "\n\n".join(page) + "\n"


def read_tutorial(app, name, source):
    if name.startswith("tutorials/") and source[0].startswith("# %%"):
        source[0] = percent_to_markdown(source[0])


def write_math(page, node):
    display = "block" if isinstance(node, nodes.math_block) else "inline"
    text = node.astext().replace(r"\arg", r"\operatorname{arg}")
    page.body.append(latex2mathml.converter.convert(text, display=display))
    raise nodes.SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", (write_math, None), (write_math, None))
    app.connect("source-read", read_tutorial)
